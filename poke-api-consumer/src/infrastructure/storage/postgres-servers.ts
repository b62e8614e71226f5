/** Connects to the servers that a PostgreSQL URL names: to the first one that answers and accepts writes, with TLS or without. */

import { HIDDEN, printable } from '@poke-api-pipeline/service-kit'
import pg from 'pg'
import { StoreError } from '../../errors.ts'
import { failureOf, sqlState, storeError, unreachable } from './postgres-errors.ts'
import type { ConnectionWay } from './postgres-tls.ts'
import type { PostgresUrl } from './postgres-url.ts'

/** A connection from a pool. The caller releases it. */
export interface PostgresSession {
  readonly client: pg.PoolClient
  /**
   * Whether the connection goes through a pooler such as pgbouncer. Then each transaction may run in another server process, so settings and
   * prepared statements last for one transaction only.
   */
  readonly pooled: boolean
}

export interface PostgresServersOptions {
  readonly url: PostgresUrl
  readonly ways: readonly ConnectionWay[]
  readonly password: string | null
  /** The time for one operation, connecting included, in ms. */
  readonly deadline: number
  /** Settings of each session. */
  readonly settings: ReadonlyMap<string, string>
}

/** Connections to a server: partitions commit in parallel, and a server allows about a hundred connections to all instances together. */
const CONNECTIONS = 4

interface Server {
  /** For messages. */
  readonly name: string
  /** One pool for each way to connect: with TLS, without. */
  readonly pools: readonly pg.Pool[]
  /** The way that worked last is tried first. */
  working: number
}

/** The length from which a password is hidden in messages: a shorter one is a part of many words. */
const SHORTEST_HIDDEN = 4

export class PostgresServers {
  readonly #options: PostgresServersOptions
  readonly #servers: readonly Server[]
  readonly #sessions = new WeakMap<pg.PoolClient, PostgresSession>()
  readonly #greeting: string
  readonly #greetingValues: readonly string[]
  /** The server that worked last is tried first: after a failover its connections are the ones in use. */
  #current = 0
  /** Whether a pooler was met that its connections did not show. */
  #pooled = false
  #closing: Promise<unknown> | null = null

