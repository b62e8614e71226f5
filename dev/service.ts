/** Runs one of the services as a process, and starts it again when it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { SweepFinished } from '@poke-api-pipeline/poke-api-producer/sweep-finished'
import { BackOff, EXIT, type Listening } from '@poke-api-pipeline/service-kit'
import { lastLines, openLog, sizeOf } from './log-file.ts'

export interface ServiceOptions {
  readonly name: string
  /** Its program, relative to the project's folder. */
  readonly script: string
  /** Gives its settings for each start: a port that was free at the last one may be taken. */
  readonly env: () => Promise<NodeJS.ProcessEnv>
  /** Its output is appended here. */
  readonly logFile: string
  readonly onEvent: (event: ServiceEvent) => void
}

export type ServiceEvent = { readonly service: Service } & (
  | { readonly kind: 'started' }
  /** Its HTTP server listens. */
  | { readonly kind: 'listening'; readonly port: number }
  /** The producer has finished its sweep. */
  | ({ readonly kind: 'swept' } & Omit<SweepFinished, 'type'>)
  /** It ended because its work is done. */
  | { readonly kind: 'finished' }
  /** It ended, and is started again after `again` ms. `lastLines` is empty where it was killed. */
  | { readonly kind: 'died'; readonly how: string; readonly lastLines: readonly string[]; readonly again: number }
  /** It ended for a reason that another start would meet again. */
  | { readonly kind: 'fatal'; readonly exitCode: number; readonly lastLines: readonly string[] }
)

/** Exit codes for which another start does not help: damaged files, missing permissions, wrong settings. */
const FATAL: readonly number[] = [EXIT.data, EXIT.notAllowed, EXIT.config]
const FIRST_DELAY = 250
const LONGEST_DELAY = 10_000
/** A service that ran for so many ms is started again after the first delay. */
const STABLE_AFTER = 30_000

export class Service {
  readonly name: string
  readonly #options: ServiceOptions
  #child: ChildProcess | null = null
  #url: string | null = null
  #restart: NodeJS.Timeout | null = null
  // The delay is not random, because no other program starts services at the same moment.
  readonly #backOff = new BackOff({ first: FIRST_DELAY, longest: LONGEST_DELAY, clock: { random: () => 1 } })
  #gone = Promise.withResolvers<void>()
  #stopping = false
  #swept = false
  /** The last process could not create a folder, which another start cannot either, or a port, which another start may. */
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
    // In a process group of its own, because Ctrl-C must reach this process alone, which stops the services in order. The end of the channel stops the service.
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
      // Its last message may not have arrived yet.
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
    // A killed process has logged nothing about it.
    const lines = code === null ? [] : lastLines(logFile, 6, logStart)
    // The exit code is also 0 if another process has asked the service to end.
    if ((code === EXIT.ok || code === EXIT.incomplete) && this.#swept) {
      onEvent({ service: this, kind: 'finished' })
      return
    }
    const failedToCreate = code === EXIT.cannotCreate
    if (code !== null && (FATAL.includes(code) || (failedToCreate && this.#failedToCreate))) {
      onEvent({ service: this, kind: 'fatal', exitCode: code, lastLines: lines })
      return
    }
    this.#failedToCreate = failedToCreate
    if (performance.now() - startedAt > STABLE_AFTER) this.#backOff.reset()
    const again = this.#backOff.next()
    this.#restart = setTimeout(() => this.start(), again)
    onEvent({ service: this, kind: 'died', how, lastLines: lines, again })
  }

  /** Asks it to end, and resolves when it has. @param deadline after so many ms it is killed */
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

  /** Kills it; it is not started again. */
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
