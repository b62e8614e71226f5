/** The states of a partition that is being fetched, and their transitions. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FailureTracker, StateMachine, systemClock } from '@poke-api-pipeline/service-kit'
import type { FetchState } from '../src/partition-fetcher.ts'
import { FETCH_TRANSITIONS, PartitionFetcher } from '../src/partition-fetcher.ts'
import { Decompressor } from '../src/records/decompress.ts'
import { IdentityHeaders } from '../src/records/identity-headers.ts'
import { BatchCursor } from '../src/records/record-batch.ts'
import { FakeHandler } from '../testing/fake-handler.ts'

const STATES = Object.keys(FETCH_TRANSITIONS) as FetchState[]

function fetcherOf(handler: FakeHandler): PartitionFetcher {
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
    },
  )
}

describe('a partition that is being fetched', () => {
  test('reaches every state, leaves every state but closed, and is closed from every other one', () => {
    const reached = new Set(Object.values(FETCH_TRANSITIONS).flat())
    assert.deepEqual(
      STATES.filter((state) => !reached.has(state)),
      [],
    )
    for (const state of STATES) assert.equal(FETCH_TRANSITIONS[state].includes('closed'), state !== 'closed')
  })

  test('refuses each transition that is not drawn, with both states in the message', () => {
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
