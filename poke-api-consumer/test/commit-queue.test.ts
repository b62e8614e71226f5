/** When responses are committed, and which of them in one transaction: one transaction at a time, in order (rule S2). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FailureTracker } from '@poke-api-pipeline/service-kit'
import { CommitQueue } from '../src/application/commit-queue.ts'
import type { PartitionChange } from '../src/application/ports.ts'
import type { DeadLetter } from '../src/entities/dead-letter.ts'
import { countedResponse } from './counted-response.ts'
import { FaultyStore } from './faulty-store.ts'
import { RecordingObserver } from './recording-observer.ts'

const PARTITION = { topic: 'poke-topic', topicId: '00000000-0000-4000-8000-000000000001', partition: 0 }
const LETTER: DeadLetter = {
  offset: 0,
  leaderEpoch: 0,
  timestamp: 0n,
  reason: 'not-json',
  key: null,
  value: null,
  headers: Buffer.of(0),
  cut: {},
}
/** The number of offsets of the log. Each response has one record. */
const LOG_END = 100

/** A queue whose clock moves only by `pass`, and whose store answers a commit only by `answer`. */
async function setUp() {
  const store = new FaultyStore()
  const observer = new RecordingObserver()
  const changes: PartitionChange[] = []
  const answers: (() => void)[] = []
  const commit = store.commit.bind(store)
  store.commit = async (change) => {
    changes.push(change)
    await new Promise<void>((resolve) => answers.push(resolve))
    return await commit(change)
  }
  const told: [boolean, number][] = []
  const seconds: number[] = []
  const storeFailures = new FailureTracker({ failed: (error) => observer.storeFailed(error), over: () => observer.storeWorked() })
  let time = 0
  let wake = () => {}
  const commits = new CommitQueue(PARTITION, await store.open(PARTITION), {
    store,
    observer: Object.assign(observer, { committed: (_: unknown, took: number) => seconds.push(took) }),
    storeFailures,
    crashPoint: () => {},
    onCommitted: (caughtUp, deadLetters) => told.push([caughtUp, deadLetters]),
    clock: {
      now: () => time,
      wait: (ms, signal) =>
        new Promise((resolve) => {
          if (signal.aborted) resolve()
          const until = time + ms
          wake = () => (time >= until ? resolve() : undefined)
          signal.addEventListener('abort', () => resolve(), { once: true })
        }),
      random: () => 0,
    },
  })
  let end = 0
  return {
    commits,
    store,
    observer,
    changes,
    told,
    seconds,
    storeFailures,
    /** Enqueues the next record as soon as there is capacity. @param last whether it is the last one in the log */
    async count(deadLetters: readonly DeadLetter[] = [], last = false) {
      const delta = {
        counts: new Map([['grass', 1]]),
        lastSequences: new Map([[`run-${end}`, end]]),
        deadLetters: [...deadLetters],
        counted: 1,
        duplicates: 2,
      }
      await commits.waitForCapacity({ delta })
      const to = { offset: ++end, leaderEpoch: 0 }
      const stable = last ? end : LOG_END
      const response = countedResponse({ counted: 1, position: end, highWatermark: stable, lastStableOffset: stable })
      commits.enqueue({ firstOffset: end - 1, to, delta, responses: [response] })
    },
    async answer() {
      answers.shift()?.()
      await nextTurn()
    },
    async pass(ms: number) {
      time += ms
      wake()
      await nextTurn()
    },
  }
}

function steps(changes: readonly PartitionChange[]): string[] {
  return changes.map(({ from, to }) => `${from.offset} to ${to.offset}`)
}

