/** One broker as a process: prepares its folder, starts it, waits until it answers, ends it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { closeSync, existsSync } from 'node:fs'
import { cp, mkdir, rename, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { lastLines, openLog, sizeOf } from '../log-file.ts'
import { END_PROCESS, whenThisProcessEnds } from '../orphan-guard.ts'
import { CLUSTER_ID, type JarDistribution, type KafkaDistribution } from './distribution.ts'
import { answersApiVersions } from './readiness.ts'

export interface BrokerLaunch {
  readonly distribution: KafkaDistribution
  readonly dir: string
  readonly nodeId: number
  readonly port: number
  readonly logFile: string
  readonly jvmOptions: readonly string[]
  /** Gives the broker's settings. @param logDir and @param listenOn as the broker sees them */
  readonly properties: (logDir: string, listenOn: string) => string
}

/** A broker that does not answer within so many ms has failed. On a busy machine, or where Docker copies whole images, it takes a minute or two. */
const READY_WITHIN = 300_000

/** What a broker logs when it listens to clients and has joined its cluster. */
const STARTED = 'Kafka Server started'

/** Another program listens on a port of this broker. */
export class PortTaken extends Error {
  override readonly name = 'PortTaken'
}

/** Starts the process; `ready` then waits for it. */
export async function launchBroker(launch: BrokerLaunch): Promise<BrokerProcess> {
  await mkdir(launch.dir, { recursive: true })
  return launch.distribution.kind === 'jars' ? launchJava(launch, launch.distribution) : launchContainer(launch, launch.distribution.image)
}

async function launchJava(launch: BrokerLaunch, distribution: JarDistribution): Promise<BrokerProcess> {
  const dir = resolve(launch.dir)
  const logDir = join(dir, 'log')
  const settings = join(dir, 'server.properties')
  await writeFile(settings, launch.properties(logDir, '127.0.0.1'))
  await format(logDir, launch.nodeId, distribution.formatted)
  const { child, logStart } = spawnDetached(
    distribution.java,
    [...quickStart(distribution), ...launch.jvmOptions, ...LOGGING, '-cp', distribution.classPath, 'kafka.Kafka', settings],
    launch.logFile,
  )
  const endWatch = whenThisProcessEnds(END_PROCESS, String(child.pid))
  return new BrokerProcess(launch, child, logStart, (signal) => void child.kill(signal), endWatch)
}

/** Only the first compiler and the simplest garbage collector: a broker for one user runs for minutes and is mostly idle. */
function quickStart({ classArchive }: JarDistribution): string[] {
  const options = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  return existsSync(classArchive) ? [...options, `-XX:SharedArchiveFile=${classArchive}`] : options
}

/** Logs what Kafka does, without the thousand lines of its settings and threads. */
const LOGGING = [
  ...Object.entries({
    showDateTime: 'true',
    dateTimeFormat: "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    showThreadName: 'false',
    showShortLogName: 'true',
    defaultLogLevel: 'info',
    'log.org.apache.kafka.common.config': 'warn',
    'log.org.apache.kafka.server.purgatory': 'warn',
    'log.org.apache.kafka.server.quota': 'warn',
    'log.org.apache.kafka.server.util': 'warn',
    'log.org.apache.kafka.server.NodeToControllerRequestThread': 'warn',
  }).map(([name, value]) => `-Dorg.slf4j.simpleLogger.${name}=${value}`),
]

/** Does what `kafka-storage format` does, without starting Java for each new folder. */
async function format(logDir: string, nodeId: number, formatted: string): Promise<void> {
  const meta = join(logDir, 'meta.properties')
  if (existsSync(meta)) return
  await cp(formatted, logDir, { recursive: true })
  const directoryId = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url')
  await writeFile(`${meta}.new`, `version=1\ncluster.id=${CLUSTER_ID}\nnode.id=${nodeId}\ndirectory.id=${directoryId}\n`)
  await rename(`${meta}.new`, meta)
}

const LABEL = 'poke-api-pipeline=kafka'

