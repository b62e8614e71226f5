/** The PostgreSQL store behind a real pgbouncer: it keeps every promise in session and transaction mode, and refuses statement mode with the reason. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { StoreError } from '@poke-api-pipeline/poke-api-consumer/errors'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import type { StoreOptions } from '@poke-api-pipeline/poke-api-consumer/store'
import { testDeadLetterStore } from '@poke-api-pipeline/poke-api-consumer/testing/dead-letter-store'
import { commitTo, partitionOf, type StoreHarness } from '@poke-api-pipeline/poke-api-consumer/testing/store-harness'
import { testStoreProcesses } from '@poke-api-pipeline/poke-api-consumer/testing/store-processes'
import { testTallyStore } from '@poke-api-pipeline/poke-api-consumer/testing/tally-store'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { type Pgbouncer, startPgbouncer, withoutPgbouncer } from '../pgbouncer.ts'
import { type PostgresServer, query, startPostgres } from '../postgres-server.ts'
import { serversOfFile } from '../servers.ts'

const skip = withoutPgbouncer()
const servers = serversOfFile('postgres-pooler')

describe('the PostgreSQL store behind pgbouncer', { skip }, () => {
  let postgres: PostgresServer
  before(async () => {
    postgres = await startPostgres(['max_connections=200'])
  })
  after(() => postgres.stop())

  for (const mode of ['session', 'transaction'] as const) {
    describe(`pool_mode=${mode}`, () => {
      let pooler: Pgbouncer
      before(async () => {
        const url = await postgres.createDatabase()
        // Fewer server processes than clients, so that a client gets another one each time.
        pooler = await startPgbouncer(url, { pool_mode: mode, default_pool_size: mode === 'transaction' ? 3 : 100, max_client_conn: 500 })
      })
      after(() => pooler.stop())

      const create = async (t: TestContext): Promise<StoreHarness> => {
        const url = await postgres.createDatabase()
        const pooled = pooler.urlOf(url)
        return {
          url: pooled,
          open: async (options: Partial<StoreOptions> = {}) => {
            const store = await openStore(pooled, { groupId: 'group', ...options })
            t.after(() => store.close())
            return store
          },
          query: (sql) => query(url, sql),
          age: async (ms) => {
            await query(url, `UPDATE last_sequences SET updated_at = updated_at - $1 * interval '1 ms'`, [ms])
            await query(url, `UPDATE dead_letters SET kept_at = kept_at - $1 * interval '1 ms'`, [ms])
          },
          now: () => Date.now(),
        }
      }
      // If it holds with another server process in each transaction, it holds with the same one, too.
      if (mode === 'transaction') {
        testTallyStore('PostgreSQL behind pgbouncer', create)
        testDeadLetterStore('PostgreSQL behind pgbouncer', create)
        testStoreProcesses('PostgreSQL behind pgbouncer', create)
      }

      test('its settings hold in every transaction, and none of them stays in the server process for the next client', async (t) => {
        const url = await postgres.createDatabase()
        const timeouts = ['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout']
        const names = ['synchronous_commit', ...timeouts, 'search_path', 'array_nulls', 'row_security', 'transaction_isolation']
        const database = new URL(url).pathname.slice(1)
        await query(url, `ALTER DATABASE ${database} SET synchronous_commit = off`)
        await query(url, `ALTER DATABASE ${database} SET array_nulls = off`)
        await query(url, `ALTER DATABASE ${database} SET default_transaction_isolation = serializable`)
        await query(url, 'CREATE SCHEMA counting')
        const pooled = new URL(pooler.urlOf(url))
        pooled.searchParams.set('options', '-c search_path=counting')
        const store = await openStore(pooled.href, { groupId: 'group' })
        t.after(() => store.close())
        await query(
          url,
          `CREATE TABLE public.seen (name text, setting text);
           CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN INSERT INTO public.seen SELECT name, setting FROM pg_settings WHERE name IN ('${names.join("','")}'); RETURN NULL; END $$;
           CREATE TRIGGER look AFTER INSERT ON counting.counts FOR EACH STATEMENT EXECUTE FUNCTION public.look()`,
        )
        await commitTo(store, partitionOf(0), await store.open(partitionOf(0)), 10, { counts: { bug: 1 } })
        const seen = await query(url, 'SELECT * FROM public.seen')
        assert.deepEqual(Object.fromEntries(seen.map(({ name, setting }) => [name, setting])), {
          synchronous_commit: 'on',
          lock_timeout: '2000',
          statement_timeout: '4000',
          idle_in_transaction_session_timeout: '5000',
          search_path: 'counting',
          array_nulls: 'on',
          row_security: 'off',
          transaction_isolation: 'read committed',
        })
        const left = await query(
          pooler.urlOf(url),
          `SELECT current_setting('statement_timeout') AS statement_timeout, current_setting('search_path') AS search_path, count(*)::integer AS prepared
           FROM pg_prepared_statements WHERE from_sql = false GROUP BY 1, 2
           UNION ALL SELECT current_setting('statement_timeout'), current_setting('search_path'), 0`,
        )
        assert.deepEqual(left, [{ statement_timeout: '0', search_path: '"$user", public', prepared: 0 }])
      })

      test('two consumers count every event once, while PostgreSQL ends their server processes, and verify agrees', async (t) => {
        const topic = `pooled-${mode}`
        const { brokers } = servers.kafka
        const url = await postgres.createDatabase()
        const feed = await EventFeed.create({ brokers, topic, partitions: 4 })
        const options = { brokers, topic, env: { STORE_URL: pooler.urlOf(url), KAFKA_GROUP_ID: topic } }
        const consumers = [
          await ConsumerProcess.start({ ...options, dir: join(servers.dir, `${topic}-one`) }),
          await ConsumerProcess.start({ ...options, dir: join(servers.dir, `${topic}-other`) }),
        ]
        t.after(async () => {
          for (const each of consumers) await each.end('SIGTERM')
          await feed.close()
        })
        for (let i = 0; i < 5; i++) {
          await feed.send(2000)
          await query(
            url,
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
          )
        }
        for (const each of consumers) await assertPublished(each, feed.counts)
        await assertVerified(consumers[0] as ConsumerProcess)
      })
    })
  }

  test('a pooler that gives the real number of the server process is detected by an unknown prepared statement', async (t) => {
    const url = await postgres.createDatabase()
    const pooler = await startPgbouncer(url, { pool_mode: 'transaction', default_pool_size: 1 })
    t.after(() => pooler.stop())
    const pooled = new URL(pooler.urlOf(url))
    const [row] = await query(pooled.href, 'SELECT pg_backend_pid() AS pid')
    const port = await startDisguise(t, Number(pooled.port), row?.pid as number)
    pooled.port = String(port)
    pooled.searchParams.set('sslmode', 'disable')
    const open = async () => {
      const store = await openStore(pooled.href, { groupId: 'group' })
      t.after(() => store.close())
      return store
    }
    // One server process for both, so each finds the statements that the other has prepared.
    const [one, other] = [await open(), await open()]
    let state = await commitTo(one, partitionOf(0), await one.open(partitionOf(0)), 10, { counts: { bug: 1 } })
    await commitTo(other, partitionOf(1), await other.open(partitionOf(1)), 10, { counts: { bug: 1 } })
    state = await commitTo(one, partitionOf(0), state, 20, { counts: { bug: 1 } })
    assert.deepEqual((await other.totals()).counts, new Map([['bug', 3]]))
  })

  test('pool_mode=statement is refused at once, with what to change', async (t) => {
    const url = await postgres.createDatabase()
    const pooler = await startPgbouncer(url, { pool_mode: 'statement' })
    t.after(() => pooler.stop())
    await assert.rejects(openStore(pooler.urlOf(url), { groupId: 'group' }), (error) => {
      assert.ok(error instanceof StoreError && error.kind === 'unsupported', String(error))
      assert.match(
        error.message,
        /is behind pgbouncer with pool_mode=statement, which allows no transactions: set pool_mode to transaction or session/,
      )
      return true
    })
  })

  for (const authType of ['plain', 'scram-sha-256'] as const) {
    test(`auth_type=${authType}: a login that the pooler refuses is not tried again`, async (t) => {
      const url = await postgres.createDatabase()
      const pooler = await startPgbouncer(url, { auth_type: authType })
      t.after(() => pooler.stop())
      const other = new URL(pooler.urlOf(url))
      other.password = 's3cret'
      await assert.rejects(openStore(other.href, { groupId: 'group' }), (error) => {
        assert.ok(error instanceof StoreError && error.kind === 'not-authorised', String(error))
        assert.match(error.message, /refused the login: .*STORE_PASSWORD_FILE \((password|SASL) authentication failed/)
        return true
      })
      const missing = new URL(pooler.urlOf(url))
      missing.pathname = '/no_such_database'
      await assert.rejects(openStore(missing.href, { groupId: 'group' }), /does not exist: create the database/)
    })
  }

  test('the options of the URL hold behind a pooler that ignores start-up parameters, too', async (t) => {
    const url = await postgres.createDatabase()
    const pooler = await startPgbouncer(url, { pool_mode: 'transaction', ignore_startup_parameters: 'options,statement_timeout' })
    t.after(() => pooler.stop())
    const missing = new URL(pooler.urlOf(url))
    missing.searchParams.set('options', '-c search_path=missing')
    await assert.rejects(openStore(missing.href, { groupId: 'group' }), /no schema of the search_path exists/)
  })
})

/**
 * A proxy in front of a pooler that gives every connection the number of the same server process.
 * @returns its port
 */
async function startDisguise(t: TestContext, port: number, pid: number): Promise<number> {
  const server = createServer((client) => {
    const pooler = connect(port, '127.0.0.1')
    for (const [each, to] of [
      [client, pooler],
      [pooler, client],
    ] as const) {
      each.on('error', () => to.destroy()).on('close', () => to.destroy())
    }
    client.pipe(pooler)
    let begin = Buffer.alloc(0)
    const look = (part: Buffer) => {
      begin = Buffer.concat([begin, part])
      // A message is a letter, a length and a body; K has the number and a secret.
      for (let at = 0; at + 5 <= begin.length && at + 1 + begin.readInt32BE(at + 1) <= begin.length; at += 1 + begin.readInt32BE(at + 1)) {
        if (begin.toString('latin1', at, at + 1) !== 'K') continue
        begin.writeInt32BE(pid, at + 5)
        pooler.off('data', look)
        client.write(begin)
        pooler.pipe(client)
        return
      }
      // Before that message the pooler asks for the password.
      if (begin.readInt32BE(1) + 1 === begin.length) {
        client.write(begin)
        begin = Buffer.alloc(0)
      }
    }
    pooler.on('data', look)
  })
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
