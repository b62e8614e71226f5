/** Apache Kafka on this machine: one broker that keeps its data, or several as a cluster. Nothing has to be installed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { type BrokerProcess, launchBroker, PortTaken } from './kafka/broker-process.ts'
import { brokerProperties } from './kafka/broker-properties.ts'
import { buildClassArchive } from './kafka/class-archive.ts'
import { getKafka, type KafkaDistribution } from './kafka/distribution.ts'

export { KAFKA_VERSION } from './kafka/distribution.ts'

export { PortTaken }

const toStandardError = (line: string) => void process.stderr.write(`${line}\n`)

/**
 * Downloads Kafka unless it is there, and builds the archive that makes brokers start faster.
 * @param say prints a line before each step that takes long
 * @throws where Kafka cannot be downloaded; the message says what to install
 */
export async function ensureKafka(say: (line: string) => void = toStandardError): Promise<KafkaDistribution> {
  const distribution = await getKafka(say)
  if (distribution.kind === 'jars' && !existsSync(distribution.classArchive)) {
    say('Preparing Kafka for faster starts (once, some seconds)')
    await buildClassArchive(distribution)
  }
  return distribution
}

export interface KafkaOptions {
  /** The folder of the broker's data, settings and log. Data of an earlier start are kept. */
  readonly dir: string
  /** The port for clients; default: any free one. */
  readonly port?: number
  /** The port for Kafka itself; default: any free one. */
  readonly controllerPort?: number
  /** Broker settings by their Kafka names; they override ours. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
  /** Options of the JVM, after ours: `-Xmx2g`, or `-XX:TieredStopAtLevel=4` for measurements. */
  readonly jvmOptions?: readonly string[]
  /** Prints a line before a download. */
  readonly say?: (line: string) => void
}

export interface Kafka {
  /** For clients: `localhost:PORT`. */
  readonly brokers: string
  readonly port: number
  /** Process id of the broker (of the `docker` command, where it runs in a container). */
  readonly pid: number
  /** Class path of Kafka's jars, for its own tools and clients; empty where the broker runs in a container. */
  readonly jars: string
  /** Where the broker writes its log. */
  readonly logFile: string
  readonly running: boolean
  /** Resolves when the broker's process has ended, whoever ended it. */
  readonly ended: Promise<void>
  /** Asks the broker to end, and kills it after so many ms. Default: 10 s. */
  stop(deadline?: number): Promise<void>
  /** Sends a signal, by default SIGKILL. Resolves when a killed process has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it on the same ports and data, after stopping it if it runs. Resolves when it answers. @throws PortTaken, among others */
  restart(): Promise<void>
  /** Makes later starts on this machine faster, unless that is done already: some seconds of work beside the running broker. */
  buildClassArchive(signal: AbortSignal): Promise<void>
}

/**
 * Starts a single broker and waits until it answers. It ends with this process, however this process ends.
 * @throws where Kafka cannot be downloaded, or ends before it answers; the error quotes its log
 */
export async function startKafka(options: KafkaOptions): Promise<Kafka> {
  const distribution = await ensureKafka(options.say)
  const start = async () => {
    const broker = await singleBroker(distribution, options)
    await broker.restart()
    return broker
  }
  const isGiven = options.port !== undefined || options.controllerPort !== undefined
  return isGiven ? await start() : await untilPortsAreFree(start)
}

/**
 * Starts a broker that listens on so many free ports, and again on others if another program has taken one of them meanwhile.
 * @throws what `start` throws, except PortTaken
 */
export async function onFreePorts<T>(count: number, start: (...ports: number[]) => Promise<T>): Promise<T> {
  return await untilPortsAreFree(async () => start(...(await freePorts(count))))
}

/** @param start chooses free ports. A port counts as free until a process listens on it, which takes a broker seconds. */
async function untilPortsAreFree<T>(start: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await start()
    } catch (error) {
      if (!(error instanceof PortTaken)) throw error
    }
  }
}

/** The same broker, downloaded and not started yet: `restart` starts it. */
export async function embeddedKafka(options: KafkaOptions): Promise<Kafka> {
  return await singleBroker(await getKafka(options.say ?? toStandardError), options)
}

async function singleBroker(distribution: KafkaDistribution, options: KafkaOptions): Promise<Kafka> {
  const port = options.port ?? (await freePort())
  const controllerPort = options.controllerPort ?? (await freePort())
  return new Broker(distribution, options, 1, port, new Map([[1, controllerPort]]))
}

export interface Cluster {
  /** All brokers, for clients. */
  readonly brokers: string
  /** Node ids are 1, 2, 3…, in this order. */
  readonly nodes: readonly Kafka[]
  /** Kills all brokers at once: one that is stopped in order waits for minutes after its cluster has lost the majority. */
  stop(): Promise<void>
}

/**
 * Starts a cluster of `count` brokers, each one a controller too, and waits until all answer.
 * @throws as `startKafka`, and where Docker is there but no JDK and Maven
 */
export async function startCluster(count: number, options: Pick<KafkaOptions, 'dir' | 'config' | 'jvmOptions' | 'say'>): Promise<Cluster> {
  const distribution = await ensureKafka(options.say)
  if (distribution.kind === 'image')
    throw new Error('A cluster of several brokers needs a JDK and Maven: containers here cannot reach each other.')
  const ports = await freePorts(2 * count)
  const controllers = new Map(ports.slice(count).map((port, index) => [index + 1, port]))
  const nodes = ports
    .slice(0, count)
    .map(
      (port, index) => new Broker(distribution, { ...options, dir: join(options.dir, `node-${index + 1}`) }, index + 1, port, controllers),
    )
  const stop = async () => void (await Promise.all(nodes.map((node) => node.kill())))
  try {
    await Promise.all(nodes.map((node) => node.restart()))
  } catch (error) {
    await stop()
    throw error
  }
  return { brokers: nodes.map((node) => node.brokers).join(','), nodes, stop }
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await freePort())
  return ports
}

class Broker implements Kafka {
  readonly brokers: string
  readonly port: number
  readonly jars: string
  readonly logFile: string
  readonly #distribution: KafkaDistribution
  readonly #launch: () => Promise<BrokerProcess>
  #process: BrokerProcess | null = null

  constructor(
    distribution: KafkaDistribution,
    options: KafkaOptions,
    nodeId: number,
    port: number,
    controllers: ReadonlyMap<number, number>,
  ) {
    this.#distribution = distribution
    this.port = port
    this.brokers = `localhost:${port}`
    this.jars = distribution.kind === 'jars' ? distribution.classPath : ''
    this.logFile = join(options.dir, 'kafka.log')
    this.#launch = () =>
      launchBroker({
        distribution,
        dir: options.dir,
        nodeId,
        port,
        logFile: this.logFile,
        jvmOptions: options.jvmOptions ?? [],
        properties: (logDir, listenOn) => brokerProperties({ nodeId, port, controllers, logDir, listenOn }, options.config ?? {}),
      })
  }

  get pid(): number {
    return this.#process?.pid ?? -1
  }

  get running(): boolean {
    return this.#process?.running ?? false
  }

  get ended(): Promise<void> {
    return this.#process?.ended ?? Promise.resolve()
  }

  async restart(): Promise<void> {
    await this.stop()
    this.#process = await this.#launch()
    await this.#process.ready()
  }

  async buildClassArchive(signal: AbortSignal): Promise<void> {
    if (this.#distribution.kind === 'jars') await buildClassArchive(this.#distribution, signal)
  }

  async stop(deadline = 10_000): Promise<void> {
    await this.#process?.stop(deadline)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#process?.kill(signal)
  }
}
