/** Warming up runs what counting runs: a made-up record that was refused or skipped would warm something else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { warmUp } from '../../src/infrastructure/messaging/warm-up.ts'

test('every made-up record is counted as a real one is', async () => {
  assert.deepEqual(await warmUp(new AbortController().signal), { counted: 40_000, refused: 0 })
})

test('it ends where the service does', async () => {
  const { counted } = await warmUp(AbortSignal.abort())
  assert.equal(counted, 0)
})
