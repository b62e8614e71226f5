/** A service in a process of its own, with its log. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import type { Listening } from '../src/parent-process.ts'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly code?: string
  readonly err?: { readonly stack?: string }
}

export interface RunOptions {
  readonly args?: readonly string[]
  /** All environment variables except PATH. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Opens a channel to this process. */
  readonly channel?: boolean
}

export class RunningService {
  readonly child: ChildProcess
  /** Its log so far. */
  readonly lines: LogLine[] = []
  /** The messages to its parent process so far. */
  readonly messages: { readonly type: string }[] = []
  /** Its output that is not part of the log. */
  error = ''
  readonly #exit: Promise<unknown[]>
  #rest = ''
  #heard = Promise.withResolvers<void>()

  /** Starts a program; it is killed when the test is over. */
  constructor(t: TestContext, program: string, { args = [], env = {}, cwd, channel = false }: RunOptions = {}) {
    const { PATH, NODE_V8_COVERAGE } = process.env
    this.child = spawn(process.execPath, [program, ...args], {
      env: { PATH, ...(NODE_V8_COVERAGE === undefined ? {} : { NODE_V8_COVERAGE }), ...env },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: channel ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    })
    // `close` does not follow a `disconnect` from this side, so `exit` is used.
    const outputRead = [this.child.stdout, this.child.stderr].map((stream) => once(stream as Readable, 'close'))
    this.#exit = once(this.child, 'exit').then(async (how) => {
      await Promise.all(outputRead)
      return how
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.error += text
    })
    this.child.on('message', (message: { readonly type: string }) => {
      this.messages.push(message)
      this.#news()
    })
    t.after(() => this.child.kill('SIGKILL'))
  }

  /** Resolves when its log has such a message, now or before. */
  says(message: RegExp): Promise<LogLine> {
    return this.#until(() => this.lines.find(({ msg }) => message.test(msg)), `saying ${message}`)
  }

  /** The port of its HTTP server, once it listens. */
  async listens(): Promise<number> {
    const listening = (message: { readonly type: string }): message is Listening => message.type === 'listening'
    return (await this.#until(() => this.messages.find(listening), 'listening')).port
  }

  /** Resolves with its exit code, or the signal that killed it, when it has ended. */
  async ends(): Promise<number | NodeJS.Signals> {
    const [code, signal] = (await this.#exit) as [number | null, NodeJS.Signals | null]
    return code ?? (signal as NodeJS.Signals)
  }

  async #until<T>(look: () => T | undefined, what: string): Promise<T> {
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const ended = this.ends().then((how) => {
        throw new Error(`it ended (${how}) without ${what}; it said:\n${this.lines.map(({ msg }) => msg).join('\n')}\n${this.error}`)
      })
      await Promise.race([this.#heard.promise, ended])
    }
  }

  #read(text: string): void {
    const parts = (this.#rest + text).split('\n')
    this.#rest = parts.pop() as string
    this.lines.push(...parts.map((line) => JSON.parse(line)))
    this.#news()
  }

  #news(): void {
    const heard = this.#heard
    this.#heard = Promise.withResolvers()
    heard.resolve()
  }
}
