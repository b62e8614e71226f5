/** The whole pipeline on one machine: Kafka, a PokeAPI and both services, each as a process of its own, started and stopped in order. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { SETTINGS as CONSUMER_SETTINGS } from '@poke-api-pipeline/poke-api-consumer/config'
import {
  environmentHere,
  PROXY_SETTINGS,
  proxyFor,
  readSettings,
  trustExtraAuthorities,
  withProxyNames,
} from '@poke-api-pipeline/service-kit'
import { type FolderLock, type Holder, lockFolder } from './folder-lock.ts'
import { freePort, isPortFree } from './free-port.ts'
import { embeddedKafka, KAFKA_VERSION, type Kafka, PortTaken } from './kafka.ts'
import { choosePokeApi, LIVE_POKE_API, type PokeApiChoice } from './poke-api-choice.ts'
import { Readings } from './readings.ts'
import type { Run, Stoppable } from './run-command.ts'
import { Service, type ServiceEvent } from './service.ts'
import { cut } from './terminal-look.ts'
import { checkSettings } from './user-settings.ts'

/** The project's folder: everything is kept in it, wherever the command was given. */
export const PROJECT = fileURLToPath(new URL('..', import.meta.url))

export interface OneMachineOptions {
  /** Where everything is kept, from the project's folder or absolute. */
  readonly data: string
  /** `make start`, for those who try it a second time. */
  readonly command: string
  /** Told what happens, for people. */
  readonly say: (line: string) => void
  /** What the services do, besides what is said of it. */
  readonly onEvent?: (event: ServiceEvent) => void
  /** The command: told of what is to be stopped, and of a service that cannot go on. */
  readonly run: Run
}

/** Ends the command; the message is for people, the exit code for scripts. */
export class OneMachineError extends Error {
  override readonly name = 'OneMachineError'
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** How long each may take to stop, in ms; together less than ten seconds. */
const STOP_PRODUCER = 3500
const STOP_CONSUMER = 3000
const STOP_KAFKA = 2500

/** The consumer's program, from the project's folder. */
export const CONSUMER = 'poke-api-consumer/src/cli.ts'
const PRODUCER = 'poke-api-producer/src/cli.ts'

const KAFKA_PORT = 9092
const CONSUMER_PORT = 8080
const PRODUCER_PORT = 8081

export class OneMachine implements Stoppable {
  readonly #options: OneMachineOptions
  readonly #lock: FolderLock
  readonly #env: NodeJS.ProcessEnv
  readonly #data: string
  readonly #outputFile: string
  readonly #services: Service[] = []
  #kafka: Kafka | null = null
  #api: PokeApiChoice | null = null
  #quickening: Promise<void> | null = null
  #stopping = false

