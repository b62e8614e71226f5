/** The producer as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { parseMetrics, sumOf } from '@poke-api-pipeline/dev/prometheus-text'
import { PROCESS_ENV } from './process-env.ts'

export interface ProducerOptions {
  readonly brokers: string
  readonly topic: string
  /** The address of PokeAPI. */
  readonly api: string
  /** The folder of the outbox and the cache. */
  readonly dir: string
  readonly nodeArguments?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** How many characters of its output are kept. */
const MOST_OUTPUT = 1_000_000

const CLI = fileURLToPath(new URL('../poke-api-producer/src/cli.ts', import.meta.url))

export class ProducerProcess {
  readonly url: string
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  readonly #process: ChildProcess
  #running = true
  #output = ''

  private constructor(options: ProducerOptions, port: number) {
    const { brokers, topic, api, dir, nodeArguments = [], env = {} } = options
    this.url = `http://127.0.0.1:${port}`
    const settings = {
      KAFKA_BROKERS: brokers,
      KAFKA_TOPIC: topic,
      POKE_API_URL: api,
      POKE_API_MAX_RATE: '0',
      DATA_DIR: dir,
      HTTP_PORT: String(port),
      ...env,
    }
    this.#process = spawn(process.execPath, [...nodeArguments, CLI], {
      env: { ...PROCESS_ENV, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (part: string) => {
        this.#output = (this.#output + part).slice(-MOST_OUTPUT)
      })
    }
    this.ended = once(this.#process, 'close').then(([code, signal]) => {
      this.#running = false
      return signal ?? code
    })
  }

  /** Starts it, without waiting until it does anything. */
  static async start(options: ProducerOptions): Promise<ProducerProcess> {
    return new ProducerProcess(options, await freePort())
  }

  get running(): boolean {
    return this.#running
  }

  /** The end of its output. */
  get output(): string {
    return this.#output
  }

  /** Captures stored so far, from the summaries in its log. */
  get captured(): number {
    return [...this.#output.matchAll(/"captured":(\d+),"published":\d+,"waiting"/g)].reduce(
      (sum, [, captured]) => sum + Number(captured),
      0,
    )
  }

  /** Waits until it answers. @throws if it ends before */
  async answers(): Promise<void> {
    for (;;) {
      if (!this.#running) throw new Error(`the producer ended with ${await this.ended}:\n${this.#output}`)
      if ((await this.#get('/health/live'))?.ok) return
      await sleep(20)
    }
  }

  /** The reasons why it is not ready; none if it is ready; null if it does not answer. */
  async reasons(): Promise<string[] | null> {
    const response = await this.#get('/health/ready')
    return response && ((await response.json()) as { reasons: string[] }).reasons
  }

  /** The sum of a metric over its labels; null if it does not answer. */
  async metric(name: string): Promise<number | null> {
    const response = await this.#get('/metrics')
    return response === null ? null : sumOf(parseMetrics(await response.text()), name)
  }

  /** Sends it a signal and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    if (this.#running) this.#process.kill(signal)
    return await this.ended
  }

  #get(path: string): Promise<Response | null> {
    return fetch(this.url + path, { signal: AbortSignal.timeout(2000) }).catch(() => null)
  }
}