  constructor(options: PostgresServersOptions) {
    const { url, ways, settings } = options
    this.#options = options
    this.#servers = url.hosts.map((host) => ({
      name: `${host.host}:${host.port}`,
      pools: (host.host.startsWith('/') ? ([false] as const) : ways).map((way) => this.#newPool(host, way)),
      working: 0,
    }))
    const names = [...settings.keys()]
    this.#greeting = greeting(names.length)
    this.#greetingValues = names.flatMap((name) => [name, settings.get(name) as string])
  }

  /**
   * Takes a connection from a pool. Every server is tried, beginning with the one that worked last.
   * @throws StoreError where none of them can be used
   */
  async connect(): Promise<PostgresSession> {
    const failures: { readonly server: string; readonly error: StoreError }[] = []
    for (let i = 0; i < this.#servers.length; i++) {
      const at = (this.#current + i) % this.#servers.length
      const server = this.#servers[at] as Server
      try {
        const session = await this.#connectTo(server)
        this.#current = at
        return this.#pooled ? { ...session, pooled: true } : session
      } catch (error) {
        this.#hidePasswords(error)
        // All connections of the pool are in use: the server itself works.
        if (isBusy(error)) throw storeError(this.#options.url.name, error)
        failures.push({ server: server.name, error: storeError(this.#options.url.name, error) })
      }
    }
    // The deadline may pass before the last server is tried, so the next attempt begins with the next server.
    this.#current = (this.#current + 1) % this.#servers.length
    throw failureOf(this.#options.url.name, failures)
  }

  /** From now on every connection is treated as one through a pooler. Some poolers cannot be recognised by the number of the server process. */
  foundPooler(): void {
    this.#pooled = true
  }

  /** Connections in use are closed when they are released. */
  async close(): Promise<void> {
    this.#closing ??= Promise.all(this.#servers.flatMap(({ pools }) => pools.map((pool) => pool.end())))
    await this.#closing
  }

  /** Removes passwords from a message: a pooler, or a program that is not PostgreSQL, may repeat the password that it was sent. */
  #hidePasswords(error: unknown): void {
    if (!(error instanceof Error)) return
    const { url, password } = this.#options
    for (const secret of [password, url.password, url.keyPassword]) {
      if (secret !== null && secret.length >= SHORTEST_HIDDEN) error.message = error.message.replaceAll(secret, HIDDEN)
    }
  }

  async #connectTo(server: Server): Promise<PostgresSession> {
    const order = [server.working, ...server.pools.keys().filter((way) => way !== server.working)]
    for (const [i, way] of order.entries()) {
      try {
        const client = await (server.pools[way] as pg.Pool).connect()
        const session = this.#sessions.get(client) ?? (await this.#greet(client))
        server.working = way
        return session
      } catch (error) {
        if (i === order.length - 1 || !isAboutTheWay(error)) throw error
      }
    }
    throw unreachable(this.#options.url.name)
  }

  /** Examines the server of a new connection, and applies the session's settings. */
  async #greet(client: pg.PoolClient): Promise<PostgresSession> {
    const { url } = this.#options
    try {
      const { pooled, standby, readOnly } = await this.#sendGreeting(client)
      if (url.writable && (standby || readOnly)) {
        throw new StoreError(
          'unreachable',
          `the store ${url.name} is ${standby ? 'a standby' : 'read-only: default_transaction_read_only is on'}`,
        )
      }
      const session = { client, pooled }
      this.#sessions.set(client, session)
      return session
    } catch (error) {
      client.release(true)
      if (SETTING_REFUSED.has(sqlState(error))) {
        const why = `the store ${url.name} refused a setting in the options of STORE_URL (${printable((error as Error).message)}, ${sqlState(error)})`
        throw new StoreError('unusable', why, { cause: error })
      }
      throw error
    }
  }

  /**
   * Sends the greeting until it gets through: a role or database may have a `statement_timeout` of a millisecond, which the greeting itself replaces.
   * A new server process needs some milliseconds for its first statement, and less for the second one.
   */
  async #sendGreeting(client: pg.PoolClient): Promise<{ pooled: boolean; standby: boolean; readOnly: boolean }> {
    const { deadline } = this.#options
    // A pooler reports a process number of its own, because the server process can change.
    const { processID } = client as unknown as { processID: number | null }
    const greeting = { text: this.#greeting, values: [processID, ...this.#greetingValues], query_timeout: deadline }
    for (const until = performance.now() + deadline; ; ) {
      try {
        return (await client.query(greeting as pg.QueryConfig)).rows[0]
      } catch (error) {
        if (sqlState(error) !== QUERY_CANCELED || performance.now() >= until) throw error
      }
    }
  }

  #newPool({ host, port }: PostgresUrl['hosts'][number], way: ConnectionWay): pg.Pool {
    const { url, deadline, password } = this.#options
    // A server that does not answer leaves time for the others.
    const share = Math.floor(deadline / url.hosts.length)
    const config = {
      host,
      port,
      user: url.user,
      database: url.database,
      // A function, because without a password the client would read a password file of its own, and print a warning.
      password: () => password ?? url.password ?? '',
      ssl: way,
      sslnegotiation: way !== false && url.sslDirect ? ('direct' as const) : ('postgres' as const),
      enableChannelBinding: url.channelBinding,
      application_name: url.applicationName ?? 'poke-api-consumer',
      connectionTimeoutMillis: Math.min(url.connectTimeout ?? share, share),
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      types: { getTypeParser: parserOf },
    }
    class Client extends pg.Client {
      constructor() {
        super(config)
        // Otherwise the client takes it from PGOPTIONS, and poolers refuse options at the start of a connection.
        ;(this as unknown as { connectionParameters: { options: string } }).connectionParameters.options = ''
      }
    }
    const pool = new pg.Pool({
      Client,
      max: CONNECTIONS,
      idleTimeoutMillis: 30_000,
      // The wait for a new connection, and for one that is released.
      connectionTimeoutMillis: deadline,
    })
    // A broken connection fails its statement, and the next operation opens another connection. The events repeat that, and would end the
    // process without a listener.
    pool.on('error', () => {})
    pool.on('connect', (client) => client.on('error', () => {}))
    return pool
  }
}

/**
 * The first statement on a connection. Its settings last for the session; behind a pooler they last for this statement only.
 * They are not sent at the start of the connection, because poolers refuse that.
 */
function greeting(settings: number): string {
  const pooled = 'pg_backend_pid() IS DISTINCT FROM $1::integer'
  const set = Array.from({ length: settings }, (_, i) => `set_config($${2 * i + 2}, $${2 * i + 3}, ${pooled})`)
  const looks = [`${pooled} AS pooled`, 'pg_is_in_recovery() AS standby', `current_setting('transaction_read_only') = 'on' AS "readOnly"`]
  return `SELECT ${[...looks, ...set].join(', ')}`
}

/** 64-bit integers are read as numbers: offsets, sequences and counts stay below 2^53. */
const INT8 = 20
const parserOf = ((oid: number, format: 'text') =>
  oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser

/** The server's answer when `statement_timeout` is over. */
const QUERY_CANCELED = '57014'
/** An unknown setting, a value that it cannot have, one that cannot be changed once connected. */
const SETTING_REFUSED: ReadonlySet<string> = new Set(['42704', '22023', '55P02', '42602'])

/** Whether the other way (with TLS, or without) may work: the server has no TLS, or no entry for connections of this kind. */
function isAboutTheWay(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== '') return state === '28000' || /\bSSL\b/i.test((error as Error).message)
  const { code = '', message } = error as NodeJS.ErrnoException
  return /SSL|TLS|CERT|EPROTO/.test(code) || /SSL/.test(message)
}

/** Whether all connections of a pool are in use: the pool has no code for it, only this message. */
function isBusy(error: unknown): boolean {
  return (error as Error).message === 'timeout exceeded when trying to connect'
}
