/** All output of a process arrives before the process ends, however slowly it is read. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'

const BYTES = 1_000_000
const PROGRAM = `
  import { outputWritten } from ${JSON.stringify(new URL('../src/written-output.ts', import.meta.url).href)}
  process.stdout.on('error', () => {})
  process.stdout.write('x'.repeat(${BYTES}))
  process.send('said')
  await outputWritten()
  process.exit(7)`

function start() {
  return spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
}

test('a slow reader gets all output', async () => {
  const child = start()
  // By then the process has written more than a pipe holds, and none of it was read.
  await once(child, 'message')
  let read = 0
  child.stdout?.on('data', (bytes: Buffer) => {
    read += bytes.length
  })
  const [exitCode] = await once(child, 'close')
  assert.deepEqual([exitCode, read], [7, BYTES])
})

test('a reader that has closed the pipe does not delay the end', async () => {
  const child = start()
  await once(child, 'message')
  child.stdout?.destroy()
  const [exitCode] = await once(child, 'exit')
  assert.equal(exitCode, 7)
})
