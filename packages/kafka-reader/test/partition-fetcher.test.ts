/** The states of a partition that is being fetched, their transitions, and the pauses before it is opened again. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FailureTracker, StateMachine, systemClock } from '@poke-api-pipeline/service-kit'
import type { FetchContext, FetchState } from '../src/partition-fetcher.ts'
import { FETCH_TRANSITIONS, PartitionFetcher } from '../src/partition-fetcher.ts'
import type { FetchPosition, PartitionHandler, ReadOutcome } from '../src/ports.ts'
import { NONE_ABORTED } from '../src/records/aborted-transactions.ts'
import { Decompressor } from '../src/records/decompress.ts'
import { IdentityHeaders } from '../src/records/identity-headers.ts'
import { BatchCursor } from '../src/records/record-batch.ts'
import { batchOf } from '../testing/batch-builder.ts'
import { FakeHandler } from '../testing/fake-handler.ts'

const STATES = Object.keys(FETCH_TRANSITIONS) as FetchState[]

function fetcherOf(handler: PartitionHandler, context: Partial<FetchContext> = {}): PartitionFetcher {
  return new PartitionFetcher(
    { topic: 'topic', topicId: '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d', partition: 3 },
    {
      cluster: { ends: async () => ({ start: 0, end: 0 }) },
      brokers: ['fake'],
      handler,
      failures: new FailureTracker({ failed: () => {}, over: () => {} }),
      newCursor: () => new BatchCursor(new Decompressor(1 << 20), new IdentityHeaders(null)),
      leaderOf: () => ({ node: 1, leaderEpoch: 1 }),
      isCompacted: () => false,
      confirmed: async () => {},
      onRequestable: () => {},
      requestRefresh: () => {},
      onFatal: (error) => {
        throw error
      },
      clock: systemClock(),
      signal: new AbortController().signal,
      ...context,
    },
  )
}

describe('the fetcher of a partition', () => {
  test('reaches every state, leaves every state but closed, and is closed from every other one', () => {
    const reached = new Set(Object.values(FETCH_TRANSITIONS).flat())
    assert.deepEqual(
      STATES.filter((state) => !reached.has(state)),
      [],
    )
    for (const state of STATES) assert.equal(FETCH_TRANSITIONS[state].includes('closed'), state !== 'closed')
  })

  test('refuses each transition that is not listed, with both states in the message', () => {
    for (const from of STATES)
      for (const to of STATES) {
        const machine = new StateMachine('partition 3', FETCH_TRANSITIONS, from)
        if (FETCH_TRANSITIONS[from].includes(to)) machine.enter(to)
        else assert.throws(() => machine.enter(to), { message: `partition 3 cannot go from "${from}" to "${to}"` })
      }
  })

  test('cannot be closed twice, and is requested only while it is fetching', async () => {
    const handler = new FakeHandler()
    const fetcher = fetcherOf(handler)
    assert.deepEqual([fetcher.state, fetcher.nextRequest()], ['opening', null])
    fetcher.start(Promise.resolve())
    await handler.until(() => handler.events.includes('open 3'))
    while (fetcher.state === 'opening') await new Promise(setImmediate)
    assert.equal(fetcher.nextRequest()?.partition, 3)
    await fetcher.close()
    assert.deepEqual([fetcher.state, fetcher.nextRequest(), handler.events.at(-1)], ['closed', null, 'close 3'])
    await assert.rejects(fetcher.close(), { message: 'partition 3 cannot go from "closed" to "closed"' })
  })
})

/** Answers the next request with one record, and processes it. */
async function processNext(fetcher: PartitionFetcher): Promise<void> {
  const request = fetcher.nextRequest()
  assert.ok(request, `nothing is asked for while the partition is ${fetcher.state}`)
  const bytes = batchOf({ baseOffset: request.offset, records: [{ value: 'a' }] })
  const part = {
    partition: request.partition,
    errorCode: 0,
    highWatermark: 1000,
    lastStableOffset: 1000,
    logStartOffset: 0,
    aborted: NONE_ABORTED,
    preferredReadReplica: -1,
    recordsStart: 0,
    recordsEnd: bytes.length,
    recordsMissing: 0,
    diverging: null,
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  await fetcher.onResponse(request, part, { errorCode: 0, throttleMs: 0, bytes, view, topics: new Map() })()
}

test('while a store opens a partition and takes no commits, the partition is opened again after pauses that grow until a commit succeeds', async () => {
  const pauses: number[] = []
  let position: FetchPosition = { offset: 7, leaderEpoch: -1 }
  const outcomes: ReadOutcome[] = []
  let opened = Promise.withResolvers<void>()
  const fetcher = fetcherOf(
    {
      open: async () => ({
        get position() {
          return position
        },
        state: 'active' as const,
        process: async ({ cursor }) => {
          while (cursor.next());
          return outcomes.shift() as ReadOutcome
        },
        dataLost: async () => 'stop' as const,
        close: async () => {},
      }),
    },
    {
      onRequestable: () => opened.resolve(),
      clock: {
        now: () => 0,
        random: () => 1 - Number.EPSILON,
        wait: async (ms) => {
          pauses.push(Math.round(ms))
        },
      },
    },
  )
  /** One response is processed; its commit fails, or not, before the second one, after which the partition is opened again. */
  const openAndProcessTwice = async (commit: () => void) => {
    await opened.promise
    opened = Promise.withResolvers()
    outcomes.push('next', 'reopen')
    await processNext(fetcher)
    commit()
    await processNext(fetcher)
    await opened.promise
  }
  fetcher.start(Promise.resolve())
  for (let failures = 0; failures < 9; failures++) await openAndProcessTwice(() => {})
  assert.deepEqual(pauses.splice(0), [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
  await openAndProcessTwice(() => {
    position = { offset: 8, leaderEpoch: -1 }
  })
  await openAndProcessTwice(() => {})
  assert.deepEqual(pauses, [50, 100])
  await fetcher.close()
})
