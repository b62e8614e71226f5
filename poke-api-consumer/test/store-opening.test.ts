/** A store that cannot be opened when the service starts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreError } from '../src/errors.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'
import { StoreOpening } from '../src/infrastructure/storage/store-opening.ts'

const away = new StoreError('unreachable', 'the database is away')

/** An opening that fails with these errors first. It records each failure and each wait. */
function setUp(failures: Error[]) {
  const events: string[] = []
  const store = {
    partitions: async () => [],
    close: async () => void events.push('closed'),
  } as unknown as Store
  const stop = new AbortController()
  const opening = new StoreOpening({
    open: async () => {
      const failure = failures.shift()
      if (failure !== undefined) throw failure
      return store
    },
    failed: (error) => events.push(error.message),
    wait: async (ms) => void events.push(`${ms} ms`),
  })
  return { opening, store, events, stop }
}

test('opening is retried with growing pauses until it succeeds', async () => {
  const { opening, store, events, stop } = setUp(Array(6).fill(away))
  assert.equal(await opening.open(stop.signal), store)
  assert.deepEqual(
    events,
    [250, 500, 1000, 2000, 4000, 5000].flatMap((ms) => ['the database is away', `${ms} ms`]),
  )
})

test('reads fail with this reason before the store is open', async () => {
  const { opening, stop } = setUp([])
  await assert.rejects(opening.partitions(), /the store is not open yet/)
  await assert.rejects(opening.deadLetters(null, 1), StoreError)
  await assert.rejects(opening.deadLetterReasons(), StoreError)
  await opening.open(stop.signal)
  assert.deepEqual(await opening.partitions(), [])
})

test('a permanent error ends the retries', async () => {
  const hopeless = new StoreError('newer-schema', 'a newer version wrote it')
  const { opening, events, stop } = setUp([away, hopeless])
  await assert.rejects(opening.open(stop.signal), hopeless)
  assert.deepEqual(events, ['the database is away', '250 ms'])
})

test('a service that is asked to stop does not wait for the store', async () => {
  const { opening, stop } = setUp([away])
  stop.abort()
  assert.equal(await opening.open(stop.signal), null)
})

test('a store that was opened is closed', async () => {
  const { opening, events, stop } = setUp([])
  await opening.close()
  assert.deepEqual(events, [])
  await opening.open(stop.signal)
  await opening.close()
  assert.deepEqual(events, ['closed'])
})
