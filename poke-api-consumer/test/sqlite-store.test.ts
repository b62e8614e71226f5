/** The SQLite store: the contract suites of stores, and cases that only a file has: durability, damage, foreign files, full disks. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { StoreError, type StoreErrorKind } from '../src/errors.ts'
import { storeMigrations } from '../src/infrastructure/storage/migrations.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import { SqliteDatabase } from '../src/infrastructure/storage/sqlite-database.ts'
import { SqliteTallyStore } from '../src/infrastructure/storage/sqlite-tally-store.ts'
import type { StoreOptions } from '../src/infrastructure/storage/store.ts'
import { testDeadLetterStore } from './contract/dead-letter-store.ts'
import { assertBroughtUpToDate, rowsOfFirstVersion } from './contract/first-version.ts'
import { changeOf, commitTo, deadLetterOf, partitionOf, type StoreHarness } from './contract/store-harness.ts'
import { testStoreProcesses } from './contract/store-processes.ts'
import { testTallyStore } from './contract/tally-store.ts'

function newFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'sqlite-store-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function create(t: TestContext): Promise<StoreHarness> {
  const path = join(newFolder(t), 'data', 'type-counts.db')
  let time = 1_700_000_000_000
  return {
    url: `sqlite:${path}`,
    open: async (options: Partial<StoreOptions> = {}) => {
      const store = await openStore(`sqlite:${path}`, { groupId: 'group', now: () => time, ...options })
      t.after(() => store.close())
      return store
    },
    query: async (sql) => {
      const database = new DatabaseSync(path, { readOnly: true })
      try {
        return database
          .prepare(sql)
          .all()
          .map((row) => ({ ...row }))
      } finally {
        database.close()
      }
    },
    age: async (ms) => {
      time += ms
    },
    now: () => time,
  }
}

testTallyStore('SQLite', create)
testDeadLetterStore('SQLite', create)
testStoreProcesses('SQLite', create)

const P0 = partitionOf(0)

/** @returns the error's message */
async function rejects(opening: Promise<unknown>, kind: StoreErrorKind): Promise<string> {
  let message = ''
  await assert.rejects(opening, (error) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.kind, kind, error.message)
    message = error.message
    return true
  })
  return message
}

function open(path: string) {
  return openStore(`sqlite:${path}`, { groupId: 'group' })
}

