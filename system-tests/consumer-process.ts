/** The consumer as a process of its own, with a store and an output file in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { consumerCommand, type Finished } from './cli.ts'
import { PROCESS_ENV } from './process-env.ts'

export interface ConsumerOptions {
  readonly brokers: string
  readonly topic: string
  /** The folder of the store and the output file. */
  readonly dir: string
  readonly nodeArguments?: readonly string[]
  /** Words in front of the command, for example those that put it into a control group. */
  readonly launcher?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly partition?: number
}

/** How many characters of its output are kept. */
const MOST_OUTPUT = 1_000_000

export class ConsumerProcess {
  readonly url: string
  readonly outputFile: string
  readonly #options: ConsumerOptions
  readonly #settings: Readonly<Record<string, string>>
  #process: ChildProcess | null = null
  /** Resolves when it has ended and all of its output was read. */
  #ended: Promise<unknown> = Promise.resolve()
  #running = false
  #output = ''

  private constructor(options: ConsumerOptions, port: number) {
    const { brokers, topic, dir, env = {} } = options
    this.#options = options
    this.url = `http://127.0.0.1:${port}`
    this.outputFile = env.OUTPUT_FILE ?? join(dir, 'type-counts.json')
    this.#settings = {
      KAFKA_BROKERS: brokers,
      KAFKA_TOPIC: topic,
      STORE_URL: `sqlite:${join(dir, 'type-counts.db')}`,
      OUTPUT_FILE: this.outputFile,
      HTTP_PORT: String(port),
      ...env,
    }
  }

  /** Starts it, and waits until it answers. */
  static async start(options: ConsumerOptions): Promise<ConsumerProcess> {
    const consumer = new ConsumerProcess(options, await freePort())
    await consumer.restart()
    return consumer
  }

  /** Starts it again on the same port and store, and waits until it answers. */
  async restart(): Promise<void> {
    const cli = fileURLToPath(new URL('../poke-api-consumer/src/cli.ts', import.meta.url))
    const { launcher = [], nodeArguments = [] } = this.#options
    const [program = process.execPath, ...words] = [...launcher, process.execPath, ...nodeArguments, cli]
    const child = spawn(program, words, {
      env: { ...PROCESS_ENV, ...this.#settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        this.#output = (this.#output + part).slice(-MOST_OUTPUT)
      })
    }
    this.#process = child
    this.#running = true
    this.#ended = once(child, 'close').then(() => {
      this.#running = false
    })
    while (!(await this.answers())) {
      if (!this.#running) throw new Error(`the consumer ended with ${child.exitCode ?? child.signalCode}:\n${this.#output}`)
      await sleep(50)
    }
  }

  /** The end of its output. */
  get output(): string {
    return this.#output
  }

  /** The lines of its log in that output, of all its starts. */
  get log(): LogLine[] {
    const lines = this.#output.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'))
    return lines.map((line) => JSON.parse(line) as LogLine)
  }

  /** Whether it runs, or has output that was not read yet. */
  get running(): boolean {
    return this.#running
  }

  /** Its exit code; null while it runs, and if a signal ended it. */
  get exitCode(): number | null {
    return this.#process?.exitCode ?? null
  }

  answers(): Promise<boolean> {
    return fetch(`${this.url}/health/live`, { signal: AbortSignal.timeout(2000) }).then(
      (response) => response.ok,
      () => false,
    )
  }

  /** The counts in its file; null before the file exists. */
  async published(): Promise<Record<string, number> | null> {
    const text = await readFile(this.outputFile, 'utf8').catch(() => null)
    return text === null ? null : (JSON.parse(text) as { types: Record<string, number> }).types
  }

  /** The reasons why it is not ready; none if it is ready. */
  async reasons(): Promise<string[]> {
    const response = await fetch(`${this.url}/health/ready`)
    return ((await response.json()) as { reasons: string[] }).reasons
  }

  /** One of its metrics, by name and labels as they are written: `poke_gaps_total{kind="retention"}`; null if there is no such sample. */
  async metric(name: string): Promise<number | null> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const line = text.split('\n').find((each) => each.startsWith(`${name} `))
    return line === undefined ? null : Number(line.slice(name.length + 1))
  }

  /** Runs one of the consumer's commands with the same settings. */
  command(...words: string[]): Promise<Finished> {
    return consumerCommand(this.#settings, ...words)
  }

  /** Sends it a signal, for example SIGSTOP or SIGCONT, without waiting for anything. */
  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal)
  }

  /** Sends it a signal and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#running) this.#process?.kill(signal)
    await this.#ended
  }
}
