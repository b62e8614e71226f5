/** Clients in processes of their own that hold connections of a server. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export interface HeldConnections extends AsyncDisposable {
  /** How many were opened, and how many of these the server has closed. */
  readonly seen: { readonly opened: number; readonly closed: number }
  /** Resolves once that many were opened. */
  opened(count: number): Promise<void>
}

export interface Holding {
  readonly port: number
  /** One of this machine's own addresses: where the server sees them come from. */
  readonly from: string
  readonly count: number
  /** Written on each of them. */
  readonly text: string
  /** Whether those that are closed are opened anew. */
  readonly again?: boolean
}

/** Begins to open them. */
export function holdConnections({ port, from, count, text: written, again = false }: Holding): HeldConnections {
  const program = fileURLToPath(new URL('./holding-client.ts', import.meta.url))
  const client = fork(program, [String(port), from, String(count), written, again ? 'again' : ''])
  let seen = { opened: 0, closed: 0 }
  client.on('message', (message: typeof seen) => {
    seen = message
  })
  return {
    get seen() {
      return seen
    },
    opened: async (count) => {
      while (seen.opened < count) await once(client, 'message')
    },
    [Symbol.asyncDispose]: async () => {
      if (client.exitCode !== null || client.signalCode !== null) return
      const ended = once(client, 'exit')
      client.kill('SIGKILL')
      await ended
    },
  }
}

export interface Answer {
  readonly status: number | undefined
  readonly body: string
  /** From the first look at the address to the last byte. */
  readonly ms: number
}

/** Asks on a connection of its own. @throws Error where the connection is refused or cut */
export async function ask(port: number, from: string, path: string): Promise<Answer> {
  const began = performance.now()
  const request = get({ host: '127.0.0.1', port, localAddress: from, path, agent: false, headers: { host: 'localhost' } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const body = await text(response)
  return { status: response.statusCode, body, ms: performance.now() - began }
}

/** @param values at least one */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number
}
