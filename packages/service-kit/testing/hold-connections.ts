/** Clients in processes of their own that hold connections of a server. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export interface HeldConnections extends AsyncDisposable {
  /** The number of connections that were opened, and the number of those that the server has closed. */
  readonly seen: { readonly opened: number; readonly closed: number }
  /** Resolves when that many connections were opened. */
  opened(count: number): Promise<void>
}

export interface Holding {
  readonly port: number
  /** The address of this machine from which the client connects. */
  readonly from: string
  readonly count: number
  /** The text that is sent on each connection. */
  readonly text: string
  /** Whether closed connections are opened again. */
  readonly again?: boolean
}

/** Starts a client that opens the connections. */
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
  /** The time from resolving the address to the last byte, in ms. */
  readonly ms: number
}

/** Sends a request on a new connection. @throws Error if the connection is refused or breaks */
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
