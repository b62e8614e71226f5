/** The progress of the group: the positions in the store and the commits of this instance since, compared with the ends of the logs. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { FetchPosition } from '@poke-api-pipeline/kafka-reader'
import fc from 'fast-check'
import type { CountedResponse, PartitionSummary } from '../src/application/ports.ts'
import { GroupProgress } from '../src/infrastructure/group-progress.ts'
import { countedResponse } from './counted-response.ts'

const TOPIC = { topic: 'poke-topic', topicId: 'a' }
const P0 = { ...TOPIC, partition: 0 }

function setUp() {
  const clock = { ms: 0 }
  const progress = new GroupProgress(() => clock.ms)
  return {
    clock,
    progress,
    read: (...rows: PartitionSummary[]) => {
      progress.readingStore()
      progress.storeRead(rows)
    },
    ends: (end: number, stableEnd = end, start = 0) => progress.logEnds(TOPIC, 1, new Map([[0, { start, end, stableEnd }]])),
    lag: () => {
      const lag = progress.lagOf(P0)
      return lag === null ? null : [lag.records, lag.heldBack]
    },
    counted: () => progress.partitions()?.map(({ counted }) => counted) ?? null,
  }
}

function row(counted: number, position: FetchPosition['offset'] = counted): PartitionSummary {
  return { ...P0, position: { offset: position, leaderEpoch: 0 }, counted, duplicates: 0, deadLetters: 0, owner: null }
}

function response(counted: number, position: number, end = position): CountedResponse {
  return countedResponse({ counted, position, highWatermark: end, lastStableOffset: end })
}

describe('lag', () => {
  test('is known after the store was read, as long as the leader answers', () => {
    const { progress, clock, read, ends, lag } = setUp()
    assert.equal(lag(), null)
    ends(9)
    assert.equal(lag(), null, 'the position of the group is not known')
    read(row(4))
    assert.deepEqual(lag(), [5, 0])
    clock.ms = 4000
    assert.deepEqual(lag(), [5, 0])
    clock.ms = 4001
    assert.equal(lag(), null, 'the leader is silent')
    ends(9)
    progress.logEnds(TOPIC, 1, new Map([[0, null]]))
    assert.equal(lag(), null, 'the leader refused')
  })

  test('of a partition that was never read is its whole log', () => {
    const { read, ends, lag } = setUp()
    ends(12, 12, 5)
    read()
    assert.deepEqual(lag(), [7, 0])
    read(row(0, 'log-start'))
    assert.deepEqual(lag(), [7, 0])
  })

  test('includes the records that open transactions hold back, which are never more than the lag', () => {
    const { read, ends, lag } = setUp()
    read(row(4))
    ends(12, 10)
    assert.deepEqual(lag(), [8, 2])
    ends(12, 3)
    assert.deepEqual(lag(), [8, 8])
    ends(3, 3)
    assert.deepEqual(lag(), [0, 0], 'a log that was truncated')
  })

  test('grows while nothing can be committed, and the store cannot be read', () => {
    const { progress, ends, lag } = setUp()
    progress.opened(P0, { offset: 3, leaderEpoch: 0 })
    ends(3)
    assert.deepEqual(lag(), [0, 0])
    progress.readingStore()
    ends(4003)
    assert.deepEqual(lag(), [4000, 0])
  })

  test('of a topic that was made again is not that of the one before', () => {
    const { progress, read, ends } = setUp()
    read(row(4))
    ends(9)
    progress.logEnds({ ...TOPIC, topicId: 'b' }, 1, new Map([[0, { start: 0, end: 2, stableEnd: 2 }]]))
    assert.deepEqual(
      progress.partitions()?.map(({ topicId, lag }) => [topicId, lag?.records ?? null]),
      [
        ['a', null],
        ['b', 2],
      ],
    )
    assert.equal(progress.totalLag()?.records, 2)
  })

  test('a response that waited for its commit does not undo what the leader told since', () => {
    const { progress, ends, lag } = setUp()
    progress.opened(P0, { offset: 0, leaderEpoch: 0 })
    ends(100)
    progress.counted(P0, response(10, 10, 10))
    assert.deepEqual(lag(), [90, 0])
    progress.counted(P0, response(10, 120, 130))
    assert.deepEqual(lag(), [10, 0])
  })
})

describe('the counts of a partition', () => {
  test('are those of the store and of every commit since, each once', () => {
    const { progress, counted, read } = setUp()
    progress.opened(P0, { offset: 100, leaderEpoch: 0 })
    progress.counted(P0, response(10, 110))
    assert.equal(counted(), null, 'what the group has counted before is not known')
    progress.readingStore()
    progress.counted(P0, response(10, 120))
    progress.counted(P0, response(10, 130))
    progress.storeRead([row(120, 120)])
    assert.deepEqual(counted(), [130])
    progress.counted(P0, response(1, 131))
    assert.deepEqual(counted(), [131])
    progress.readingStore()
    assert.deepEqual(counted(), [131])
    progress.storeRead([row(131)])
    assert.deepEqual(counted(), [131])
    progress.closed(P0)
    assert.deepEqual(counted(), [131])
    read(row(140))
    assert.deepEqual(counted(), [140])
  })

  test('are those of the store after a reset', () => {
    const { progress, counted, read } = setUp()
    progress.opened(P0, { offset: 0, leaderEpoch: 0 })
    read(row(0, 0))
    progress.counted(P0, response(50, 50))
    read({ ...row(0), position: { offset: 'log-start', leaderEpoch: -1 } })
    assert.deepEqual(counted(), [0])
    progress.opened(P0, { offset: 'log-start', leaderEpoch: -1 })
    progress.counted(P0, response(5, 5))
    assert.deepEqual(counted(), [5])
  })

  test('never fall and never exceed those of the store, in any order of readings, commits and changes of the owner', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ what: fc.constant('commit' as const), records: fc.integer({ min: 1, max: 9 }) }) },
      ...(['tell', 'look', 'snapshot', 'seen', 'fail', 'give away', 'take', 'reopen'] as const).map((what) => ({
        weight: 2,
        arbitrary: fc.record({ what: fc.constant(what), records: fc.constant(0) }),
      })),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { progress, counted } = setUp()
        const store = { position: 1000, counted: 1000 }
        const untold: CountedResponse[] = []
        let mine = false
        let looking = false
        let seen: PartitionSummary | null = null
        let shown = 0
        const tellAll = () => {
          for (const one of untold.splice(0)) progress.counted(P0, one)
        }
        const open = () => {
          progress.opened(P0, { offset: store.position, leaderEpoch: 0 })
          mine = true
        }
        for (const { what, records } of steps) {
          if (what === 'commit') {
            store.position += records + 1
            store.counted += records
            // This instance does not hear of the commits of another one.
            if (mine) untold.push(response(records, store.position))
          } else if (what === 'tell') {
            const one = untold.shift()
            if (one !== undefined) progress.counted(P0, one)
          } else if (what === 'look' && !looking) {
            progress.readingStore()
            looking = true
          } else if (what === 'snapshot' && looking) seen ??= row(store.counted, store.position)
          else if (what === 'seen' && seen !== null) {
            progress.storeRead([seen])
            looking = false
            seen = null
          } else if (what === 'fail' && looking) {
            looking = false
            seen = null
          } else if (what === 'give away' && mine) {
            tellAll()
            progress.closed(P0)
            mine = false
          } else if (what === 'take' && !mine) open()
          else if (what === 'reopen' && mine) {
            tellAll()
            open()
          }
          const now = counted()
          if (now === null) continue
          assert.equal(now.length, 1)
          assert.ok((now[0] as number) >= shown, `${what}: ${now[0]} after ${shown}`)
          assert.ok((now[0] as number) <= store.counted, `${what}: ${now[0]} of ${store.counted}`)
          shown = now[0] as number
        }
        tellAll()
        progress.readingStore()
        progress.storeRead([row(store.counted, store.position)])
        assert.deepEqual(counted(), [store.counted])
      }),
      { numRuns: 2000 },
    )
  })
})
