/** Only one command at a time works in a folder. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type FolderLock, lockFolder } from '../folder-lock.ts'

async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'lock-'))
  t.after(() => rm(made, { recursive: true }))
  return join(made, 'data')
}

function taken(folder: string, command: string): FolderLock {
  const result = lockFolder(folder, command)
  assert.ok('lock' in result)
  return result.lock
}

test('the second process learns who has the lock, and gets it after the first one', async (t) => {
  const dir = await folder(t)
  const first = taken(dir, 'make start')
  first.tell({ page: 'http://127.0.0.1:8080', processes: { kafka: 17 } })
  const second = lockFolder(dir, 'make sweep')
  assert.ok('holder' in second)
  const { since, ...rest } = second.holder ?? {}
  assert.deepEqual(rest, { command: 'make start', pid: process.pid, page: 'http://127.0.0.1:8080', processes: { kafka: 17 } })
  assert.match(since ?? '', /^\d{4}-\d\d-\d\dT/)
  first.release()
  await assert.rejects(readFile(join(dir, 'running.json')), { code: 'ENOENT' })
  taken(dir, 'make sweep').release()
})

test('a lock is released when its process ends, however it ends', async (t) => {
  const dir = await folder(t)
  const module = new URL('../folder-lock.ts', import.meta.url)
  const script = `const { lockFolder } = await import(${JSON.stringify(module.href)}); lockFolder(${JSON.stringify(dir)}, 'make start'); console.log('locked'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  assert.ok('holder' in lockFolder(dir, 'make sweep'))
  child.kill('SIGKILL')
  await once(child, 'exit')
  taken(dir, 'make sweep').release()
})