describe('the commit queue of a partition', () => {
  test('commits the first response at once, and later ones together, 25 ms after the last commit began', async () => {
    const { count, answer, pass, changes, told, seconds } = await setUp()
    await count()
    await pass(10)
    await answer()
    await count()
    await count()
    await pass(14)
    assert.deepEqual(steps(changes), ['log-start to 1'])
    await pass(1)
    assert.deepEqual(steps(changes), ['log-start to 1', '1 to 3'])
    await answer()
    const [first, second] = changes as [PartitionChange, PartitionChange]
    assert.equal(first.firstOffset, 0)
    assert.equal(second.firstOffset, 1)
    assert.deepEqual([...second.counts], [['grass', 2]])
    assert.deepEqual(
      [...second.lastSequences],
      [
        ['run-1', 1],
        ['run-2', 2],
      ],
    )
    assert.deepEqual([second.counted, second.duplicates, second.caughtUp], [2, 4, false])
    assert.deepEqual(seconds, [0.01, 0])
    assert.deepEqual(told, [
      [false, 0],
      [false, 0],
    ])
  })

  test('commits at once when a response reaches the end of the log', async () => {
    const { commits, count, answer, changes, told } = await setUp()
    await count()
    await answer()
    await count()
    await count([], true)
    await nextTurn()
    assert.deepEqual(steps(changes), ['log-start to 1', '1 to 3'])
    await answer()
    assert.equal(commits.isIdle, true)
    assert.deepEqual(commits.position, { offset: 3, leaderEpoch: 0 })
    assert.deepEqual(told.at(-1), [true, 0])
  })

  test('takes four responses while a commit is under way, and commits them together', async () => {
    const { count, answer, pass, changes, observer } = await setUp()
    for (let i = 0; i < 5; i++) await count()
    let fits = false
    const sixth = count().then(() => {
      fits = true
    })
    await pass(1000)
    assert.equal(fits, false, 'a store that does not answer holds up counting')
    assert.deepEqual(steps(changes), ['log-start to 1'])
    assert.deepEqual(observer.responses, [], 'observers hear of a response only when it is committed')
    await answer()
    assert.deepEqual(steps(changes), ['log-start to 1', '1 to 5'])
    assert.equal(fits, true, 'there is capacity as soon as the four are handed to the store')
    await answer()
    await sixth
    assert.deepEqual(
      observer.responses.map(({ position }) => position),
      [1, 2, 3, 4, 5],
    )
  })

  test('commits four queued responses without waiting for the interval', async () => {
    const { count, answer, changes } = await setUp()
    await count()
    await answer()
    for (let i = 0; i < 4; i++) await count()
    await nextTurn()
    assert.deepEqual(steps(changes), ['log-start to 1', '1 to 5'])
  })

  test('commits everything without waiting for the interval when a flush is requested', async () => {
    const { commits, count, answer, changes } = await setUp()
    await count()
    await count()
    let flushed = false
    const flushing = commits.flush().then(() => {
      flushed = true
    })
    await answer()
    assert.equal(flushed, false)
    assert.deepEqual(steps(changes), ['log-start to 1', '1 to 2'])
    await answer()
    await flushing
    assert.equal(commits.isIdle, true)
    await count()
    await nextTurn()
    assert.equal(changes.length, 2, 'a flush ends with the responses that were queued')
    void commits.flush()
    await nextTurn()
    assert.equal(changes.length, 3, 'it can be requested again')
    await answer()
    await count()
    await nextTurn()
    assert.equal(changes.length, 3, 'and ends again')
  })

  test('commits a response with dead letters alone, and at once', async () => {
    const { count, answer, changes, told } = await setUp()
    await count()
    await count()
    const deadLetter = count([LETTER])
    await answer()
    await answer()
    await deadLetter
    const next = count()
    await answer()
    await next
    await nextTurn()
    assert.deepEqual(steps(changes).slice(0, 3), ['log-start to 1', '1 to 2', '2 to 3'])
    assert.deepEqual(told, [
      [false, 0],
      [false, 0],
      [false, 1],
    ])
  })

  test('reports that the store works again when it takes a commit', async () => {
    const { commits, count, answer, observer, storeFailures } = await setUp()
    storeFailures.failed(commits.name, new Error('of an earlier opening'))
    await count()
    assert.deepEqual(observer.heard, ['store failed'])
    await answer()
    assert.deepEqual(observer.heard, ['store failed', 'store works again'])
  })

  for (const fault of ['refused', 'applied-but-lost'] as const) {
    test(`drops queued responses when a commit is ${fault}`, async () => {
      const { commits, store, count, answer, changes, observer } = await setUp()
      store.commitFaults.push(fault)
      await count()
      await count()
      await answer()
      await commits.flush()
      assert.equal(commits.isBroken, true)
      assert.deepEqual(commits.position.offset, 'log-start')
      assert.equal(changes.length, 1)
      assert.equal(observer.errors.length, 1)
    })
  }

  test('drops queued responses when a commit is fenced', async () => {
    const { commits, store, count, answer, changes, observer } = await setUp()
    await count()
    await count()
    await store.open(PARTITION)
    await answer()
    await commits.flush()
    assert.equal(commits.isBroken, true)
    assert.equal(changes.length, 1)
    assert.deepEqual(observer.heard, ['fenced 0'])
  })
  test('refuses a response after a commit has failed, because the partition must be opened again', async () => {
    const { commits, store, count, answer } = await setUp()
    store.commitFaults.push('refused')
    await count()
    await answer()
    await commits.flush()
    await assert.rejects(count(), /a commit queue cannot go from "broken" to "waiting"/)
  })
})
