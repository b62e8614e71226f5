/** Runs the statements of a store on PostgreSQL: every operation ends within its deadline, with a result or with an error that says what to do. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { StoreError } from '../../errors.ts'
import { refuseNewerSchema, storeMigrations } from './migrations.ts'
import { isRefusal, sqlState, storeError } from './postgres-errors.ts'
import { PostgresServers, type PostgresSession } from './postgres-servers.ts'
import { connectionWays, type StoreCertificates } from './postgres-tls.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import type { Row } from './rows.ts'

/** A statement that stays prepared under its name, on each connection that no pooler shares. */
export interface Statement {
  readonly name: string
  readonly text: string
}

export interface PostgresOptions {
  readonly password: string | null
  /** For one operation, connecting included, in ms. */
  readonly deadline: number
  readonly certificates: StoreCertificates
  /** Variables for what the URL leaves out (PGSSLMODE and the like). */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** How often a statement is tried that a deadlock or a serialisation failure has undone: it has changed nothing. */
const ATTEMPTS = 5
/** The deadline of migrations, of what an operator asks for, and of a commit with very many dead letters, in ms. */
const LONG_DEADLINE = 120_000
/** A number that no other program locks in the same database. */
const MIGRATION_LOCK = 0x506f6b65
/** SQL_ASCII stores the bytes of any text unchanged. */
const ENCODINGS: readonly unknown[] = ['UTF8', 'SQL_ASCII']
/** The first version with all that the schema uses: identity columns and gen_random_uuid(). */
const OLDEST_VERSION = 13

export class PostgresDatabase {
  /** Without user and password. */
  readonly name: string
  readonly #servers: PostgresServers
  readonly #deadline: number
  /** SQL that applies the session's settings to one transaction. */
  readonly #setLocally: string

  /** @throws StoreError where the URL cannot be used */
  constructor(given: string, { password, deadline, certificates, environment }: PostgresOptions) {
    const url = parsePostgresUrl(given, environment)
    this.name = url.name
    this.#deadline = deadline
    const settings = new Map([
      // The server answers a commit when it is on disk (rule S3).
      ['synchronous_commit', 'on'],
      ...url.session,
      // The server gives up before this client does, so its answer says what happened; and a client that freezes holds locks only briefly.
      ['lock_timeout', `${Math.ceil(deadline * 0.4)}`],
      ['statement_timeout', `${Math.ceil(deadline * 0.8)}`],
      ['idle_in_transaction_session_timeout', `${deadline}`],
      // A role or a database may have other defaults, which would change what is written and read without an error: a null in an array would be
      // the text NULL, and rows that a policy hides would be missing.
      ['array_nulls', 'on'],
      ['row_security', 'off'],
      ['default_transaction_isolation', 'read committed'],
    ])
    const locally = [...settings].map(([name, value]) => `set_config(${pg.escapeLiteral(name)}, ${pg.escapeLiteral(value)}, true)`)
    this.#setLocally = `SELECT ${locally.join(', ')}`
    this.#servers = new PostgresServers({ url, ways: connectionWays(url, certificates), password, deadline, settings })
  }

