/** One of the two services as a user runs it, as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Listening } from '@poke-api-pipeline/service-kit'

export const PRODUCER = fileURLToPath(import.meta.resolve('@poke-api-pipeline/poke-api-producer/cli'))
export const CONSUMER = fileURLToPath(import.meta.resolve('@poke-api-pipeline/poke-api-consumer/cli'))

/** The folder in which `make start` keeps compiled code, too. */
const NODE_COMPILE_CACHE = fileURLToPath(new URL('../.cache/compiled', import.meta.url))

/** The environment: the settings, the PATH, and the folder of compiled code; nothing else of this shell. */
export function serviceEnvironment(settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, NODE_COMPILE_CACHE, HTTP_PORT: '0', LOG_LEVEL: 'warn', ...settings }
}

export class ServiceProcess {
  /** Resolves with its HTTP port when it listens. @throws if it ends before */
  readonly listening: Promise<number>
  readonly pid: number
  readonly #process: ChildProcess
  #output = ''

  constructor(script: string, settings: Readonly<Record<string, string>>) {
    this.#process = spawn(process.execPath, [script], { env: serviceEnvironment(settings), stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    this.pid = this.#process.pid ?? -1
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (part: string) => {
        this.#output += part
      })
    }
    this.listening = new Promise((resolve, reject) => {
      this.#process.on('message', (message: Partial<Listening>) => {
        if (message.type === 'listening') resolve(message.port as number)
      })
      this.#process.once('error', reject)
      this.#process.once('exit', (code) => reject(new Error(`${script} ended with ${code}:\n${this.#output}`)))
    })
    this.listening.catch(() => {})
  }

  /** Asks it to end, and waits for its end. @throws if its exit code is not 0 */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#process
    if (exitCode === null && signalCode === null) {
      this.#process.kill('SIGTERM')
      await once(this.#process, 'exit')
    }
    if (this.#process.exitCode !== 0) throw new Error(`a service ended with ${this.#process.exitCode}:\n${this.#output}`)
  }

  /** Kills it at once if it still runs. */
  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