describe('the SQLite file', () => {
  test('has a write-ahead log, synchronous=NORMAL, and waits at most a second for a lock', async (t) => {
    const store = await open(join(newFolder(t), 'store.db'))
    t.after(() => store.close())
    assert.ok(store instanceof SqliteTallyStore)
    const { journalMode, synchronous, busyTimeout } = store.durability()
    assert.equal(journalMode, 'wal')
    assert.equal(synchronous, 1, '1 is NORMAL')
    assert.ok(busyTimeout > 0 && busyTimeout <= 1000, `${busyTimeout} ms`)
  })

  test('is locked from the beginning of a transaction, which may read before it writes (rule S3)', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const [one, other] = [await SqliteDatabase.open(path), await SqliteDatabase.open(path)]
    t.after(() => [one, other].forEach((each) => void each.close()))
    const isBusy = (error: unknown) => error instanceof StoreError && error.kind === 'busy'
    one.transaction(() => assert.throws(() => other.transaction(() => {}), isBusy))
    other.transaction(() => {})
  })

  test('is read as one consistent snapshot, whatever is written meanwhile', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const [one, other] = [await SqliteDatabase.open(path), await SqliteDatabase.open(path)]
    t.after(() => [one, other].forEach((each) => void each.close()))
    const read = one.prepare('SELECT count(*) AS topics FROM topics')
    const write = other.prepare("INSERT INTO topics (group_id, topic_id, topic) VALUES ('group', 'id', 'poke-topic')")
    one.snapshot(() => {
      assert.equal(read.get()?.topics, 0)
      other.transaction(() => write.run())
      assert.equal(read.get()?.topics, 0)
    })
    assert.equal(read.get()?.topics, 1)
  })

  test('of a newer version is refused and left as it is', async (t) => {
    const path = join(newFolder(t), 'store.db')
    await (await open(path)).close()
    const database = new DatabaseSync(path)
    database.exec('PRAGMA user_version = 99')
    database.close()
    assert.match(await rejects(open(path), 'newer-schema'), /store\.db has schema version 99, and this program knows versions up to \d+: /)
    const after = new DatabaseSync(path)
    assert.equal(after.prepare('PRAGMA user_version').get()?.user_version, 99)
    after.close()
  })

  test('of the first version is migrated, and its dead letters are listed, published and counted', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const before = new DatabaseSync(path)
    before.exec(storeMigrations('sqlite')[0]?.sql ?? '')
    before.exec('PRAGMA user_version = 1')
    before.exec(rowsOfFirstVersion('0', (hex) => `X'${hex}'`))
    before.close()
    const store = await open(path)
    t.after(() => store.close())
    await assertBroughtUpToDate(store)
  })

  test('of another program is refused and left as it is', async (t) => {
    const path = join(newFolder(t), 'outbox.db')
    const database = new DatabaseSync(path)
    database.exec('CREATE TABLE outbox (id INTEGER); PRAGMA user_version = 1')
    database.close()
    const before = fs.readFileSync(path)
    assert.match(await rejects(open(path), 'unusable'), /outbox\.db is the database of another program/)
    assert.deepEqual(fs.readFileSync(path), before)
  })

  test('that is not a database is refused with this reason and left as it is', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const noise = Buffer.alloc(100_000, 'noise')
    fs.writeFileSync(path, noise)
    assert.match(await rejects(open(path), 'damaged'), /store\.db is not a SQLite database/)
    assert.deepEqual(fs.readFileSync(path), noise)
  })

  test('that was damaged is reported as damaged, at the latest when the damaged part is read', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const store = await open(path)
    const deadLetters = Array.from({ length: 500 }, (_, i) => deadLetterOf(i, { value: Buffer.alloc(500, 'x') }))
    await commitTo(store, P0, await store.open(P0), 500, { counts: { bug: 1 }, deadLetters })
    await store.close()
    const bytes = fs.readFileSync(path)
    fs.writeFileSync(path, bytes.fill(0xa5, 4096))
    const read = async () => {
      const damaged = await open(path)
      t.after(() => damaged.close())
      await damaged.open(P0)
    }
    assert.match(await rejects(read(), 'damaged'), /store\.db is damaged: put a backup in its place/)
  })

  test('in a folder that cannot be created, or that is a folder itself, is reported with its path', async (t) => {
    const folder = newFolder(t)
    fs.writeFileSync(join(folder, 'file'), '')
    assert.match(await rejects(open(join(folder, 'file', 'store.db')), 'unusable'), /file\/store\.db/)
    fs.mkdirSync(join(folder, 'store.db'))
    assert.match(await rejects(open(join(folder, 'store.db')), 'unusable'), /store\.db is a folder: add the name of a file to STORE_URL/)
    assert.match(await rejects(open(join(folder, 'a'.repeat(300))), 'unusable'), /cannot be opened: ENAMETOOLONG/)
  })

  test('that is not a file, or a circular link, is refused at once and left as it is', {
    skip: process.platform === 'win32',
  }, async (t) => {
    const folder = newFolder(t)
    fs.symlinkSync('circle.db', join(folder, 'circle.db'))
    assert.match(await rejects(open(join(folder, 'circle.db')), 'unusable'), /cannot be opened: ELOOP/)
    for (const device of ['/dev/null', '/dev/full'])
      assert.match(await rejects(open(device), 'unusable'), /is not a file: name another one in STORE_URL/)
  })

  test('whose files cannot be examined is a temporary error, and works again later', {
    skip: process.platform === 'win32',
  }, async (t) => {
    const folder = join(newFolder(t), 'folder')
    fs.mkdirSync(folder)
    const store = await open(join(folder, 'store.db'))
    t.after(() => store.close())
    fs.renameSync(folder, `${folder}-away`)
    fs.symlinkSync('folder', folder)
    assert.match(await rejects(store.totals(), 'io'), /the files of the store .*store\.db cannot be examined: ELOOP/)
    fs.rmSync(folder)
    fs.renameSync(`${folder}-away`, folder)
    assert.deepEqual(await store.partitions(), [])
  })

  test('and its side files are readable only for their user, also if they existed before', {
    skip: process.platform === 'win32',
  }, async (t) => {
    const path = join(newFolder(t), 'data', 'type-counts.db')
    const umask = process.umask(0)
    t.after(() => process.umask(umask))
    const modes = () => [dirname(path), path, `${path}-wal`, `${path}-shm`].map((each) => fs.statSync(each).mode & 0o777)
    const first = await openStore(`sqlite:${path}`, { groupId: 'group' })
    assert.deepEqual(modes(), [0o700, 0o600, 0o600, 0o600])
    for (const suffix of ['', '-wal', '-shm']) fs.chmodSync(path + suffix, 0o644)
    const second = await openStore(`sqlite:${path}`, { groupId: 'group' })
    assert.deepEqual(modes(), [0o700, 0o600, 0o600, 0o600])
    await first.close()
    await second.close()
  })

  test('that its user may not write is a permanent error that says so', { skip: process.platform === 'win32' }, async (t) => {
    const path = join(newFolder(t), 'type-counts.db')
    const store = await openStore(`sqlite:${path}`, { groupId: 'group' })
    await store.close()
    fs.chmodSync(path, 0o444)
    const open = `
      const { openStore } = await import(${JSON.stringify(new URL('../src/infrastructure/storage/open-store.ts', import.meta.url).href)})
      try { await openStore(${JSON.stringify(`sqlite:${path}`)}, { groupId: 'group' }).then((store) => store.reset()) } catch ({ code, message }) { console.log(code, message) }`
    // Root can write everywhere.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    if (user.uid !== undefined) {
      fs.chownSync(path, user.uid, user.gid)
      fs.chownSync(dirname(path), user.uid, user.gid)
    }
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', open], { ...user, encoding: 'utf8' })
    assert.match(
      stdout,
      /^store\/unusable the store .*type-counts\.db may not be written by this user: make the file and its folder writable/,
      stderr,
    )
  })

  test('that another process has locked is an error within a second, and works again afterwards', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const store = await open(path)
    t.after(() => store.close())
    const state = await store.open(P0)
    const frozen = new DatabaseSync(path)
    frozen.exec('BEGIN IMMEDIATE')
    assert.match(await rejects(store.commit(changeOf(P0, state, 10)), 'busy'), /locked by another process/)
    assert.ok(store instanceof SqliteTallyStore && store.durability().busyTimeout <= 1000, 'SQLite itself ends the wait')
    assert.deepEqual((await store.totals()).revision, 0, 'reading goes on meanwhile')
    frozen.exec('ROLLBACK')
    frozen.close()
    await commitTo(store, P0, state, 10)
  })

  test('on a full disk is a temporary error, commits nothing by half, and works again once space is free', async (t) => {
    const program = fileURLToPath(new URL('full-disk-process.ts', import.meta.url))
    const mounted = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$3" "$1"'
    const folder = newFolder(t)
    const child = spawnSync('unshare', ['-rm', 'sh', '-c', mounted, 'sh', folder, process.execPath, program], { encoding: 'utf8' })
    if (child.error !== undefined || /unshare|mount|permission|permitted/i.test(child.stderr)) {
      return t.skip(`no small disk can be made here: ${child.error?.message ?? child.stderr.trim()}`)
    }
    assert.equal(child.status, 0, child.stderr)
    const { kind, retriable, message, before, after, revisions } = JSON.parse(child.stdout)
    assert.deepEqual([kind, retriable], ['full', true])
    assert.match(message, /store\.db cannot grow because its disk is full: make room/)
    assert.deepEqual(after, before)
    assert.deepEqual(revisions, [1, 2])
  })
})

