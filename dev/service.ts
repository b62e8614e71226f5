/** Runs one of the services as a process of its own, and again where it dies. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { SweepFinished } from '@poke-api-pipeline/poke-api-producer/sweep-finished'
import { EXIT, type Listening } from '@poke-api-pipeline/service-kit'
import { lastLines, openLog, sizeOf } from './log-file.ts'

export interface ServiceOptions {
  readonly name: string
  /** Its program, from the project's folder. */
  readonly script: string
  /** Its settings, made anew for each start: a port that was free may be taken by then. */
  readonly env: () => Promise<NodeJS.ProcessEnv>
  /** Where its output goes. */
  readonly logFile: string
  readonly onEvent: (event: ServiceEvent) => void
}

export type ServiceEvent = { readonly service: Service } & (
  | { readonly kind: 'started' }
  /** Its HTTP server listens. */
  | { readonly kind: 'listening'; readonly port: number }
  /** The producer says that all of its sweep is in the topic, how many Pokémon have each type, and which could not be had. */
  | ({ readonly kind: 'swept' } & Omit<SweepFinished, 'type'>)
  /** It ended with nothing left to do. */
  | { readonly kind: 'finished' }
  /** It starts again after so many ms. No words where it was killed. */
  | { readonly kind: 'died'; readonly how: string; readonly lastLines: readonly string[]; readonly again: number }
  /** Starting it again as it is would end the same way. */
  | { readonly kind: 'hopeless'; readonly exitCode: number; readonly lastLines: readonly string[] }
)

/** Damaged files, missing permissions, wrong settings: see `EXIT` in service-kit. */
const HOPELESS = [65, 77, 78]
/** Something cannot be made: a folder, which is hopeless, or a port that somebody else was quicker to take, which is worth another try. */
const CANNOT_CREATE = 73
const FIRST_DELAY = 250
const LONGEST_DELAY = 10_000
/** After so long, in ms, a death has nothing to do with the one before. */
const STABLE_AFTER = 30_000

export class Service {
  readonly name: string
  readonly #options: ServiceOptions
  #child: ChildProcess | null = null
  #url: string | null = null
  #restart: NodeJS.Timeout | null = null
  #delay = FIRST_DELAY
  #gone = Promise.withResolvers<void>()
  #stopping = false
  #swept = false
  /** The last process could not make something. */
  #failedToCreate = false

  constructor(options: ServiceOptions) {
    this.name = options.name
    this.#options = options
  }

  /** Its process while it runs, otherwise null. */
  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Where its HTTP server answers, from this machine, while it does; otherwise null. */
  get url(): string | null {
    return this.#url
  }

  start(): void {
    void this.#options.env().then((env) => {
      if (!this.#stopping) this.#spawn(env)
    })
  }

  #spawn(env: NodeJS.ProcessEnv): void {
    const { script, logFile, onEvent } = this.#options
    const log = openLog(logFile)
    const logStart = sizeOf(logFile)
    const startedAt = performance.now()
    // In a process group of its own: Ctrl-C in the terminal is for the one who stops all in order. With a channel: its end ends the service.
    const child = spawn(process.execPath, [script], { env, stdio: ['ignore', log, log, 'ipc'], detached: true })
    closeSync(log)
    this.#child = child
    this.#gone = Promise.withResolvers()
    child.on('message', (message: Listening | SweepFinished) => {
      if (message.type === 'listening') {
        this.#url = httpAddress(message.port, env.HTTP_HOST)
        onEvent({ service: this, kind: 'listening', port: message.port })
      } else if (message.type === 'sweep-finished') {
        this.#swept = true
        const { captured, types, leftOut } = message
        onEvent({ service: this, kind: 'swept', captured, types, leftOut })
      }
    })
    child.once('error', (error) => this.#ended(`could not be started: ${error.message}`, null, startedAt, logStart))
    child.once('exit', (code, signal) => {
      const ended = () => this.#ended(signal ? `was ended by ${signal}` : `ended with exit code ${code}`, code, startedAt, logStart)
      // Its last message may still be on the way.
      if (child.connected) child.once('disconnect', ended)
      else ended()
    })
    onEvent({ service: this, kind: 'started' })
  }

  #ended(how: string, code: number | null, startedAt: number, logStart: number): void {
    this.#child = null
    this.#url = null
    this.#gone.resolve()
    if (this.#stopping) return
    const { onEvent, logFile } = this.#options
    // Who is killed says nothing about it.
    const words = code === null ? [] : lastLines(logFile, 6, logStart)
    // A service that somebody else has asked to end answers 0 as well.
    if ((code === EXIT.ok || code === EXIT.incomplete) && this.#swept) {
      onEvent({ service: this, kind: 'finished' })
      return
    }
    const failedToCreate = code === CANNOT_CREATE
    if (code !== null && (HOPELESS.includes(code) || (failedToCreate && this.#failedToCreate))) {
      onEvent({ service: this, kind: 'hopeless', exitCode: code, lastLines: words })
      return
    }
    this.#failedToCreate = failedToCreate
    if (performance.now() - startedAt > STABLE_AFTER) this.#delay = FIRST_DELAY
    const again = this.#delay
    this.#delay = Math.min(again * 2, LONGEST_DELAY)
    this.#restart = setTimeout(() => this.start(), again)
    onEvent({ service: this, kind: 'died', how, lastLines: words, again })
  }

  /** Asks it to end and waits for that. @param deadline ms from asking to ending it */
  async stop(deadline: number): Promise<void> {
    this.#stopping = true
    if (this.#restart !== null) clearTimeout(this.#restart)
    const child = this.#child
    if (child === null) return
    child.kill('SIGTERM')
    const kill = setTimeout(() => child.kill('SIGKILL'), deadline)
    await this.#gone.promise
    clearTimeout(kill)
  }

  /** Ends it at once and for good. */
  kill(): void {
    this.#stopping = true
    if (this.#restart !== null) clearTimeout(this.#restart)
    this.#child?.kill('SIGKILL')
  }
}

function httpAddress(port: number, host: string | undefined): string {
  const name = !host || host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}
