/** Connections to the PostgreSQL database of a store: every operation ends within its deadline, in a result or in an error that says what to do. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { printable } from 'service-kit'
import { StoreError, type StoreErrorKind } from '../../errors.ts'
import { readMigrations, refuseNewerSchema } from './migrations.ts'
import type { Row } from './rows.ts'

/** Kept prepared by its name on each connection. */
export interface Statement {
  readonly name: string
  readonly text: string
}

export interface PostgresOptions {
  readonly password: string | null
  /** For one operation, connecting included, in ms. */
  readonly deadline: number
}

/** Partitions commit side by side; the server allows about a hundred connections, to all instances together. */
const CONNECTIONS = 4
/** Characters of what the server says. */
const MOST_DETAILS = 500
/** A deadlock or a serialisation failure is known to have changed nothing: the statement is sent again this many times. */
const ATTEMPTS = 5
/** For migrations, for what an operator asks for, and for a commit with very many dead letters, in ms. */
const LONG_DEADLINE = 120_000
/** Any number that other programs do not lock in the same database. */
const MIGRATION_LOCK = 0x506f6b65
/** Identity columns and gen_random_uuid(). */
const OLDEST_VERSION = 13

export class PostgresDatabase {
  /** Without user and password. */
  readonly name: string
  readonly #pool: pg.Pool
  readonly #deadline: number

  constructor(given: string, { password, deadline }: PostgresOptions) {
    const url = URL.parse(given)
    // Not even what was given is said: a password may stand in it.
    if (url === null) throw new StoreError('unusable', 'STORE_URL is no URL of the form postgres://user@host:port/database')
    this.name = describe(url)
    this.#deadline = deadline
    this.#pool = new pg.Pool({
      connectionString: withSettings(url, password),
      max: CONNECTIONS,
      fallback_application_name: 'poke-api-consumer',
      connectionTimeoutMillis: deadline,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      // The server answers before we give up, so that it is known what happened; and a frozen client of ours holds nothing for long.
      lock_timeout: Math.ceil(deadline * 0.4),
      statement_timeout: Math.ceil(deadline * 0.8),
      idle_in_transaction_session_timeout: deadline,
      types: { getTypeParser: parserOf },
    })
    // A connection that breaks fails the statement under way, if there is one, and the next operation opens another connection.
    // The events say the same once more, and would end the process where nobody listened.
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => client.on('error', () => {}))
  }

  /**
   * One statement, which is one transaction.
   * @throws StoreError; where no answer came, it is not known whether the statement was done
   */
  async query(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    return await this.#again(() =>
      this.#lend('statement', async (client) => (await client.query({ ...statement, values: values as unknown[] })).rows),
    )
  }

  /**
   * Several statements of one transaction, for what is rare and may take long.
   * @param isolation `read committed`: each statement sees what was committed before it; `repeatable read`: all see one state
   * @throws StoreError; where no answer came to the last of it, it is not known whether it was done
   */
  async transaction<T>(isolation: 'read committed' | 'repeatable read', work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    return await this.#again(() =>
      this.#lend('transaction', async (client) => {
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
        await client.query(`SET LOCAL statement_timeout = ${LONG_DEADLINE * 0.8}; SET LOCAL lock_timeout = ${LONG_DEADLINE * 0.4}`)
        const result = await work(client)
        await client.query('COMMIT')
        return result
      }),
    )
  }

  /** Brings the schema up to date; of many instances that try, one does it and the others find it done. @throws StoreError */
  async migrate(): Promise<void> {
    const migrations = readMigrations('postgres')
    await this.#check()
    if ((await this.#version()) < migrations.length) {
      await this.transaction('read committed', async (client) => {
        await client.query(`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`)
        await client.query('CREATE TABLE IF NOT EXISTS store_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)')
        const { rows } = await client.query('SELECT coalesce(max(version), 0) AS version FROM store_migrations')
        for (const { version, sql } of migrations) {
          if (version <= rows[0].version) continue
          await client.query(sql)
          await client.query('INSERT INTO store_migrations VALUES ($1, now())', [version])
        }
      })
    }
    refuseNewerSchema(this.name, await this.#version(), migrations)
  }

  /** Connections that are lent go when they come back. */
  async close(): Promise<void> {
    if (!this.#pool.ending) await this.#pool.end()
  }

  /** Refuses a server that cannot keep the promises. */
  async #check(): Promise<void> {
    const [row] = await this.query(
      {
        name: 'check',
        text: `SELECT current_setting('server_version_num')::integer / 10000 AS version, current_setting('fsync') AS fsync,
          current_setting('synchronous_commit') AS synchronous_commit, current_schema() AS schema`,
      },
      [],
    )
    const refuse = (why: string) => new StoreError('unsupported', `the store ${this.name} cannot keep the promises: ${why}`)
    if ((row?.version as number) < OLDEST_VERSION) throw refuse(`it is PostgreSQL ${row?.version}: use ${OLDEST_VERSION} or newer`)
    if (row?.fsync !== 'on') throw refuse('its setting fsync is off: a power cut could damage it: turn it on')
    if (row.synchronous_commit === 'off') throw refuse('synchronous_commit is off: turn it on in the options of STORE_URL')
    if (row.schema === null) throw refuse('no schema of the search_path exists: make it, or correct the options of STORE_URL')
  }

  async #version(): Promise<number> {
    const [table] = await this.query({ name: 'migrated', text: "SELECT to_regclass('store_migrations') IS NOT NULL AS migrated" }, [])
    if (table?.migrated !== true) return 0
    const [row] = await this.query({ name: 'version', text: 'SELECT coalesce(max(version), 0) AS version FROM store_migrations' }, [])
    return row?.version as number
  }

  /** Sends again what a deadlock or a serialisation failure has undone. */
  async #again<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof StoreError) || !UNDONE.has(sqlState(error.cause)) || attempt === ATTEMPTS) throw error
      }
      await sleep(attempt * 5)
    }
  }

  /**
   * Lends a connection. One that did not answer in time is cut: whatever hangs behind it (a pulled cable, a frozen server) could hang for
   * hours otherwise.
   */
  async #lend<T>(purpose: 'statement' | 'transaction', work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const deadline = purpose === 'statement' ? this.#deadline : LONG_DEADLINE
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const message = `the store ${this.name} did not answer within ${deadline} ms: whether the last change was made is not known`
      timer = setTimeout(() => reject(new StoreError('unreachable', message)), deadline)
    })
    late.catch(() => {})
    try {
      const client = await this.#pool.connect()
      const working = work(client)
      try {
        const result = await Promise.race([working, late])
        client.release()
        return result
      } catch (error) {
        // The answer that is waited for no more, once the connection is cut, is an error that nobody needs.
        working.catch(() => {})
        // What is still open on the connection (a statement without an answer, a transaction) ends with it.
        client.release(purpose === 'transaction' || !isRefusal(error) || CONNECTION_LOST.has(sqlState(error)))
        throw error
      }
    } catch (error) {
      throw storeError(this.name, error)
    } finally {
      clearTimeout(timer)
    }
  }
}