  /**
   * Runs one statement, which is one transaction.
   * @throws StoreError; where no answer came, it is not known whether the statement took effect
   */
  async query(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    return await this.#retry(() =>
      this.#withSession('statement', async ({ client, pooled }) => {
        if (!pooled) return (await client.query({ ...statement, values: values as unknown[] })).rows
        // Behind a pooler nothing is prepared, because another server process may run the next statement.
        await client.query(`BEGIN ISOLATION LEVEL read committed; ${this.#setLocally}`)
        const { rows } = await client.query({ text: statement.text, values: values as unknown[] })
        await client.query('COMMIT')
        return rows
      }),
    )
  }

  /**
   * Runs several statements in one transaction, for rare work that may take long.
   * @param isolation `read committed`: each statement sees what was committed before it; `repeatable read`: all see one state
   * @throws StoreError; where the last statement got no answer, it is not known whether the transaction took effect
   */
  async transaction<T>(isolation: 'read committed' | 'repeatable read', work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    return await this.#retry(() =>
      this.#withSession('transaction', async ({ client, pooled }) => {
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}${pooled ? `; ${this.#setLocally}` : ''}`)
        await client.query(`SET LOCAL statement_timeout = ${LONG_DEADLINE * 0.8}; SET LOCAL lock_timeout = ${LONG_DEADLINE * 0.4}`)
        const result = await work(client)
        await client.query('COMMIT')
        return result
      }),
    )
  }

  /** Brings the schema up to date. Of many instances that try, one runs the migrations and the others find them done. @throws StoreError */
  async migrate(): Promise<void> {
    const migrations = storeMigrations('postgres')
    await this.#check()
    const found = await this.#version()
    if (found < migrations.length) {
      await this.transaction('read committed', async (client) => {
        await client.query(`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`)
        // Only in a new database: an existing table may be in a later schema of the search_path than the one where this would create another.
        if (found === 0) {
          await client.query('CREATE TABLE IF NOT EXISTS store_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)')
        }
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

  /** Connections in use are closed when they are released. */
  async close(): Promise<void> {
    await this.#servers.close()
  }

  /** @throws StoreError where the server is too old, or set up so that it could lose commits */
  async #check(): Promise<void> {
    const [row] = await this.query(
      {
        name: 'check',
        text: `SELECT current_setting('server_version_num')::integer / 10000 AS version, current_setting('fsync') AS fsync,
          current_setting('synchronous_commit') AS synchronous_commit, current_schema() AS schema,
          current_setting('server_encoding') AS encoding`,
      },
      [],
    )
    const refuse = (why: string) => new StoreError('unsupported', `the store ${this.name} cannot guarantee exact counts: ${why}`)
    if ((row?.version as number) < OLDEST_VERSION) throw refuse(`it is PostgreSQL ${row?.version}: use ${OLDEST_VERSION} or newer`)
    if (row?.fsync !== 'on') throw refuse('its setting fsync is off, so a power cut could damage it: turn it on')
    if (row.synchronous_commit === 'off') throw refuse('synchronous_commit is off: turn it on in the options of STORE_URL')
    if (!ENCODINGS.includes(row.encoding)) {
      throw refuse(
        `its encoding is ${row.encoding}, which lacks characters that names of types can have: make a database with ENCODING 'UTF8', and move the ` +
          'counts with pg_dump and pg_restore',
      )
    }
    if (row.schema === null) throw refuse('no schema of the search_path exists: make it, or correct the options of STORE_URL')
  }

  async #version(): Promise<number> {
    const [table] = await this.query({ name: 'migrated', text: "SELECT to_regclass('store_migrations') IS NOT NULL AS migrated" }, [])
    if (table?.migrated !== true) return 0
    const [row] = await this.query({ name: 'version', text: 'SELECT coalesce(max(version), 0) AS version FROM store_migrations' }, [])
    return row?.version as number
  }

  /** Repeats work that a deadlock or a serialisation failure has undone, or that reached a server process where its statement is not prepared. */
  async #retry<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        const state = error instanceof StoreError ? sqlState(error.cause) : ''
        if (NOT_PREPARED.has(state)) this.#servers.foundPooler()
        else if (!UNDONE.has(state)) throw error
        if (attempt === ATTEMPTS) throw error
      }
      await sleep(attempt * 5)
    }
  }

  /**
   * Runs `work` with a connection, which is closed where no answer comes in time: behind a pulled cable or a frozen server it could hang for
   * hours.
   */
  async #withSession<T>(purpose: 'statement' | 'transaction', work: (session: PostgresSession) => Promise<T>): Promise<T> {
    const deadline = purpose === 'statement' ? this.#deadline : LONG_DEADLINE
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const message = `the store ${this.name} did not answer within ${deadline} ms: it is not known whether the last change took effect`
      timer = setTimeout(() => reject(new StoreError('unreachable', message)), deadline)
    })
    late.catch(() => {})
    try {
      const session = await this.#servers.connect()
      const { client, pooled } = session
      const working = work(session)
      try {
        const result = await Promise.race([working, late])
        client.release()
        return result
      } catch (error) {
        // Nobody waits for this answer any more: when the connection is closed it becomes an error that must not be unhandled.
        working.catch(() => {})
        // Closing the connection ends what is still open on it: a statement without an answer, a transaction.
        client.release(pooled || purpose === 'transaction' || !isRefusal(error) || CONNECTION_LOST.has(sqlState(error)))
        throw error
      }
    } catch (error) {
      throw storeError(this.name, error)
    } finally {
      clearTimeout(timer)
    }
  }
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNDONE: ReadonlySet<string> = new Set(['40001', '40P01'])
/** The server process does not know the statement, or knows another one by its name: the statement was not run. */
const NOT_PREPARED: ReadonlySet<string> = new Set(['26000', '42P05'])
/** The session has ended, or its server is not the primary any more. */
const CONNECTION_LOST: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '57P05', '25006', '25P03', '25P04', '08P01'])
