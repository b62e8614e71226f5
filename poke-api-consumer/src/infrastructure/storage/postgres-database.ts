/** Connections to the PostgreSQL database of a store: every operation ends within its deadline, in a result or in an error that says what to do. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { StoreError } from '../../errors.ts'
import { refuseNewerSchema, storeMigrations } from './migrations.ts'
import { isRefusal, sqlState, storeError } from './postgres-errors.ts'
import { PostgresServers, type PostgresSession } from './postgres-servers.ts'
import { connectionWays, type StoreCertificates } from './postgres-tls.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import type { Row } from './rows.ts'

/** Kept prepared by its name on each connection that is ours alone. */
export interface Statement {
  readonly name: string
  readonly text: string
}

export interface PostgresOptions {
  readonly password: string | null
  /** For one operation, connecting included, in ms. */
  readonly deadline: number
  readonly certificates: StoreCertificates
  /** What the URL leaves out stands in PGSSLMODE and the like. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** A deadlock or a serialisation failure is known to have changed nothing: the statement is sent again this many times. */
const ATTEMPTS = 5
/** For migrations, for what an operator asks for, and for a commit with very many dead letters, in ms. */
const LONG_DEADLINE = 120_000
/** Any number that other programs do not lock in the same database. */
const MIGRATION_LOCK = 0x506f6b65
/** SQL_ASCII takes the bytes of any other as they come. */
const ENCODINGS: readonly unknown[] = ['UTF8', 'SQL_ASCII']
/** Identity columns and gen_random_uuid(). */
const OLDEST_VERSION = 13

export class PostgresDatabase {
  /** Without user and password. */
  readonly name: string
  readonly #servers: PostgresServers
  readonly #deadline: number
  /** Sets what every statement needs, for one transaction. */
  readonly #setLocally: string

  /** @throws StoreError where the URL cannot be used */
  constructor(given: string, { password, deadline, certificates, environment }: PostgresOptions) {
    const url = parsePostgresUrl(given, environment)
    this.name = url.name
    this.#deadline = deadline
    const settings = new Map([
      // Commits are on disk when they are answered (rule S3).
      ['synchronous_commit', 'on'],
      ...url.session,
      // The server answers before we give up, so that it is known what happened; and a frozen client of ours holds nothing for long.
      ['lock_timeout', `${Math.ceil(deadline * 0.4)}`],
      ['statement_timeout', `${Math.ceil(deadline * 0.8)}`],
      ['idle_in_transaction_session_timeout', `${deadline}`],
      // What a role or database may have by default, and what would change without a word what is written and read here: a null in an array
      // would be the text NULL, and rows that a policy hides would be missing.
      ['array_nulls', 'on'],
      ['row_security', 'off'],
      ['default_transaction_isolation', 'read committed'],
    ])
    const locally = [...settings].map(([name, value]) => `set_config(${pg.escapeLiteral(name)}, ${pg.escapeLiteral(value)}, true)`)
    this.#setLocally = `SELECT ${locally.join(', ')}`
    this.#servers = new PostgresServers({ url, ways: connectionWays(url, certificates), password, deadline, settings })
  }

  /**
   * One statement, which is one transaction.
   * @throws StoreError; where no answer came, it is not known whether the statement was done
   */
  async query(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    return await this.#again(() =>
      this.#lend('statement', async ({ client, pooled }) => {
        if (!pooled) return (await client.query({ ...statement, values: values as unknown[] })).rows
        // Behind a pooler nothing is prepared, since the next statement may meet another server process.
        await client.query(`BEGIN ISOLATION LEVEL read committed; ${this.#setLocally}`)
        const { rows } = await client.query({ text: statement.text, values: values as unknown[] })
        await client.query('COMMIT')
        return rows
      }),
    )
  }

  /**
   * Several statements of one transaction, for what is rare and may take long.
   * @param isolation `read committed`: each statement sees what was committed before it; `repeatable read`: all see one state
   * @throws StoreError; where no answer came to the last of it, it is not known whether it was done
   */
  async transaction<T>(isolation: 'read committed' | 'repeatable read', work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    return await this.#again(() =>
      this.#lend('transaction', async ({ client, pooled }) => {
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}${pooled ? `; ${this.#setLocally}` : ''}`)
        await client.query(`SET LOCAL statement_timeout = ${LONG_DEADLINE * 0.8}; SET LOCAL lock_timeout = ${LONG_DEADLINE * 0.4}`)
        const result = await work(client)
        await client.query('COMMIT')
        return result
      }),
    )
  }

  /** Brings the schema up to date; of many instances that try, one does it and the others find it done. @throws StoreError */
  async migrate(): Promise<void> {
    const migrations = storeMigrations('postgres')
    await this.#check()
    const found = await this.#version()
    if (found < migrations.length) {
      await this.transaction('read committed', async (client) => {
        await client.query(`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`)
        // One that is there may stand in a later schema of the search_path than the one where a new table would be made.
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

  /** Connections that are lent go when they come back. */
  async close(): Promise<void> {
    await this.#servers.close()
  }

  /** Refuses a server that cannot keep the promises. */
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
    const refuse = (why: string) => new StoreError('unsupported', `the store ${this.name} cannot keep the promises: ${why}`)
    if ((row?.version as number) < OLDEST_VERSION) throw refuse(`it is PostgreSQL ${row?.version}: use ${OLDEST_VERSION} or newer`)
    if (row?.fsync !== 'on') throw refuse('its setting fsync is off: a power cut could damage it: turn it on')
    if (row.synchronous_commit === 'off') throw refuse('synchronous_commit is off: turn it on in the options of STORE_URL')
    if (!ENCODINGS.includes(row.encoding)) {
      throw refuse(
        `its encoding is ${row.encoding}, which does not have the names of all types: make a database with ENCODING 'UTF8', and move what was ` +
          'counted with pg_dump and pg_restore',
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

  /** Sends again what a deadlock or a serialisation failure has undone, or what met another server process than it was prepared in. */
  async #again<T>(work: () => Promise<T>): Promise<T> {
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
   * Lends a connection. One that did not answer in time is cut: whatever hangs behind it (a pulled cable, a frozen server) could hang for
   * hours otherwise.
   */
  async #lend<T>(purpose: 'statement' | 'transaction', work: (session: PostgresSession) => Promise<T>): Promise<T> {
    const deadline = purpose === 'statement' ? this.#deadline : LONG_DEADLINE
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const message = `the store ${this.name} did not answer within ${deadline} ms: whether the last change was made is not known`
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
        // The answer that is waited for no more, once the connection is cut, is an error that nobody needs.
        working.catch(() => {})
        // What is still open on the connection (a statement without an answer, a transaction) ends with it.
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
/** The statement is unknown to the server process, or known from somebody else: it was not run. */
const NOT_PREPARED: ReadonlySet<string> = new Set(['26000', '42P05'])
/** The session is over, or it belongs to a server that is no primary any more. */
const CONNECTION_LOST: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '57P05', '25006', '25P03', '25P04', '08P01'])
