/** When the counts are published: at once if everything is counted, at most every 50 ms while there is more, and the last state always. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { FailureTracker } from '@poke-api-pipeline/service-kit'
import { TypeCountsExport } from '../src/application/type-counts-export.ts'
import { MockFileHandler } from './mock-file-handler.ts'
import { RecordingObserver } from './recording-observer.ts'

/** An export whose clock and waits a test controls. @param allowed whether it may publish from the start */
function exporting(t: TestContext, allowed = true) {
  const clock = { ms: 0 }
  const store = { revision: 0, totals: async () => ({ counts: new Map([['bug', store.revision]]), revision: store.revision }) }
  const sink = new MockFileHandler()
  const observer = new RecordingObserver()
  const waits: { readonly ms: number; readonly over: () => void }[] = []
  const stop = new AbortController()
  const types = new TypeCountsExport({
    store,
    sink,
    storeFailures: new FailureTracker({ failed: () => {}, over: () => {} }),
    observer,
    onMoved: async () => {},
    crashPoint: () => {},
    clock: {
      now: () => clock.ms,
      wait: (ms, signal) =>
        new Promise((resolve) => {
          waits.push({ ms, over: resolve })
          signal.addEventListener('abort', () => resolve(), { once: true })
        }),
      random: () => 0,
    },
  })
  if (allowed) types.allow()
  const running = types.run(stop.signal)
  const end = async () => {
    stop.abort()
    await running
  }
  t.after(end)
  const committed = async (caughtUp: boolean) => {
    store.revision++
    types.changed(caughtUp)
    await settled()
  }
  const pass = async (ms: number) => {
    clock.ms += ms
    waits.at(-1)?.over()
    await settled()
  }
  return { types, store, sink, observer, waits, committed, pass, end, published: () => sink.content?.get('bug') }
}

/** Resolves when everything that needs no time has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('the export of the counts', () => {
  test('writes no file before it is known that the group counts into this store, not even at the end, but shows the counts', async (t) => {
    const { observer, committed, end, published } = exporting(t, false)
    await settled()
    await committed(true)
    await end()
    assert.equal(published(), undefined)
    assert.equal(observer.latest?.revision, 1)
  })

  test('publishes at once when that is known', async (t) => {
    const { types, published, waits } = exporting(t, false)
    await settled()
    assert.equal(published(), undefined)
    types.allow()
    await settled()
    assert.equal(published(), 0)
    types.allow()
    assert.equal(waits.at(-1)?.ms, 1000)
  })

  test('while there is more to count, publishes at most every 50 ms, whatever is committed in between', async (t) => {
    const { committed, pass, published, waits } = exporting(t)
    await settled()
    for (let i = 1; i <= 10; i++) await committed(false)
    assert.equal(published(), 0)
    assert.equal(waits.at(-1)?.ms, 50)
    await pass(49)
    assert.equal(published(), 0)
    await pass(1)
    assert.equal(published(), 10)
  })

  test('publishes at once when everything is counted, and the last state at the end', async (t) => {
    const { store, committed, end, published } = exporting(t)
    await settled()
    await committed(false)
    await committed(true)
    assert.equal(published(), 2)
    store.revision++
    await end()
    assert.equal(published(), 3)
  })

  test('writes the file again after it could not be read, although nothing was committed, so that its failure is over', async (t) => {
    const { sink, observer, pass } = exporting(t)
    await settled()
    sink.matchFailures.push(new Error('I/O error'))
    await pass(1000)
    await pass(1000)
    assert.deepEqual(observer.heard, ['file written', 'file failed', 'file written'])
  })
})
