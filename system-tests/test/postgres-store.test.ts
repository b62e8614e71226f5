/** The PostgreSQL store on a real server: the contract of every store, and everything that only networks and servers do. */
import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { StoreError, type StoreErrorKind } from '@poke-api-pipeline/poke-api-consumer/errors'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import type { Store, StoreOptions } from '@poke-api-pipeline/poke-api-consumer/store'
import { testDeadLetterStore } from '@poke-api-pipeline/poke-api-consumer/testing/dead-letter-store'
import { assertBroughtUpToDate, rowsOfFirstVersion } from '@poke-api-pipeline/poke-api-consumer/testing/first-version'
import { storeMigrations } from '@poke-api-pipeline/poke-api-consumer/testing/migrations'
import {
  changeOf,
  commitTo,
  deadLetterOf,
  partitionOf,
  type StoreHarness,
} from '@poke-api-pipeline/poke-api-consumer/testing/store-harness'
import { testStoreProcesses } from '@poke-api-pipeline/poke-api-consumer/testing/store-processes'
import { testTallyStore } from '@poke-api-pipeline/poke-api-consumer/testing/tally-store'
import { type PostgresServer, query, startPostgres } from '../postgres-server.ts'
import { TcpProxy } from '../tcp-proxy.ts'

let server: PostgresServer
before(async () => {
  server = await startPostgres(['max_connections=200'])
})
after(() => server.stop())

async function create(t: TestContext): Promise<StoreHarness> {
  const url = await server.createDatabase()
  return {
    url,
    open: (options) => openFor(t, url, options),
    query: (sql) => query(url, sql),
    age: async (ms) => {
      await query(url, `UPDATE last_sequences SET updated_at = updated_at - $1 * interval '1 ms'`, [ms])
      await query(url, `UPDATE dead_letters SET kept_at = kept_at - $1 * interval '1 ms'`, [ms])
    },
    now: () => Date.now(),
  }
}

async function openFor(t: TestContext, url: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = await openStore(url, { groupId: 'group', ...options })
  t.after(() => store.close())
  return store
}

testTallyStore('PostgreSQL', create)
testDeadLetterStore('PostgreSQL', create)
testStoreProcesses('PostgreSQL', create)

const P0 = partitionOf(0)
/** The store's deadline where a test gives none, in ms. */
const DEFAULT_DEADLINE = 5000

/** @returns the error's message */
async function rejects(refused: Promise<unknown>, kind: StoreErrorKind): Promise<string> {
  let message = ''
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.kind, kind, error.message)
    message = error.message
    return true
  })
  return message
}

