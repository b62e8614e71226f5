/** Creating a folder that is missing, exists already, or cannot be created. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from '../src/make-folder.ts'

test('a folder is created with its parents, and an existing one is left as it is', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'make-folder-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const deep = join(dir, 'a', 'b', 'c')
  makeFolder(deep)
  assert.ok(statSync(deep).isDirectory())
  makeFolder(deep)
  makeFolder(`${deep}/`)
})

test('a file in the place of the folder is an error of the system', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'make-folder-'))
  t.after(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'file'), '')
  assert.throws(() => makeFolder(join(dir, 'file')), { code: 'EEXIST' })
  assert.throws(() => makeFolder(join(dir, 'file', 'a', 'b')), { code: /^(ENOTDIR|EEXIST)$/ })
})

test('a folder that cannot be created is an error, and not an endless loop', { skip: !existsSync('/proc/self') && 'no /proc' }, () => {
  assert.throws(() => makeFolder('/proc/no-such/folder'), { code: 'ENOENT' })
})
