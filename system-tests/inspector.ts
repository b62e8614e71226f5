/** Looks into another Node process from outside, by the inspector's protocol (https://chromedevtools.github.io/devtools-protocol/v8/). */
import { once } from 'node:events'

export interface Memory {
  readonly heapUsed: number
  /** Outside the heap, buffers included, in bytes. */
  readonly external: number
}

export class Inspector {
  readonly #socket: WebSocket
  #id = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /** @param output what a process started with `--inspect` wrote, with the address it listens on */
  static async attach(output: string): Promise<Inspector> {
    const address = /Debugger listening on (ws:\S+)/.exec(output)?.[1]
    if (address === undefined) throw new Error(`the process does not say where its inspector listens:\n${output}`)
    const socket = new WebSocket(address)
    await once(socket, 'open')
    return new Inspector(socket)
  }

  /** What is still in use after everything unused was collected. */
  async memoryInUse(): Promise<Memory> {
    // Twice: what the first round finalises, the second one frees.
    for (let round = 0; round < 2; round++) await this.#call('HeapProfiler.collectGarbage')
    const expression = 'JSON.stringify(process.memoryUsage())'
    const { result } = (await this.#call('Runtime.evaluate', { expression })) as { result: { value: string } }
    return JSON.parse(result.value)
  }

  close(): void {
    this.#socket.close()
  }

  #call(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      const onMessage = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: { message: string } }
        if (answer.id !== id) return
        this.#socket.removeEventListener('message', onMessage)
        if (answer.error === undefined) resolve(answer.result)
        else reject(new Error(`${method}: ${answer.error.message}`))
      }
      this.#socket.addEventListener('message', onMessage)
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
  }
}
