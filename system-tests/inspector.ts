/** Measures another Node process from outside, with the inspector's protocol (https://chromedevtools.github.io/devtools-protocol/v8/). */
import { once } from 'node:events'

export interface Memory {
  readonly heapUsed: number
  /** Memory outside the heap, including buffers, in bytes. */
  readonly external: number
}

export class Inspector {
  readonly #socket: WebSocket
  #id = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /** @param output of a process that was started with `--inspect`: it contains the address of the inspector */
  static async attach(output: string): Promise<Inspector> {
    const address = /Debugger listening on (ws:\S+)/.exec(output)?.[1]
    if (address === undefined) throw new Error(`the process does not say where its inspector listens:\n${output}`)
    const socket = new WebSocket(address)
    await once(socket, 'open')
    return new Inspector(socket)
  }

  /** The memory in use after a garbage collection. */
  async memoryInUse(): Promise<Memory> {
    // Twice: the second collection frees what the first one has finalised.
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