describe('SQLite files that were removed or replaced after opening', () => {
  for (const [what, change] of [
    ['the database was removed', (path: string) => fs.rmSync(path)],
    ['the database was replaced by a copy', replaceByCopy],
    ['the log was removed', (path: string) => fs.rmSync(`${path}-wal`)],
    ['the log was replaced by a copy', (path: string) => replaceByCopy(`${path}-wal`)],
    ['the index of the log was removed', (path: string) => fs.rmSync(`${path}-shm`)],
    ['log and index were removed', (path: string) => ['-wal', '-shm'].forEach((suffix) => void fs.rmSync(path + suffix))],
    ['the folder was moved away', (path: string) => fs.renameSync(dirname(path), `${dirname(path)}-moved`)],
  ] as const) {
    test(`${what}: every later call is refused, and nothing more is written`, async (t) => {
      const folder = join(newFolder(t), 'data')
      const path = join(folder, 'store.db')
      const store = await open(path)
      const state = await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
      change(path)
      const content = contentOf(folder)
      const refused = [
        await rejects(store.commit(changeOf(P0, state, 20, { counts: { bug: 1 } })), 'replaced'),
        await rejects(store.totals(), 'replaced'),
        await rejects(store.partitions(), 'replaced'),
        await rejects(store.snapshot(), 'replaced'),
        await rejects(store.deadLetters(null, 10), 'replaced'),
      ]
      for (const message of refused)
        assert.match(message, /store\.db(-wal|-shm)? was (removed|replaced by another file) while this process had the store/)
      await store.close()
      assert.deepEqual(contentOf(folder), content)
    })
  }

  test('a new store whose log was removed is still recognised', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const before = await open(path)
    for (const suffix of ['-wal', '-shm']) fs.rmSync(path + suffix)
    const after = await open(path)
    t.after(() => after.close())
    assert.equal(after.id, before.id)
  })

  test('a store whose log was removed while another process has it open is opened once that process has ended', async (t) => {
    const path = join(newFolder(t), 's.db')
    const program = `
      import { openStore } from ${JSON.stringify(new URL('../src/infrastructure/storage/open-store.ts', import.meta.url).href)}
      import { commitTo, partitionOf } from ${JSON.stringify(new URL('contract/store-harness.ts', import.meta.url).href)}
      const store = await openStore(${JSON.stringify(`sqlite:${path}`)}, { groupId: 'group' })
      await commitTo(store, partitionOf(0), await store.open(partitionOf(0)), 100)
      console.log('committed')
      setInterval(() => {}, 1000)`
    const other = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => other.kill('SIGKILL'))
    const ended = once(other, 'exit').then(() => assert.fail('the process ended before it had committed'))
    await Promise.race([once(other.stdout, 'data'), ended])
    ended.catch(() => {})
    fs.rmSync(`${path}-wal`)
    let isOpen = false
    const opening = open(path).then((store) => {
      isOpen = true
      return store
    })
    // By then it has tried several times.
    await sleep(200)
    assert.equal(isOpen, false)
    other.kill('SIGKILL')
    const store = await opening
    t.after(() => store.close())
    // What was only in the log is gone, with its positions: it is counted again.
    assert.deepEqual(await store.partitions(), [])
    await commitTo(store, P0, await store.open(P0), 100)
  })

  test('a store that is removed during a commit does not report the commit as done', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const database = await SqliteDatabase.open(path)
    const insert = database.prepare("INSERT INTO topics (group_id, topic_id, topic) VALUES ('group', 'id', 'poke-topic')")
    const committing = () =>
      database.transaction(() => {
        insert.run()
        fs.rmSync(`${path}-wal`)
      })
    assert.throws(committing, (error) => error instanceof StoreError && error.kind === 'replaced')
  })

  test('a symbolic link to the database keeps working, and a link to a new target is another store', async (t) => {
    const folder = newFolder(t)
    const [real, link] = [join(folder, 'real', 'store.db'), join(folder, 'store.db')]
    await (await open(real)).close()
    fs.symlinkSync(real, link)
    const store = await open(link)
    await commitTo(store, P0, await store.open(P0), 10)
    await (await open(join(folder, 'other', 'store.db'))).close()
    fs.rmSync(link)
    fs.symlinkSync(join(folder, 'other', 'store.db'), link)
    assert.match(await rejects(store.totals(), 'replaced'), /store\.db was replaced by another file/)
  })

  test('a backup, and another instance that starts and stops, do not look like a replacement', async (t) => {
    const path = join(newFolder(t), 'store.db')
    const store = await open(path)
    t.after(() => store.close())
    let state: Parameters<typeof commitTo>[2] = await store.open(P0)
    for (let to = 10; to <= 50; to += 10) {
      state = await commitTo(store, P0, state, to, { counts: { bug: 1 } })
      const backup = new DatabaseSync(path)
      backup.exec(`VACUUM INTO '${path}.${to}'; PRAGMA wal_checkpoint(TRUNCATE)`)
      backup.close()
      await (await open(path)).close()
    }
    assert.equal((await store.totals()).counts.get('bug'), 5)
  })
})

