/** The outbox in SQLite: the port's contract, and what only a file can do wrong. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { pragma } from '@poke-api-pipeline/service-kit'
import { OutboxError, type OutboxErrorKind } from '../src/errors.ts'
import { outboxError } from '../src/infrastructure/outbox/outbox-failure.ts'
import { SqliteOutbox } from '../src/infrastructure/outbox/sqlite-outbox.ts'
import { ResponseCache } from '../src/infrastructure/poke-api/response-cache.ts'
import { testOutbox } from './contract/outbox.ts'
import { capture } from './pokemon.ts'

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'outbox-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}

function opened(t: TestContext, dir: string): SqliteOutbox {
  const outbox = new SqliteOutbox({ dir })
  t.after(() => outbox.close())
  return outbox
}

testOutbox('SqliteOutbox', (t) => {
  let dir = folder(t)
  return {
    open: () => opened(t, dir),
    // What a process leaves when it dies are its files, as they are at that moment.
    die() {
      const left = folder(t)
      cpSync(dir, left, { recursive: true })
      dir = left
    },
  }
})

/** Events that are in it, then the outbox is closed. */
function fill(dir: string, events: number): void {
  const outbox = new SqliteOutbox({ dir })
  outbox.commit({ captures: Array.from({ length: events }, (_, i) => capture(i + 1)), acknowledged: 0, partitionOf: null })
  outbox.close()
}

function failure(kind: OutboxErrorKind, ...words: (string | RegExp)[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof OutboxError, `not an OutboxError: ${error}`)
    assert.equal(error.kind, kind, error.message)
    for (const word of words) assert.match(error.message, new RegExp(word))
    return true
  }
}

test('every commit is synced before it returns: a write-ahead log with synchronous=FULL', (t) => {
  const exec = t.mock.method(DatabaseSync.prototype, 'exec')
  opened(t, folder(t))
  const database = exec.mock.calls[0]?.this as DatabaseSync
  const kept = ['journal_mode', 'synchronous', 'locking_mode'].map((name) => pragma(database, name))
  assert.deepEqual(kept, ['wal', 2, 'exclusive'], 'synchronous 2 is FULL')
})

test('only their user can read outbox, cache and the files that SQLite adds to them', { skip: process.platform === 'win32' }, (t) => {
  const dir = join(folder(t), 'data', 'producer')
  const umask = process.umask(0)
  t.after(() => process.umask(umask))
  opened(t, dir)
  const cache = new ResponseCache({ file: join(dir, 'poke-api-cache.db'), now: Date.now, failed: assert.fail })
  t.after(() => cache.close())
  const modes = readdirSync(dir).map((name) => [name, statSync(join(dir, name)).mode & 0o777])
  assert.deepEqual(new Set(modes.map(([, mode]) => mode)), new Set([0o600]), String(modes))
  assert.ok(modes.length >= 3, String(modes))
  assert.equal(statSync(dir).mode & 0o777, 0o700)
})

test('a missing folder is created', (t) => {
  const dir = join(folder(t), 'a', 'b')
  assert.equal(opened(t, dir).depth, 0)
})

test('a second process gets an error that says why, and a killed process leaves no lock behind', async (t) => {
  const dir = folder(t)
  const script = `
    import { SqliteOutbox } from ${JSON.stringify(new URL('../src/infrastructure/outbox/sqlite-outbox.ts', import.meta.url).href)}
    const outbox = new SqliteOutbox({ dir: ${JSON.stringify(dir)} })
    outbox.commit({ captures: [${JSON.stringify(capture(25))}], acknowledged: 0, partitionOf: null })
    console.log(outbox.source)
    setInterval(() => {}, 1000)`
  const other = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => other.kill('SIGKILL'))
  const [source] = await once(other.stdout, 'data')
  assert.throws(() => new SqliteOutbox({ dir }), failure('locked', dir, 'in use by another process'))
  other.kill('SIGKILL')
  await once(other, 'exit')
  const outbox = opened(t, dir)
  assert.deepEqual(
    outbox.oldest(10).map((event) => event.source),
    [String(source).trim()],
  )
  assert.notEqual(outbox.source, String(source).trim())
})

test('an outbox of a newer version is refused and left as it is', (t) => {
  const dir = folder(t)
  fill(dir, 1)
  const db = new DatabaseSync(join(dir, 'outbox.db'))
  db.exec('PRAGMA user_version = 99')
  db.close()
  const before = readFileSync(join(dir, 'outbox.db'))
  assert.throws(() => new SqliteOutbox({ dir }), failure('newer-schema', dir, 'schema 99'))
  assert.deepEqual(readFileSync(join(dir, 'outbox.db')), before)
})

test('a file that is not a database is reported as damaged', (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'outbox.db'), 'not a database at all. '.repeat(1000))
  assert.throws(() => new SqliteOutbox({ dir }), failure('damaged', dir))
})

test('a database with overwritten pages is reported as damaged, and none of it is sent', (t) => {
  const dir = folder(t)
  fill(dir, 1000)
  const file = join(dir, 'outbox.db')
  const middle = Math.floor(statSync(file).size / 8192) * 4096
  const fd = openSync(file, 'r+')
  writeSync(fd, Buffer.alloc(4096, 0xa5), 0, 4096, middle)
  closeSync(fd)
  assert.throws(() => new SqliteOutbox({ dir }), failure('damaged', dir))
})

test('a truncated database is reported as damaged', (t) => {
  const dir = folder(t)
  fill(dir, 1000)
  const file = join(dir, 'outbox.db')
  truncateSync(file, Math.floor(statSync(file).size / 2))
  assert.throws(() => new SqliteOutbox({ dir }), failure('damaged', dir))
})

test('an error names a folder that cannot be created', (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'file'), '')
  const below = join(dir, 'file', 'outbox')
  assert.throws(() => new SqliteOutbox({ dir: below }), failure('unusable', below))
})

test('a full or failing disk is retried, a damaged file is not', () => {
  const sqlite = (errcode: number) => Object.assign(new Error('from SQLite'), { code: 'ERR_SQLITE_ERROR', errcode })
  const [SQLITE_IOERR, SQLITE_IOERR_FSYNC, SQLITE_FULL, SQLITE_CORRUPT] = [10, 1034, 13, 11]
  const kinds = [SQLITE_FULL, SQLITE_IOERR, SQLITE_IOERR_FSYNC, SQLITE_CORRUPT].map((code) => {
    const error = outboxError(sqlite(code), 'data')
    assert.ok(error instanceof OutboxError)
    return [error.kind, error.retriable]
  })
  assert.deepEqual(kinds, [
    ['full', true],
    ['io', true],
    ['io', true],
    ['damaged', false],
  ])
})

test('a copied outbox gives its events again under their old identity, and new ones under a new one (rule P1)', (t) => {
  const dir = folder(t)
  const copy = folder(t)
  fill(dir, 2)
  cpSync(dir, copy, { recursive: true })
  const [one, other] = [opened(t, dir), opened(t, copy)]
  assert.deepEqual(one.oldest(10), other.oldest(10))
  for (const outbox of [one, other]) outbox.commit({ captures: [capture(9)], acknowledged: 0, partitionOf: null })
  const identities = [one, other].map((outbox) => {
    const event = outbox.oldest(10).at(-1)
    return `${event?.source} ${event?.sequence}`
  })
  assert.equal(new Set(identities).size, 2, `two captures share the identity ${identities[0]}`)
})
