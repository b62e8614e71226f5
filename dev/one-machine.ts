/** The whole pipeline on one machine: Kafka, a PokeAPI and both services. It starts and stops them in order. */
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
import { CommandError, type Run, type Stoppable } from './run-command.ts'
import { Service, type ServiceEvent } from './service.ts'
import { cut } from './terminal-look.ts'
import { checkSettings } from './user-settings.ts'

/** The project's folder. Relative paths start here, wherever the command is run. */
export const PROJECT = fileURLToPath(new URL('..', import.meta.url))

export interface OneMachineOptions {
  /** The folder for all data, absolute or relative to the project's folder. */
  readonly data: string
  /** `make start`, say: printed when a second command is started in the same folder. */
  readonly command: string
  /** Prints a line for people. */
  readonly say: (line: string) => void
  /** Called with each event of a service, after it was printed. */
  readonly onEvent?: (event: ServiceEvent) => void
  /** The command that this machine belongs to: it stops the machine, and ends when a service cannot go on. */
  readonly run: Run
}

/** How long each part may take to stop, in ms: less than ten seconds together. */
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
  #archiving: Promise<void> | null = null
  #stopping = false

  /** @throws CommandError where another command runs in this project's folder */
  constructor(options: OneMachineOptions) {
    process.chdir(PROJECT)
    this.#data = options.data
    const taken = lockFolder(this.#data, options.command)
    if ('holder' in taken) throw new CommandError(alreadyRunning(options.command, taken.holder))
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

  /** The folder for the data of these brokers: counts are valid only for the topic that they were counted from. */
  get folder(): string {
    const brokers = this.#env.KAFKA_BROKERS
    return join(this.#data, brokers ? `brokers-${brokers.replace(/[^A-Za-z0-9.-]+/g, '_')}` : 'dev')
  }

  /** Starts Kafka and chooses a PokeAPI. @throws ServiceError where settings are wrong, and Error where Kafka does not start */
  async prepare(): Promise<void> {
    const { say } = this.#options
    for (const warning of checkSettings(this.#given())) say(`Warning   ${warning}`)
    const { values } = readSettings(PROXY_SETTINGS, withProxyNames(this.#given()))
    const api = choosePokeApi(this.#env.POKE_API_URL, { proxy: proxyFor(LIVE_POKE_API, values) })
    // Its failure is thrown below; Kafka's may come first.
    api.catch(() => undefined)
    await this.#startKafka()
    this.#api = await api
    say(`PokeAPI   ${this.#api.what}`)
    say(`Store     ${this.store}`)
    this.tell({ settings: this.#settingsForOthers() })
  }

  /** The store, as it may be shown. */
  get store(): string {
    const url = String(this.consumerEnv().STORE_URL)
    return CONSUMER_SETTINGS.STORE_URL.kind.show?.(url) ?? url
  }

  /** The settings by which other commands find store and topic; none where the URL of the store has a secret in it. */
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
      // The minimum that brokers allow: after a kill the partitions are assigned again sooner.
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
   * @param fixed settings that the command requires
   */
  startProducer(defaults: NodeJS.ProcessEnv, fixed: NodeJS.ProcessEnv): Service {
    const given = this.#given()
    for (const [name, value] of Object.entries(fixed)) {
      if (given[name] === undefined || given[name] === value) continue
      this.#options.say(`Warning   ${name}=${given[name]} is ignored: ${this.#options.command} needs ${name}=${value}`)
    }
    return this.#startService('producer', PRODUCER, async () => {
      // Two services cannot share one port: an HTTP_PORT of the user is the page's.
      const HTTP_PORT = process.env.HTTP_PORT ? '0' : await usualOrAny(PRODUCER_PORT)
      return { ...this.#serviceEnv({ DATA_DIR: join(this.folder, 'producer'), ...defaults }), ...fixed, HTTP_PORT }
    })
  }

  /** Reads the figures of both services over HTTP. */
  readings(producer: Service, consumer: Service): Readings {
    return new Readings(producer, consumer, this.#outputFile)
  }

  /** Makes later starts of Kafka faster, unless that is done already. To be called when everything runs; a failure of it is only printed. */
  buildClassArchive(): void {
    const { say, run } = this.#options
    this.#archiving ??= (this.#kafka?.buildClassArchive(run.signal) ?? Promise.resolve()).catch((error: Error) => {
      say(`Kafka     will start as slowly the next time: ${error.message.split('\n')[0]}`)
    })
  }

  /** Publishes more about this run for other commands. */
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
    await this.#archiving
    this.#lock.release()
  }

  /** Kills everything at once. Committed work is safe; the rest is repeated at the next start. */
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

  /** A port that was free may be taken by the time the broker opens it: by the same command in another folder, for instance. */
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

  /** A broker of a killed command may still lock its folder for a moment, until it has ended. */
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
      say('Kafka     has ended; it is being started again')
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
    const service = new Service({ name, script, env, logFile, onEvent: (event) => this.#onEvent(event, logFile) })
    this.#services.push(service)
    service.start()
    return service
  }

  #onEvent(event: ServiceEvent, logFile: string): void {
    if (this.#stopping) return
    const { say, run, onEvent } = this.#options
    const name = event.service.name
    this.#tellProcesses()
    if (event.kind === 'died') {
      const quoted = event.lastLines.map((line) => `          | ${cut(line, 160)}`)
      say([`${name.padEnd(9)} ${event.how}; it is started again in ${event.again / 1000} s (log: ${logFile})`, ...quoted].join('\n'))
    }
    if (event.kind === 'fatal') {
      run.fail(
        new CommandError(
          `The ${name} cannot run, and is not started again:\n${event.lastLines.join('\n')}\nIts log: ${logFile}`,
          event.exitCode,
        ),
      )
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
    // An empty variable of the user stays empty: otherwise the service would read it from .env.
    const emptied = Object.fromEntries(Object.entries(this.#env).filter(([, value]) => value === ''))
    return { NODE_COMPILE_CACHE, ...emptied, ...own, ...this.#given(), KAFKA_BROKERS: this.brokers, POKE_API_URL: this.api.url }
  }

  /** The user's variables; an empty one counts as not set. */
  #given(): NodeJS.ProcessEnv {
    return Object.fromEntries(Object.entries(this.#env).filter(([, value]) => value !== ''))
  }
}

async function usualPort(port: number): Promise<number> {
  return (await isPortFree(port)) ? port : await freePort()
}

/** `0` where it is taken: then the service takes any free port. */
async function usualOrAny(port: number): Promise<string> {
  return (await isPortFree(port)) ? String(port) : '0'
}

function required<T>(part: T | null, name: string): T {
  if (part === null) throw new Error(`${name} is used before it is ready: this is a mistake in the program`)
  return part
}

function alreadyRunning(command: string, holder: Holder | null): string {
  if (holder === null) return `${command} was not started: another command is just starting in this folder.`
  const page = holder.page === undefined ? '' : ` Its page: ${holder.page}`
  return (
    `${command} was not started: ${holder.command} is already running here (process ${holder.pid}, since ${holder.since.slice(0, 19).replace('T', ' ')} UTC).${page}\n` +
    'Stop it with Ctrl-C first.'
  )
}
