/** The whole stack of compose.yaml in a container engine, under a project name, ports and an output folder of its own. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { type Counts, countTopic } from './topic-count.ts'

const run = promisify(execFile)
const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const FILES = ['-f', 'compose.yaml', '-f', 'compose.bundled.yaml']

export type Service = 'kafka' | 'poke-api-producer' | 'poke-api-consumer'

/** Whether a container engine answers here. */
export async function engineAnswers(): Promise<boolean> {
  return run('docker', ['info']).then(
    () => true,
    () => false,
  )
}

export class Stack {
  readonly project: string
  readonly output: string
  readonly page: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(project: string, output: string, consumerPort: number, producerPort: number) {
    this.project = project
    this.output = output
    this.page = `http://127.0.0.1:${consumerPort}`
    // A capture every 50 ms, so that a kill interrupts work.
    const settings = { CAPTURE_INTERVAL: '50ms', POKE_API_MAX_RATE: '0', OUTPUT_DIR: output }
    this.#env = { ...process.env, ...settings, CONSUMER_PORTS: String(consumerPort), PRODUCER_PORT: String(producerPort) }
  }

  static async create(): Promise<Stack> {
    const output = join(await mkdtemp(join(tmpdir(), 'poke-compose-')), 'output')
    return new Stack(`poke-test-${randomBytes(3).toString('hex')}`, output, await freePort(), await freePort())
  }

  /** Runs `docker compose` with these arguments. @returns what it printed */
  async compose(...args: string[]): Promise<string> {
    const options = { cwd: REPOSITORY, env: this.#env, maxBuffer: 1 << 30 }
    const { stdout } = await run('docker', ['compose', '-p', this.project, ...FILES, ...args], options)
    return stdout
  }

  /** Builds the images and starts everything, as a user would. */
  build(): Promise<string> {
    return this.compose('up', '--detach', '--build')
  }

  /** Runs `make up` as a user would, with these additional variables. @returns its exit code and its output; it may fail */
  makeUp(env: Readonly<Record<string, string>>): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
    const options = { cwd: REPOSITORY, env: { ...this.#env, COMPOSE_PROJECT_NAME: this.project, ...env }, maxBuffer: 1 << 30 }
    return new Promise((resolve) => {
      execFile('make', ['--no-print-directory', 'up'], options, (error, out, err) => resolve({ code: Number(error?.code ?? 0), out, err }))
    })
  }

  /** Starts the services that do not run. */
  up(): Promise<string> {
    return this.compose('up', '--detach')
  }

  /** Removes containers, networks and, if asked to, volumes and the output folder. */
  async down({ volumes = false } = {}): Promise<void> {
    await this.compose('down', ...(volumes ? ['--volumes', '--rmi', 'local'] : []))
    if (volumes) await rm(join(this.output, '..'), { recursive: true, force: true })
  }

  /**
   * Runs that many consumers, on consecutive ports.
   * @returns the addresses of their pages
   */
  async scale(consumers: number): Promise<string[]> {
    const first = await freePort()
    this.#env.CONSUMER_PORTS = `${first}-${first + consumers - 1}`
    await this.compose('up', '--detach', '--scale', `poke-api-consumer=${consumers}`)
    return await Promise.all(Array.from({ length: consumers }, (_, i) => this.address('poke-api-consumer', 8080, i + 1)))
  }

  /** The address on this machine of a container's port. */
  async address(service: Service, port: number, index = 1): Promise<string> {
    return `http://${(await this.compose('port', '--index', String(index), service, String(port))).trim()}`
  }

  /** The engine's description of a service's container. */
  async inspect(service: Service): Promise<Inspection> {
    const { stdout } = await run('docker', ['inspect', await this.container(service)])
    return JSON.parse(stdout)[0]
  }

  async container(service: Service): Promise<string> {
    return (await this.compose('ps', '--all', '--quiet', service)).trim()
  }

  /** Kills a service's process as the kernel does when memory runs out. (After `docker kill` the engine would not restart it.) */
  async crash(service: Service): Promise<void> {
    const { State, Image } = await this.inspect(service)
    const kill = ['sh', '-c', `kill -9 ${State.Pid}`]
    await run('docker', ['run', '--rm', '--pid=host', '--user=root', '--network=none', '--entrypoint=', Image, ...kill])
  }

  /** The published counts, from the file and from the page's server. */
  async counts(): Promise<{ file: string; api: string }> {
    const api = await fetch(`${this.page}/api/type-counts`, { signal: AbortSignal.timeout(5000) })
    return { file: await readFile(join(this.output, 'type-counts.json'), 'utf8'), api: await api.text() }
  }

  /** The right counts: every record of the topic, read by Kafka's own tools, each event once. */
  async expectedCounts(): Promise<Counts> {
    const partitions = await this.#endOffsets()
    const consume = async ([partition, end]: [string, string]) =>
      end === '0'
        ? ''
        : await this.#kafkaTool(
            ...['kafka-console-consumer.sh', '--topic', 'poke-topic', '--partition', partition, '--offset', 'earliest'],
            ...['--max-messages', end, '--timeout-ms', '120000', '--formatter-property', 'print.headers=true'],
          )
    return countTopic((await Promise.all(partitions.map(consume))).join('\n'))
  }

  /** Each partition of the topic and the offset after its last record. Needs a group with a committed offset in each partition. */
  async #endOffsets(): Promise<[partition: string, end: string][]> {
    const table = await this.#kafkaTool('kafka-consumer-groups.sh', '--describe', '--group', 'poke-api-consumer')
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET …
    const rows = table.split('\n').map((line) => line.trim().split(/\s+/))
    const ends = rows.filter(([, topic]) => topic === 'poke-topic').map((row): [string, string] => [row[2] ?? '', row[4] ?? ''])
    if (ends.length !== 3) throw new Error(`the group has no position in each of the three partitions yet:\n${table}`)
    return ends
  }

  #kafkaTool(tool: string, ...args: string[]): Promise<string> {
    return this.compose('exec', '--no-TTY', 'kafka', `/opt/kafka/bin/${tool}`, '--bootstrap-server', 'localhost:9092', ...args)
  }
}

/** The part of `docker inspect` that tests look at. */
export interface Inspection {
  readonly Image: string
  readonly RestartCount: number
  readonly State: {
    readonly Pid: number
    readonly Status: string
    readonly ExitCode: number
    readonly Health?: { readonly Status: string }
  }
  readonly Config: { readonly User: string; readonly Labels: Record<string, string> }
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean
    readonly CapDrop: string[]
    readonly CapAdd: string[] | null
    readonly SecurityOpt: string[]
    readonly Privileged: boolean
  }
  readonly NetworkSettings: { readonly Ports: Record<string, { readonly HostIp: string }[] | null> }
}