/** `postgres://host:port/database`, for messages. */
function describe({ host, pathname, searchParams }: URL): string {
  return `postgres://${host || (searchParams.get('host') ?? '')}${pathname}`
}

/** Adds the password, and what every session must have: commits that are on disk when they are answered (rule S3). */
function withSettings(url: URL, password: string | null): string {
  const settings = new URL(url)
  if (password !== null) settings.searchParams.set('password', password)
  const options = settings.searchParams.get('options') ?? ''
  if (!options.includes('synchronous_commit')) settings.searchParams.set('options', `${options} -c synchronous_commit=on`.trim())
  return settings.href
}

/** 64-bit integers as numbers: offsets, sequences and counts stay below 2^53. */
const INT8 = 20
const parserOf = ((oid: number, format: 'text') =>
  oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNDONE: ReadonlySet<string> = new Set(['40001', '40P01'])
/** The session is over, or it belongs to a server that is no primary any more. */
const CONNECTION_LOST: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '25006', '25P03'])
const KINDS: Readonly<Record<string, readonly [kind: StoreErrorKind, what: string]>> = {
  '28000': ['not-authorised', 'refuses the login'],
  '28P01': ['not-authorised', 'refuses the login'],
  '42501': ['not-authorised', 'does not allow this user what the store needs'],
  '3D000': ['unusable', 'does not exist: create the database, or correct STORE_URL'],
  '42P01': ['damaged', 'has lost a table'],
  '42703': ['damaged', 'has lost a column'],
  '53100': ['full', 'cannot grow, its disk is full: make room'],
  '53300': ['unreachable', 'has no connection left'],
  '55P03': ['busy', 'has a lock that another instance holds, or a commit that waits for a missing standby'],
  '57014': ['busy', 'took too long'],
  '25006': ['unreachable', 'is read-only: it is a standby now, or default_transaction_read_only is on'],
  '40001': ['busy', 'had too many changes at once'],
  '40P01': ['busy', 'had too many changes at once'],
}

function storeError(name: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const state = sqlState(error)
  const { message, code } = error as NodeJS.ErrnoException
  // The client's own errors have no state: connections that could not be made or that broke, but also what cannot be put into a message.
  const isAway = (state === '' && !(error instanceof RangeError) && !(error instanceof TypeError)) || /^(08|57P)/.test(state)
  const [kind, what] = KINDS[state] ?? (isAway ? ['unreachable', 'cannot be reached'] : ['io', 'failed'])
  // Where several addresses were tried, the error has a code alone.
  return new StoreError(kind, `the store ${name} ${what} (${printable(message || String(code), MOST_DETAILS)}${state && `, ${state}`})`, {
    cause: error,
  })
}

/** Whether the server has refused a statement: then nothing of it was done. */
function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError
}

function sqlState(error: unknown): string {
  return (error instanceof pg.DatabaseError && error.code) || ''
}
