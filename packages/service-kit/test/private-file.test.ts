/** Only their user can read databases and their side files, whatever the umask, and even if they existed before. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { makeFolder } from '../src/make-folder.ts'
import { keepPrivate } from '../src/private-file.ts'

const unix = { skip: process.platform === 'win32' && 'no modes here' }

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'private-file-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777
}

test('a new database and its side files are readable only for their user', unix, (t) => {
  const path = join(folder(t), 'a.db')
  const umask = process.umask(0)
  t.after(() => process.umask(umask))
  keepPrivate(path)
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE a (b); INSERT INTO a VALUES (1)')
  for (const suffix of ['', '-wal', '-shm']) assert.equal(modeOf(path + suffix), 0o600, suffix)
  database.close()
  const journalled = join(folder(t), 'b.db')
  keepPrivate(journalled)
  const other = new DatabaseSync(journalled)
  other.exec('CREATE TABLE a (b); BEGIN; INSERT INTO a VALUES (1)')
  assert.equal(modeOf(`${journalled}-journal`), 0o600)
  other.close()
})

test('an existing database and its side files lose the rights of all other users', unix, (t) => {
  const path = join(folder(t), 'a.db')
  for (const [suffix, mode] of [
    ['', 0o644],
    ['-wal', 0o666],
    ['-shm', 0o664],
    ['-journal', 0o604],
  ] as const) {
    writeFileSync(path + suffix, '')
    chmodSync(path + suffix, mode)
  }
  keepPrivate(path)
  for (const suffix of ['', '-wal', '-shm', '-journal']) assert.equal(modeOf(path + suffix), 0o600, suffix)
  chmodSync(path, 0o444)
  keepPrivate(path)
  assert.equal(modeOf(path), 0o400)
})

test('a path that is not a file, or cannot be created, is left to SQLite', unix, (t) => {
  const dir = folder(t)
  const before = modeOf(dir)
  keepPrivate(dir)
  assert.equal(modeOf(dir), before)
  keepPrivate(join(dir, 'no', 'folder'))
  symlinkSync(join(dir, 'behind.db'), join(dir, 'link.db'))
  keepPrivate(join(dir, 'link.db'))
  assert.equal(modeOf(join(dir, 'behind.db')), 0o600)
})

test('folders and their parents are created with the given mode', unix, (t) => {
  const dir = folder(t)
  makeFolder(join(dir, 'a', 'b'), 0o700)
  assert.deepEqual([modeOf(join(dir, 'a')), modeOf(join(dir, 'a', 'b'))], [0o700, 0o700])
})

test('a database in memory leaves no file', () => {
  keepPrivate(':memory:')
  assert.equal(existsSync(':memory:'), false)
})
