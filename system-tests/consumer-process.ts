/** The consumer as a process of its own, with a store and an output file in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from 'dev/free-port.ts'

export interface ConsumerOptions {
  readonly brokers: string
  readonly topic: string
  /** Holds the store and the output file. */
  readonly dir: string
  readonly nodeArguments?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export class ConsumerProcess {
  readonly url: string
  readonly outputFile: string
  readonly #options: ConsumerOptions
  readonly #port: number
  #process: ChildProcess | null = null
  #output = ''

  private constructor(options: ConsumerOptions, port: number) {
    this.#options = options
    this.#port = port
    this.url = `http://127.0.0.1:${port}`
    this.outputFile = join(options.dir, 'type-counts.json')
  }

  /** Starts it, and waits until it answers. */
  static async start(options: ConsumerOptions): Promise<ConsumerProcess> {
    const consumer = new ConsumerProcess(options, await freePort())
    await consumer.restart()
    return consumer
  }

  /** Starts it again on the same port and store, and waits until it answers. */
  async restart(): Promise<void> {
    const { brokers, topic, dir, nodeArguments = [], env = {} } = this.#options
    const cli = fileURLToPath(new URL('../poke-api-consumer/src/cli.ts', import.meta.url))
    const settings = {
      KAFKA_BROKERS: brokers,
      KAFKA_TOPIC: topic,
      STORE_URL: `sqlite:${join(dir, 'type-counts.db')}`,
      OUTPUT_FILE: this.outputFile,
      HTTP_PORT: String(this.#port),
      ...env,
    }
    const child = spawn(process.execPath, [...nodeArguments, cli], {
      env: { PATH: process.env.PATH, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        this.#output = (this.#output + part).slice(-20_000)
      })
    }
    this.#process = child
    while (!(await this.answers())) {
      if (child.exitCode !== null) throw new Error(`the consumer ended with ${child.exitCode}:\n${this.#output}`)
      await sleep(50)
    }
  }

  /** What it last wrote to its output. */
  get output(): string {
    return this.#output
  }

  answers(): Promise<boolean> {
    return fetch(`${this.url}/health/live`, { signal: AbortSignal.timeout(2000) }).then(
      (response) => response.ok,
      () => false,
    )
  }

  /** The published counts; null before the first time. */
  async published(): Promise<Record<string, number> | null> {
    const text = await readFile(this.outputFile, 'utf8').catch(() => null)
    return text === null ? null : (JSON.parse(text) as { types: Record<string, number> }).types
  }

  /** Sends it a signal and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
}
