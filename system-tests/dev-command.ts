/** `make start` and `make sweep` as processes, with data of their own. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Holder } from '@poke-api-pipeline/dev/folder-lock'

const SETTINGS_OF_USERS = ['KAFKA_BROKERS', 'KAFKA_TOPIC', 'STORE_URL', 'DATA_DIR', 'HTTP_PORT', 'CAPTURE_CONCURRENCY', 'CAPTURE_INTERVAL']

/** After this time, in ms, a test no longer expects an answer. */
const LONGEST_WAIT = 180_000

export interface Figures {
  readonly captured: number | null
  readonly waiting: number | null
  readonly lag: number | null
  readonly counted: number | null
}

export class DevCommand {
  readonly outputFile: string
  readonly exitCode: Promise<number | null>
  output = ''
  readonly #data: string
  readonly #child: ChildProcess
  /** Every process that was found to be a child of it. */
  readonly #processes = new Set<number>()

  /** @param dir the folder of its data and the file of counts @param settings environment variables for the services @param options of its own */
  constructor(script: 'start' | 'sweep', dir: string, settings: Readonly<Record<string, string>>, options: readonly string[] = []) {
    this.#data = join(dir, 'data')
    this.outputFile = join(dir, 'type-counts.json')
    const env = {
      // Tests do not use the settings of the user, from the environment or from .env.
      ...Object.fromEntries(SETTINGS_OF_USERS.map((name) => [name, ''])),
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      JAVA_HOME: process.env.JAVA_HOME,
      OUTPUT_FILE: this.outputFile,
      ...settings,
    }
    const program = fileURLToPath(new URL(`../dev/${script}.ts`, import.meta.url))
    this.#child = spawn(process.execPath, [program, '--data', this.#data, ...options], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.exitCode = once(this.#child, 'close').then(([code]) => code)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Waits until it runs and the file has at least so many types counted. @returns how many it has then */
  async counted(enough: (types: number) => boolean): Promise<number> {
    const types = await this.#until('enough was counted', async () => {
      const counted = await this.#typesCounted()
      return enough(counted) && (await this.#description()) !== null ? counted : null
    })
    for (const pid of Object.values((await this.#description())?.processes ?? {})) this.#processes.add(pid)
    return types
  }

  /** The address of its page, once it has printed it. */
  async page(): Promise<string> {
    return await this.#until('it printed the address of its page', async () => (await this.#description())?.page ?? null)
  }

  /** The figures of each line that it has printed, oldest first; null: it printed that the figure is not known. */
  get figures(): Figures[] {
    return [...this.output.matchAll(/captured (\S+), waiting to be sent (\S+), lag (\S+), counted (–|\d+(?:,\d{3})*)/g)].map((found) => {
      const [captured, waiting, lag, counted] = found.slice(1).map((text) => {
        const figure = Number(text.replaceAll(',', ''))
        return Number.isNaN(figure) ? null : figure
      }) as [number | null, number | null, number | null, number | null]
      return { captured, waiting, lag, counted }
    })
  }

  /** Waits until it prints figures that satisfy the condition. @returns how many lines it had printed by then */
  async saidFigures(areSo: (figures: Figures) => boolean, after = 0): Promise<number> {
    return await this.#until('it said such figures', async () => {
      const { figures } = this
      const found = figures.findIndex((figure, i) => i >= after && areSo(figure))
      return found < 0 ? null : found + 1
    })
  }

  /** The settings that this command gives to the consumer, for the consumer's commands. */
  get consumerSettings(): Record<string, string> {
    const brokers = /^Kafka +(localhost:\d+)/m.exec(this.output)?.[1]
    assert.ok(brokers !== undefined, this.output)
    return { KAFKA_BROKERS: brokers, STORE_URL: `sqlite:${join(this.#data, 'dev', 'type-counts.db')}`, OUTPUT_FILE: this.outputFile }
  }

  /** Waits until it has printed this. */
  async said(words: RegExp): Promise<void> {
    await this.#until(`it said ${words}`, async () => (words.test(this.output) ? true : null))
  }

  /** Kills a service, or `kafka`, with SIGKILL as soon as it runs. @returns how many types the file counted before */
  async killService(name: string): Promise<number> {
    const pid = await this.#until(`there was a ${name} to kill`, async () => (await this.#description())?.processes?.[name] ?? null)
    const types = await this.#typesCounted()
    process.kill(pid, 'SIGKILL')
    return types
  }

  /** Kills the command itself with SIGKILL. @returns how many types the file counted before */
  async kill(): Promise<number> {
    const types = await this.#typesCounted()
    this.signal('SIGKILL')
    await this.exitCode
    return types
  }

  /** Waits until all of its processes are gone. */
  async nothingIsLeft(): Promise<void> {
    assert.ok(this.#processes.size > 0)
    const deadline = performance.now() + LONGEST_WAIT
    while ([...this.#processes].some(isAlive)) {
      assert.ok(performance.now() < deadline, `${[...this.#processes].filter(isAlive)} is left`)
      await pause(20)
    }
  }

  /** Asks until there is an answer. @throws with its output if it ends before, or if there is no answer for too long */
  async #until<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const deadline = performance.now() + LONGEST_WAIT
    for (;;) {
      const answer = await ask()
      if (answer !== null) return answer
      assert.equal(this.#child.exitCode ?? this.#child.signalCode, null, `it ended before ${what}:\n${this.output}`)
      assert.ok(performance.now() < deadline, `${LONGEST_WAIT / 1000} s passed before ${what}:\n${this.output}`)
      await pause(20)
    }
  }

  async #typesCounted(): Promise<number> {
    const text = await readIfThere(this.outputFile)
    if (text === null) return 0
    return Object.values((JSON.parse(text) as { types: Record<string, number> }).types).reduce((sum, count) => sum + count, 0)
  }

  /** The file in which it describes itself; null before there is one. */
  async #description(): Promise<Partial<Holder> | null> {
    const text = await readIfThere(join(this.#data, 'running.json'))
    return text === null ? null : (JSON.parse(text) as Holder)
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