  /** @throws OneMachineError where another command runs in this project's folder */
  constructor(options: OneMachineOptions) {
    process.chdir(PROJECT)
    this.#data = options.data
    const taken = lockFolder(this.#data, options.command)
    if ('holder' in taken) throw new OneMachineError(alreadyRunning(options.command, taken.holder))
    this.#lock = taken.lock
    this.#options = options
    options.run.own(this)
    const { env } = environmentHere(process.env, [])
    trustExtraAuthorities(env, process.env)
    this.#env = Object.assign(process.env, env)
    this.#outputFile = this.#env.OUTPUT_FILE || 'type-counts.json'
  }

  get api(): PokeApiChoice {
    return required(this.#api, 'PokeAPI')
  }

  get outputFile(): string {
    return this.#outputFile
  }

  /** The folder of the services' logs. */
  get logs(): string {
    return join(this.#data, 'logs')
  }

  /** The brokers, for clients. */
  get brokers(): string {
    return this.#env.KAFKA_BROKERS || required(this.#kafka, 'Kafka').brokers
  }

  /** The folder of everything that belongs to these brokers: counts are only good for the topic that they were counted from. */
  get folder(): string {
    const brokers = this.#env.KAFKA_BROKERS
    return join(this.#data, brokers ? `brokers-${brokers.replace(/[^A-Za-z0-9.-]+/g, '_')}` : 'dev')
  }

  /** Makes Kafka and PokeAPI ready. @throws ServiceError where settings are wrong, or what Kafka ended with */
  async prepare(): Promise<void> {
    const { say } = this.#options
    for (const warning of checkSettings(this.#given())) say(`Warning   ${warning}`)
    const { values } = readSettings(PROXY_SETTINGS, withProxyNames(this.#given()))
    const api = choosePokeApi(this.#env.POKE_API_URL, { proxy: proxyFor(LIVE_POKE_API, values) })
    // Its failure is heard below; Kafka's may come first.
    api.catch(() => undefined)
    await this.#startKafka()
    this.#api = await api
    say(`PokeAPI   ${this.#api.what}`)
    say(`Store     ${this.store}`)
    this.tell({ settings: this.#settingsForOthers() })
  }

  /** The store, as it may be shown. */
  get store(): string {
    return shownStore(String(this.consumerEnv().STORE_URL))
  }

  /** What a command beside this one needs to find store and topic; none where the URL of the store has something that is not shown. */
  #settingsForOthers(): Record<string, string> {
    const env = this.consumerEnv()
    const names = ['KAFKA_BROKERS', 'STORE_URL', 'KAFKA_TOPIC', 'KAFKA_GROUP_ID']
    const settings = Object.fromEntries(names.filter((name) => env[name]).map((name) => [name, String(env[name])]))
    return settings.STORE_URL === this.store ? settings : {}
  }

  /** The consumer's settings, for its other commands too. */
  consumerEnv(): NodeJS.ProcessEnv {
    return this.#serviceEnv({
      STORE_URL: `sqlite:${join(this.folder, 'type-counts.db')}`,
      // The least that brokers allow: after a kill the partitions are free sooner.
      KAFKA_SESSION_TIMEOUT: '6s',
    })
  }

  startConsumer(): Service {
    return this.#startService('consumer', CONSUMER, async () => {
      return { ...this.consumerEnv(), HTTP_PORT: process.env.HTTP_PORT || (await usualOrAny(CONSUMER_PORT)) }
    })
  }

  /**
   * @param defaults settings by their environment variables, where the user has set none
   * @param fixed settings that the command cannot do without
   */
  startProducer(defaults: NodeJS.ProcessEnv, fixed: NodeJS.ProcessEnv): Service {
    const given = this.#given()
    for (const [name, value] of Object.entries(fixed)) {
      if (given[name] === undefined || given[name] === value) continue
      this.#options.say(`Warning   ${name}=${given[name]} is not used: ${this.#options.command} needs ${name}=${value}`)
    }
    return this.#startService('producer', PRODUCER, async () => {
      // One HTTP_PORT is not enough for two services: where the user has chosen one, it is the page's.
      const HTTP_PORT = process.env.HTTP_PORT ? '0' : await usualOrAny(PRODUCER_PORT)
      return { ...this.#serviceEnv({ DATA_DIR: join(this.folder, 'producer'), ...defaults }), ...fixed, HTTP_PORT }
    })
  }

  /** Looks at both services from outside. */
  readings(producer: Service, consumer: Service): Readings {
    return new Readings(producer, consumer, this.#outputFile)
  }

  /** Lets the next start of Kafka be quicker, where that is still to be done: to be called when everything runs. Its failure harms nothing. */
  quickenNextStart(): void {
    const { say, run } = this.#options
    this.#quickening ??= (this.#kafka?.quickenNextStart(run.signal) ?? Promise.resolve()).catch((error: Error) => {
      say(`Kafka     will not start quicker the next time: ${error.message.split('\n')[0]}`)
    })
  }

  /** Tells others about this run. */
  tell(more: Partial<Holder>): void {
    this.#lock.tell(more)
  }

  /** Stops the producer, the consumer and Kafka, in this order, within ten seconds. */
  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    const deadlines: Record<string, number> = { producer: STOP_PRODUCER, consumer: STOP_CONSUMER }
    for (const service of this.#services.toReversed()) await service.stop(deadlines[service.name] ?? STOP_CONSUMER)
    await this.#kafka?.stop(STOP_KAFKA)
    await this.#api?.close()
    await this.#quickening
    this.#lock.release()
  }

  /** Ends everything at once. What was committed is safe; what was not is done again at the next start. */
  killAll(): void {
    this.#stopping = true
    for (const service of this.#services) service.kill()
    void this.#kafka?.kill()
  }

  async #startKafka(): Promise<void> {
    const { say } = this.#options
    if (this.#env.KAFKA_BROKERS) {
      mkdirSync(this.folder, { recursive: true })
      say(`Kafka     ${this.#env.KAFKA_BROKERS} (KAFKA_BROKERS)`)
      return
    }
    const dir = join(this.folder, 'kafka')
    const kafka = await this.#kafkaOnSomePort(dir)
    if (kafka === null) return
    say(`Kafka     ${kafka.brokers} (Apache Kafka ${KAFKA_VERSION}, data in ${dir})`)
    this.#tellProcesses()
    void this.#keepAlive(kafka)
  }

  /** A port that was free may be taken when the broker has got so far as to want it: by the same command in another folder, for instance. */
  async #kafkaOnSomePort(dir: string): Promise<Kafka | null> {
    for (let attempt = 1; ; attempt++) {
      const kafka = await embeddedKafka({ dir, port: await usualPort(KAFKA_PORT), say: this.#options.say })
      this.#kafka = kafka
      if (this.#stopping || this.#options.run.signal.aborted) return null
      try {
        await this.#withLockRetries(kafka)
        return kafka
      } catch (error) {
        if (!(error instanceof PortTaken) || attempt === 3) throw error
      }
    }
  }

  /** A broker that was orphaned a moment ago may still hold its folder: it is on its way out. */
  async #withLockRetries(kafka: Kafka): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await kafka.restart()
      } catch (error) {
        if (attempt === 5 || this.#stopping || !/Failed to acquire lock/.test((error as Error).message)) throw error
        await pause(1000)
      }
    }
  }

  async #keepAlive(kafka: Kafka): Promise<void> {
    const { say } = this.#options
    for (;;) {
      await kafka.ended
      if (this.#stopping) return
      say('Kafka     has ended; it is started again')
      try {
        await kafka.restart()
        say(`Kafka     ${kafka.brokers} answers again`)
        this.#tellProcesses()
      } catch (error) {
        if (this.#stopping) return
        this.#options.run.fail(error as Error)
        return
      }
    }
  }

  #startService(name: string, script: string, env: () => Promise<NodeJS.ProcessEnv>): Service {
    mkdirSync(this.logs, { recursive: true })
    const logFile = join(this.logs, `${name}.log`)
    const service = new Service({ name, script, env, logFile, onEvent: (event) => this.#heard(event, logFile) })
    this.#services.push(service)
    service.start()
    return service
  }

  #heard(event: ServiceEvent, logFile: string): void {
    if (this.#stopping) return
    const { say, run, onEvent } = this.#options
    const name = event.service.name
    this.#tellProcesses()
    if (event.kind === 'died') {
      const quoted = event.lastLines.map((line) => `          | ${cut(line, 160)}`)
      say([`${name.padEnd(9)} ${event.how}; it starts again in ${event.again / 1000} s (log: ${logFile})`, ...quoted].join('\n'))
    }
    if (event.kind === 'hopeless') {
      run.fail(new OneMachineError(`The ${name} cannot go on:\n${event.lastLines.join('\n')}\nIts log: ${logFile}`, event.exitCode))
    }
    onEvent?.(event)
  }

  #tellProcesses(): void {
    const processes: Record<string, number> = {}
    if (this.#kafka?.running) processes.kafka = this.#kafka.pid
    for (const { name, pid } of this.#services) if (pid !== null) processes[name] = pid
    this.#lock.tell({ processes })
  }

  #serviceEnv(own: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const NODE_COMPILE_CACHE = join(PROJECT, '.cache', 'compiled')
    // What the user has set to nothing stays so: a service reads .env itself.
    const emptied = Object.fromEntries(Object.entries(this.#env).filter(([, value]) => value === ''))
    return { NODE_COMPILE_CACHE, ...emptied, ...own, ...this.#given(), KAFKA_BROKERS: this.brokers, POKE_API_URL: this.api.url }
  }

  /** What the user has set; an empty variable is one that is not set. */
  #given(): NodeJS.ProcessEnv {
    return Object.fromEntries(Object.entries(this.#env).filter(([, value]) => value !== ''))
  }
}

function shownStore(url: string): string {
  return CONSUMER_SETTINGS.STORE_URL.kind.show?.(url) ?? url
}

async function usualPort(port: number): Promise<number> {
  return (await isPortFree(port)) ? port : await freePort()
}

/** 0 lets the service itself take any. */
async function usualOrAny(port: number): Promise<string> {
  return (await isPortFree(port)) ? String(port) : '0'
}

function required<T>(part: T | null, name: string): T {
  if (part === null) throw new Error(`${name} is used before it is ready: a mistake in this program`)
  return part
}

function alreadyRunning(command: string, holder: Holder | null): string {
  if (holder === null) return `Another command starts in this folder at this moment: ${command} leaves it alone.`
  const page = holder.page === undefined ? '' : ` Its page: ${holder.page}`
  return (
    `${holder.command} is running here already (process ${holder.pid}, since ${holder.since.slice(0, 19).replace('T', ' ')} UTC).${page}\n` +
    `${command} joins nothing: stop that one with Ctrl-C first.`
  )
}