function replaceByCopy(path: string): void {
  fs.copyFileSync(path, `${path}.copy`)
  fs.renameSync(`${path}.copy`, path)
}

/** Hashes of the database and its log by name, without the log's index, which readers change, too. */
function contentOf(folder: string): Record<string, string> {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => !name.endsWith('-shm')) : []
  return Object.fromEntries(names.map((name) => [name, hash('sha256', fs.readFileSync(join(folder, name)))]))
}

test('a STORE_URL with an unknown scheme is refused without showing its password', async () => {
  for (const url of ['mysql://user:s3cret@localhost/x', 'postgres://user:s3cret@local host:port/x', 'sqlite:']) {
    assert.doesNotMatch(await rejects(openStore(url, { groupId: 'group' }), 'unusable'), /s3cret/)
  }
})

test('both databases have the same versions of the schema', () => {
  const versions = (dialect: 'sqlite' | 'postgres') => storeMigrations(dialect).map(({ version, name }) => [version, name])
  assert.deepEqual(versions('sqlite'), versions('postgres'))
  assert.ok(versions('sqlite').length > 0)
})

test('a few of very many dead letters are found, published and counted as fast as if there were only a few', async (t) => {
  const { open, url } = await create(t)
  const p0 = partitionOf(0)
  const stores = { few: await open({ groupId: 'few' }), many: await open({ groupId: 'many' }) }
  const database = new DatabaseSync(url.slice('sqlite:'.length))
  for (const [group, deadLetters, state] of [
    ['few', 100, 'kept'],
    ['many', 100_000, 'published'],
    ['many', 100_100, 'kept'],
  ] as const) {
    await stores[group].open(p0)
    database
      .prepare(`
        WITH RECURSIVE offsets (n) AS (SELECT count(*) FROM dead_letters WHERE partition_id = :id UNION ALL SELECT n + 1 FROM offsets WHERE n + 1 < :deadLetters)
        INSERT INTO dead_letters (partition_id, record_offset, leader_epoch, record_timestamp, reason, state, kept_at, headers)
        SELECT :id, n, 0, 0, 'not-json', :state, 0, x'00' FROM offsets`)
      .run({ id: database.prepare('SELECT id FROM partitions WHERE group_id = ?').get(group)?.id ?? null, deadLetters, state })
  }
  database.close()
  assert.deepEqual(await stores.many.deadLetterReasons(), new Map([['not-json', 100_100]]))
  const time = async (store: SqliteTallyStore) => {
    const before = performance.now()
    for (let i = 0; i < 20; i++) {
      assert.equal((await store.deadLetters(null, 16)).length, 16)
      assert.equal((await store.unpublished(p0, 16, 1 << 20)).length, 16)
      await store.deadLetterReasons()
    }
    return performance.now() - before
  }
  // Other processes use this machine, too, so the shortest of several times counts.
  const best = async (store: SqliteTallyStore) => Math.min(...(await Array.fromAsync({ length: 8 }, () => time(store))))
  const [ofFew, ofMany] = [await best(stores.few as SqliteTallyStore), await best(stores.many as SqliteTallyStore)]
  assert.ok(ofMany < 10 * ofFew, `${ofMany.toFixed(1)} ms of 100,100 dead letters, ${ofFew.toFixed(1)} ms of 100`)
})