async function launchContainer(launch: BrokerLaunch, image: string): Promise<BrokerProcess> {
  const dir = resolve(launch.dir)
  await mkdir(join(dir, 'log'), { recursive: true })
  await writeFile(join(dir, 'server.properties'), launch.properties('/kafka/log', '0.0.0.0'))
  const name = `poke-kafka-${launch.port}-${randomUUID().slice(0, 8)}`
  const user = process.getuid === undefined ? [] : ['--user', `${process.getuid()}:${process.getgid?.()}`]
  const java = (command: string) => `java -Xmx512m -cp '/opt/kafka/libs/*' ${command} /kafka/server.properties`
  const start = `${java(`kafka.tools.StorageTool format --ignore-formatted -t ${CLUSTER_ID} -c`)} && exec ${java('kafka.Kafka')}`
  // Removes containers that an earlier command left behind while they were being created.
  spawn('docker', ['container', 'prune', '--force', '--filter', `label=${LABEL}`, '--filter', 'until=10m'], { stdio: 'ignore' }).once(
    'error',
    () => undefined,
  )
  const { child, logStart } = spawnDetached(
    'docker',
    [
      ...[
        'run',
        '--rm',
        '--name',
        name,
        '--label',
        LABEL,
        '--publish',
        `127.0.0.1:${launch.port}:${launch.port}`,
        '--volume',
        `${dir}:/kafka`,
        ...user,
      ],
      ...['--entrypoint', '/bin/sh', image, '-c', start],
    ],
    launch.logFile,
  )
  // The docker command first: while the container is being created, there is none to stop.
  const endWatch = whenThisProcessEnds('kill -KILL "$2"; docker stop --time 5 "$1" || docker rm --force "$1"', name, String(child.pid))
  const signalContainer = (signal: NodeJS.Signals) => {
    const how = signal === 'SIGKILL' ? ['rm', '--force', name] : ['kill', '--signal', signal, name]
    const docker = spawn('docker', how, { stdio: 'ignore' })
    // A failure means that there is no such container: it has ended, which `docker run` reports, or it is not created yet.
    docker.once('error', () => undefined)
    if (signal === 'SIGKILL') docker.once('close', () => child.kill('SIGKILL'))
  }
  return new BrokerProcess(launch, child, logStart, signalContainer, endWatch)
}

/**
 * In a process group of its own: Ctrl-C in a terminal must not end the broker before the services that still write to it.
 * @returns the process, and where its part of the log begins
 */
function spawnDetached(command: string, args: string[], logFile: string): { child: ChildProcess; logStart: number } {
  const log = openLog(logFile)
  try {
    const logStart = sizeOf(logFile)
    const child = spawn(command, args, { stdio: ['ignore', log, log], detached: true })
    child.unref()
    return { child, logStart }
  } finally {
    closeSync(log)
  }
}

/** A started broker. */
export class BrokerProcess {
  readonly pid: number
  readonly ended: Promise<void>
  readonly #launch: BrokerLaunch
  readonly #child: ChildProcess
  readonly #signal: (signal: NodeJS.Signals) => void
  readonly #logStart: number
  #startFailed: Error | null = null
  #started = false
  #running = true

  constructor(launch: BrokerLaunch, child: ChildProcess, logStart: number, signal: (signal: NodeJS.Signals) => void, endWatch: () => void) {
    this.#launch = launch
    this.#logStart = logStart
    this.#child = child
    this.#signal = signal
    this.pid = child.pid ?? -1
    this.ended = new Promise((resolve) => {
      const end = () => {
        this.#running = false
        endWatch()
        resolve()
      }
      child.once('exit', end)
      child.once('error', (error) => {
        this.#startFailed = error
        end()
      })
    })
  }

  get running(): boolean {
    return this.#running
  }

  /** Waits until the broker answers. @throws PortTaken, or Error where it ends before or takes too long; then it is killed */
  async ready(): Promise<void> {
    const deadline = performance.now() + READY_WITHIN
    while (this.#running && performance.now() < deadline) {
      // Another broker may answer on the port, until this one has logged that it listens there.
      if (this.#saysStarted() && (await answersApiVersions(this.#launch.port)) && this.#running) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const what = this.#running ? `did not answer within ${READY_WITHIN / 1000} s` : 'ended before it answered'
    await this.kill('SIGKILL')
    const { port, logFile } = this.#launch
    const complaint = this.#complaint()
    const message = `Kafka on port ${port} ${what}. Its log is ${logFile}, whose last errors are:\n${complaint}`
    throw /Address already in use/.test(complaint) ? new PortTaken(message) : new Error(message, { cause: this.#startFailed })
  }

  #saysStarted(): boolean {
    this.#started ||= lastLines(this.#launch.logFile, 500, this.#logStart).some((line) => line.includes(STARTED))
    return this.#started
  }

  /** The errors in the log: a broker that fails logs them before a hundred lines of what it closes. */
  #complaint(): string {
    const lines = lastLines(this.#launch.logFile, 500, this.#logStart)
    const complaints = lines.filter((line) => /\bERROR\b|Exception: |^Caused by: /.test(line))
    return (complaints.length > 0 ? complaints.slice(0, 8) : lines.slice(-8)).join('\n')
  }

  /** @param deadline milliseconds from SIGTERM to SIGKILL */
  async stop(deadline: number): Promise<void> {
    if (!this.#running) return
    this.#child.ref()
    this.#signal('SIGTERM')
    const kill = setTimeout(() => this.#signal('SIGKILL'), deadline)
    await this.ended
    clearTimeout(kill)
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    if (!this.#running) return
    this.#signal(signal)
    if (signal !== 'SIGKILL') return
    this.#child.ref()
    await this.ended
  }
}