describe('the PostgreSQL schema', () => {
  test('of the first version is brought up to date, and its dead letters can be listed, published and replayed', async (t) => {
    const { url } = await create(t)
    await makeFirstVersion(url)
    await query(
      url,
      rowsOfFirstVersion('now()', (hex) => `'\\x${hex}'::bytea`),
    )
    await assertBroughtUpToDate(await openFor(t, url))
  })

  test('of a newer version is refused and not changed', async (t) => {
    const url = await server.createDatabase()
    await openFor(t, url)
    await query(url, 'INSERT INTO store_migrations VALUES (99, now())')
    const message = await rejects(openStore(url, { groupId: 'group' }), 'newer-schema')
    assert.match(message, /^the store postgres:\/\/[^@]+ has schema version 99, and this program knows versions up to \d+: /)
  })

  test('has a comment that the view type_counts is public', async (t) => {
    const url = await server.createDatabase()
    await openFor(t, url)
    const [row] = await query(url, `SELECT obj_description('type_counts'::regclass) AS comment`)
    assert.match(String(row?.comment), /^Public: /)
  })

  test('is made in the schema that the search_path of the URL names', async (t) => {
    const url = await server.createDatabase()
    await query(url, 'CREATE SCHEMA counting')
    const inSchema = new URL(url)
    inSchema.searchParams.set('options', '-c search_path=counting')
    const store = await openFor(t, inSchema.href)
    await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
    assert.deepEqual(await query(url, 'SELECT type FROM counting.type_counts'), [{ type: 'bug' }])
    inSchema.searchParams.set('options', '-c search_path=missing')
    assert.match(await rejects(openStore(inSchema.href, { groupId: 'group' }), 'unsupported'), /no schema of the search_path exists/)
  })

  test('of an older version is brought up to date in its own schema, though there is now a schema with the user’s name', async (t) => {
    const url = await server.createDatabase()
    await makeFirstVersion(url)
    const [store] = await query(url, 'SELECT id FROM store')
    await query(url, `CREATE SCHEMA ${new URL(url).username}`)
    assert.equal((await openFor(t, url)).id, store?.id)
  })

  test('that has lost its id is refused', async (t) => {
    const { url, open } = await create(t)
    await open()
    await query(url, 'DELETE FROM store')
    assert.match(await rejects(openStore(url, { groupId: 'group' }), 'damaged'), /has lost its id/)
  })

  test('that was copied without its sequences is refused with what to do, and goes on once it is done', async (t) => {
    const { url, open } = await create(t)
    const store = await open()
    const deadLetters = [deadLetterOf(1), deadLetterOf(2), deadLetterOf(3)]
    const state = await commitTo(store, P0, await store.open(P0), 10, { deadLetters })
    await query(url, 'ALTER TABLE dead_letters ALTER COLUMN id RESTART')
    const change = changeOf(P0, state, 20, { counts: { bug: 1 }, deadLetters: [deadLetterOf(11)] })
    assert.match(await rejects(store.commit(change), 'damaged'), /gives ids that exist already, .*: set the sequences/)
    await query(url, `SELECT setval(pg_get_serial_sequence('dead_letters', 'id'), (SELECT max(id) FROM dead_letters))`)
    assert.equal(await store.commit(change), 'committed')
    assert.deepEqual((await store.totals()).counts, new Map([['bug', 1]]))
  })

  test('in a database whose encoding lacks some names is refused at once, with what to do', async () => {
    const url = new URL(await server.createDatabase())
    await query(url.href, `CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
    url.pathname = '/latin1'
    const message = await rejects(openStore(url.href, { groupId: 'group' }), 'unsupported')
    assert.match(
      message,
      /its encoding is LATIN1, which lacks characters that names of types can have: make a database with ENCODING 'UTF8'/,
    )
  })

  test('without rights of the user is reported', async () => {
    const url = await server.createDatabase()
    await query(url, `DROP ROLE IF EXISTS guest`)
    await query(url, `CREATE ROLE guest LOGIN PASSWORD 'guest'`)
    const guest = new URL(url)
    guest.username = guest.password = 'guest'
    const message = await rejects(openStore(guest.href, { groupId: 'group' }), 'not-authorised')
    assert.match(message, /does not allow this user what the store needs: grant it \(permission denied for schema public, 42501\)/)
    await query(url, `DROP OWNED BY guest; DROP ROLE guest`)
  })
})

describe('the PostgreSQL session', () => {
  test('answers a commit only once it is on disk, whatever the database sets for everybody, and holds nothing for long (rule S3)', async (t) => {
    const url = await server.createDatabase()
    const settings = ['synchronous_commit', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout']
    await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = off`)
    const store = await openFor(t, url)
    await query(
      url,
      `CREATE TABLE seen (name text, setting text);
       CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN INSERT INTO seen SELECT name, setting FROM pg_settings WHERE name IN ('${settings.join("','")}'); RETURN NULL; END $$;
       CREATE TRIGGER look AFTER INSERT ON counts FOR EACH STATEMENT EXECUTE FUNCTION look()`,
    )
    await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
    assert.deepEqual(Object.fromEntries((await query(url, 'SELECT * FROM seen')).map(({ name, setting }) => [name, setting])), {
      synchronous_commit: 'on',
      lock_timeout: '2000',
      statement_timeout: '4000',
      idle_in_transaction_session_timeout: '5000',
    })
    const weak = new URL(url)
    weak.searchParams.set('options', '-c synchronous_commit=off')
    assert.match(await rejects(openStore(weak.href, { groupId: 'group' }), 'unsupported'), /synchronous_commit is off/)
  })

  test('reads and writes the same whatever the defaults of role and database are', async (t) => {
    const [plain, odd] = [await server.createDatabase(), await server.createDatabase()]
    // From the other database: here these defaults would already hold for the statements that set the next one.
    for (const setting of ODD_DEFAULTS) await query(plain, `ALTER DATABASE ${new URL(odd).pathname.slice(1)} SET ${setting}`)
    assert.deepEqual(await contentAfterAll(t, odd), await contentAfterAll(t, plain))
  })

  test('refuses to work where a policy hides rows, instead of taking them for missing', async (t) => {
    const url = await server.createDatabase()
    const store = await openFor(t, url)
    await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
    await query(url, `CREATE ROLE watched LOGIN PASSWORD 'watched'; GRANT ALL ON ALL TABLES IN SCHEMA public TO watched`)
    t.after(() => query(url, 'DROP OWNED BY watched; DROP ROLE watched'))
    const watched = new URL(url)
    watched.username = watched.password = 'watched'
    const guest = await openFor(t, watched.href)
    assert.deepEqual((await guest.totals()).counts, new Map([['bug', 1]]))
    await query(url, 'ALTER TABLE counts ENABLE ROW LEVEL SECURITY')
    assert.match(
      await rejects(guest.totals(), 'not-authorised'),
      /does not allow this user what the store needs: grant it \(query would be affected by row-level security policy for table "counts"/,
    )
  })

  test('sends keep-alives, so that a connection without its other end is noticed', async (t) => {
    const keepAlive = t.mock.method(Socket.prototype, 'setKeepAlive')
    await openFor(t, await server.createDatabase())
    assert.ok(keepAlive.mock.calls.some(({ arguments: given }) => given[0] === true && given[1] === 10_000))
  })

  test('a snapshot shows one state, even if there is a commit between its statements', async (t) => {
    const url = await server.createDatabase()
    const store = await openFor(t, url)
    await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
    const held = await holdLock(t, url, 'LOCK TABLE counts; UPDATE counts SET count = 2')
    const snapshot = store.snapshot()
    while ((await query(url, 'SELECT FROM pg_locks WHERE NOT granted')).length === 0);
    await held.commit()
    assert.deepEqual(
      (await snapshot).map(({ counts }) => counts),
      [new Map([['bug', 1]])],
    )
  })

  test('accepts the password apart from the URL, and prints neither', async (t) => {
    const url = new URL(await server.createDatabase())
    const { password } = url
    url.password = ''
    await openFor(t, url.href, { password })
    const message = await rejects(openStore(url.href, { groupId: 'group', password: 's3cret' }), 'not-authorised')
    assert.match(message, /refused the login/)
    assert.doesNotMatch(message, /s3cret/)
    url.password = 's3cret'
    assert.doesNotMatch(await rejects(openStore(url.href, { groupId: 'group' }), 'not-authorised'), /s3cret/)
  })

  test('a missing database and a server that does not answer have different errors', async () => {
    const url = new URL(await server.createDatabase())
    url.pathname = '/no_such_database'
    assert.match(await rejects(openStore(url.href, { groupId: 'group' }), 'unusable'), /does not exist: create the database/)
    const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
    const away = proxy.urlOf(url.href)
    await proxy.stop()
    assert.match(await rejects(openStore(away, { groupId: 'group' }), 'unreachable'), /cannot be reached \(.*ECONNREFUSED/)
  })

  test('works after its connections were lost: the next operation opens another one', async (t) => {
    const url = await server.createDatabase()
    const store = await openFor(t, url)
    const state = await store.open(P0)
    await terminateSessions(url)
    await commitUntilCommitted(store, state.token)
    assert.equal((await store.totals()).counts.get('bug'), 1)
  })

  for (const [what, code] of [
    ['deadlock', '40P01'],
    ['serialisation failure', '40001'],
  ] as const) {
    test(`a ${what} is tried again`, async (t) => {
      const url = await server.createDatabase()
      const store = await openFor(t, url)
      await query(
        url,
        `CREATE SEQUENCE tries;
       CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'once more' USING ERRCODE = '${code}'; END IF; RETURN NEW; END $$;
       CREATE TRIGGER fail_twice BEFORE INSERT ON counts FOR EACH ROW EXECUTE FUNCTION fail_twice()`,
      )
      await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
      assert.deepEqual(await store.totals(), { counts: new Map([['bug', 1]]), revision: 1 })
    })
  }

  test('replays and commits of one partition take their locks in the same order, so there is no deadlock', async (t) => {
    const url = await server.createDatabase()
    const [counting, replaying] = [await openFor(t, url), await openFor(t, url)]
    const deadLetters = Array.from({ length: 40 }, (_, offset) => deadLetterOf(offset))
    let state: Parameters<typeof commitTo>[2] = await counting.open(P0)
    state = await commitTo(counting, P0, state, 100, { counts: { bug: 1, fire: 1, water: 1 }, deadLetters })
    const kept = await replaying.deadLetters(null, 40)
    const replayed = Promise.all(kept.map(({ id }) => replaying.replay(id, new Map(Object.entries({ water: 1, fire: 1, bug: 1 })))))
    for (let i = 1; i <= 40; i++) state = await commitTo(counting, P0, state, 100 + i, { counts: { bug: 1, fire: 1, water: 1 } })
    assert.ok((await replayed).every((done) => done))
    // A session reports its deadlocks when it ends.
    await Promise.all([counting.close(), replaying.close()])
    const sessions = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'poke-api-consumer'`
    while ((await query(url, sessions)).length > 0);
    assert.deepEqual(await query(url, 'SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()'), [
      { deadlocks: 0 },
    ])
  })

  test('a lock that is held for too long is an error within the deadline, and nothing was changed', async (t) => {
    const url = await server.createDatabase()
    const store = await openFor(t, url, { deadline: 3000 })
    const state = await store.open(P0)
    const held = await holdLock(t, url)
    // After the deadline it would be `unreachable`.
    await rejects(store.commit(changeOf(P0, state, 10, { counts: { bug: 1 } })), 'busy')
    await held.release()
    await commitTo(store, P0, state, 10)
  })
})

describe('the network to PostgreSQL', () => {
  async function throughProxy(t: TestContext, options: Partial<StoreOptions> = {}) {
    const url = await server.createDatabase()
    const { hostname, port } = new URL(url)
    const proxy = await TcpProxy.start({ host: hostname, port: Number(port) })
    t.after(() => proxy.stop())
    const store = await openFor(t, proxy.urlOf(url), options)
    return { url, proxy, store }
  }

  test('that drops every packet: an error at the deadline, the connection is closed, and the next one works', async (t) => {
    const { proxy, store } = await throughProxy(t, { deadline: 700 })
    const state = await store.open(P0)
    proxy.swallow()
    for (const operation of [() => store.commit(changeOf(P0, state, 10)), () => store.open(P0), () => store.totals()]) {
      const began = performance.now()
      assert.match(
        await rejects(operation(), 'unreachable'),
        /did not answer within 700 ms: it is not known whether the last change took effect|cannot be reached/,
      )
      const took = performance.now() - began
      assert.ok(took < DEFAULT_DEADLINE, `${took} ms`)
    }
    proxy.pass()
    await commitTo(store, P0, await store.open(P0), 10)
  })

  test('that loses the answer to a commit: an error, and the next opening shows whether it was made', async (t) => {
    const { url, proxy, store } = await throughProxy(t, { deadline: 700 })
    const state = await store.open(P0)
    proxy.swallowAnswers()
    await rejects(store.commit(changeOf(P0, state, 10, { counts: { bug: 1 } })), 'unreachable')
    proxy.pass()
    const direct = await openFor(t, url)
    assert.deepEqual((await direct.open(P0)).position, { offset: 10, leaderEpoch: 0 })
    assert.equal(await store.commit(changeOf(P0, state, 10, { counts: { bug: 1 } })), 'fenced')
    assert.deepEqual((await store.totals()).counts, new Map([['bug', 1]]))
  })

  test('that breaks in the middle of a commit: an error at once, and the next connection works', async (t) => {
    const { proxy, store } = await throughProxy(t)
    const state = await store.open(P0)
    proxy.swallowAnswers()
    const commit = store.commit(changeOf(P0, state, 10))
    const refused = rejects(commit, 'unreachable')
    await proxy.untilAnswerSwallowed()
    proxy.cut()
    await refused
    proxy.pass()
    const again = await store.open(P0)
    assert.equal(again.position.offset, 10)
    await commitTo(store, P0, again, 20)
  })
})

async function makeFirstVersion(url: string): Promise<void> {
  await query(url, 'CREATE TABLE store_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)')
  await query(url, storeMigrations('postgres')[0]?.sql ?? '')
  await query(url, 'INSERT INTO store_migrations VALUES (1, now())')
}

/** Defaults that administrators set for all programs, or that older programs needed. */
const ODD_DEFAULTS = [
  'array_nulls = off',
  'standard_conforming_strings = off',
  'bytea_output = escape',
  "DateStyle = 'German, DMY'",
  "IntervalStyle = 'sql_standard'",
  "TimeZone = 'Asia/Kathmandu'",
  "client_encoding = 'LATIN1'",
  'extra_float_digits = -15',
  "default_transaction_isolation = 'serializable'",
  'transform_null_equals = on',
  // The first statement of a connection, which sets these to what the store needs, runs under them itself.
  "statement_timeout = '5s'",
  "lock_timeout = '1ms'",
  "idle_in_transaction_session_timeout = '1ms'",
]

/** Uses every operation of a store. @returns what each of them returned, without times */
async function contentAfterAll(t: TestContext, url: string): Promise<unknown> {
  const store = await openFor(t, url)
  const deadLetters = [
    deadLetterOf(3, { value: Buffer.from([0, 255, 92, 39, 128]), key: Buffer.from('NULL'), timestamp: 9_223_372_036_854_775_807n }),
    deadLetterOf(4, { value: Buffer.from('abc'), cut: { value: { bytes: 3_000_000, sha256: 'ab'.repeat(32) } } }),
    deadLetterOf(5),
  ]
  const counts = { bug: 1, みず: 2, '🤡': 3, "o'\\x": 4, NULL: 5 }
  const newest = { at: 1, origin: 'live', id: 25, name: 'ピカ', types: ['みず'] } as const
  await commitTo(store, P0, await store.open(P0), 10, { counts, deadLetters, newest, lastSequences: { 'urn:é\\': 7 } })
  const { position, lastSequences } = await store.open(P0)
  const kept = await store.deadLetters(null, 10)
  assert.ok(await store.replay(kept[0]?.id as number, new Map([['bug', 1]])))
  const [partition] = await store.partitions()
  const committedAt = partition?.newest?.countedAt ?? 0
  assert.ok(Math.abs(committedAt - Date.now()) < 60_000, `committed at ${committedAt}`)
  const snapshot = (await store.snapshot()).map(({ newest: _, ...rest }) => rest)
  const purged = await store.purge(['kept'], Date.now() + 60_000)
  return { position, lastSequences, deadLetters: kept, newest: partition?.newest?.event, totals: await store.totals(), snapshot, purged }
}

/** One commit from the log's start with the newest token; it is tried again after errors of lost connections. */
async function commitUntilCommitted(store: Store, token: number): Promise<void> {
  const position = { offset: 'log-start', leaderEpoch: -1 } as const
  for (;;) {
    try {
      assert.equal(await store.commit(changeOf(P0, { token, position }, 10, { counts: { bug: 1 } })), 'committed')
      return
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === 'unreachable')) throw error
    }
  }
}

async function terminateSessions(url: string): Promise<void> {
  await query(
    url,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'poke-api-consumer'`,
  )
}

/** Locks the rows of all partitions, or the rows that a statement changes, as a frozen client would. */
async function holdLock(t: TestContext, url: string, statement = 'SELECT * FROM partitions FOR UPDATE') {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  let held = true
  const release = async () => {
    if (held) await client.end()
    held = false
  }
  t.after(release)
  await client.query(`BEGIN; ${statement}`)
  const commit = async () => {
    await client.query('COMMIT')
  }
  return { release, commit }
}
