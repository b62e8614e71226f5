/** Apache Kafka on this machine alone: one broker that keeps its data, or several as a cluster, without anything installed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { type BrokerProcess, launchBroker } from './kafka/broker-process.ts'
import { brokerProperties } from './kafka/broker-properties.ts'
import { makeClassArchive } from './kafka/class-archive.ts'
import { getKafka, type KafkaDistribution } from './kafka/distribution.ts'

export { PortTaken } from './kafka/broker-process.ts'
export { KAFKA_VERSION } from './kafka/distribution.ts'

const toStandardError = (line: string) => void process.stderr.write(`${line}\n`)

/**
 * Gets Kafka where it is not there yet, and makes ready what lets brokers start quickly.
 * @param say told of what takes its time before it begins
 * @throws where Kafka is not to be had; the message says what to install
 */
export async function ensureKafka(say: (line: string) => void = toStandardError): Promise<KafkaDistribution> {
  const distribution = await getKafka(say)
  if (distribution.kind === 'jars' && !existsSync(distribution.classArchive)) {
    say('Preparing quick starts of Kafka (once, some seconds)')
    await makeClassArchive(distribution)
  }
  return distribution
}

export interface KafkaOptions {
  /** Where the broker keeps data, settings and log. What is there from an earlier start is kept. */
  readonly dir: string
  /** Client port; a free one where not given. */
  readonly port?: number
  /** Port for Kafka itself; a free one where not given. */
  readonly controllerPort?: number
  /** Broker settings by their Kafka names; they win over ours. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
  /** Options of the Java machine, after ours: `-Xmx2g`, or `-XX:TieredStopAtLevel=4` for measurements. */
  readonly jvmOptions?: readonly string[]
  /** Told of downloads. */
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
  /** Asks the broker to end, and ends it after so many ms (10 s). */
  stop(deadline?: number): Promise<void>
  /** Sends a signal at once, SIGKILL where none is named; resolves when a killed process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same ports and data, after stopping it where it runs. Resolves when it answers. @throws PortTaken, among others */
  restart(): Promise<void>
  /** Makes later starts on this machine quicker, where that is not done yet: some seconds of work beside the running broker. */
  quickenNextStart(signal: AbortSignal): Promise<void>
}

/**
 * Starts a broker that is its own cluster and waits until it answers. It ends with this process, whatever ends this process.
 * @throws where Kafka is not to be had, or ends before it answers; the error quotes its log
 */
export async function startKafka(options: KafkaOptions): Promise<Kafka> {
  const broker = await singleBroker(await ensureKafka(options.say), options)
  await broker.restart()
  return broker
}

/** The same broker, downloaded and not started yet: `restart` starts it, as quickly as it can be on this machine now. */
export async function embeddedKafka(options: KafkaOptions): Promise<Kafka> {
  return await singleBroker(await getKafka(options.say ?? toStandardError), options)
}

async function singleBroker(distribution: KafkaDistribution, options: KafkaOptions): Promise<Kafka> {
  const port = options.port ?? (await freePort())
  const controllerPort = options.controllerPort ?? (await portBeside(port))
  return new Broker(distribution, options, 1, port, new Map([[1, controllerPort]]))
}

export interface Cluster {
  /** All brokers, for clients. */
  readonly brokers: string
  /** Node ids are 1, 2, 3…, in this order. */
  readonly nodes: readonly Kafka[]
  /** Ends all at once by SIGKILL: a cluster that loses its majority waits for minutes before it ends by itself. */
  stop(): Promise<void>
}

/**
 * Starts a cluster of `count` brokers, each one a controller too, and waits until all answer.
 * @throws as `startKafka`, and where only Docker is there
 */
export async function startCluster(count: number, options: Pick<KafkaOptions, 'dir' | 'config' | 'jvmOptions' | 'say'>): Promise<Cluster> {
  const distribution = await ensureKafka(options.say)
  if (distribution.kind === 'image')
    throw new Error('A cluster of several brokers needs a JDK and Maven: containers here cannot reach each other.')
  const ports = await distinctPorts(2 * count)
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

/** A port is free until somebody listens on it, so that the same one may be found twice. */
async function portBeside(port: number): Promise<number> {
  for (;;) {
    const other = await freePort()
    if (other !== port) return other
  }
}

async function distinctPorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
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

  async quickenNextStart(signal: AbortSignal): Promise<void> {
    if (this.#distribution.kind === 'jars') await makeClassArchive(this.#distribution, signal)
  }

  async stop(deadline = 10_000): Promise<void> {
    await this.#process?.stop(deadline)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#process?.kill(signal)
  }
}
