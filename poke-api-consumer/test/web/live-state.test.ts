import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CountedResponse, PartitionSummary } from '../../src/application/ports.ts'
import { LiveState } from '../../src/infrastructure/web/live-state.ts'

const topicId = '2c0e5c7e-6a53-4a5e-8f0b-0d7a51b4f0aa'
const partition = (n: number) => ({ topic: 'poke-topic', topicId, partition: n })
const pikachu = { id: 25, name: 'pikachu', types: ['electric'] }

function summary(n: number, counted: number, more: Partial<PartitionSummary> = {}): PartitionSummary {
  return { ...partition(n), position: { offset: counted, leaderEpoch: 0 }, counted, duplicates: 0, deadLetters: 0, ...more }
}

function response(more: Partial<CountedResponse> = {}): CountedResponse {
  return {
    counted: 0,
    duplicates: 0,
    deadLetters: new Map(),
    recent: [],
    newestTimestamp: -1,
    newestOrigin: null,
    bytes: 0,
    position: 0,
    highWatermark: 0,
    lastStableOffset: 0,
    ...more,
  }
}

function setup() {
  const clock = { now: 0 }
  const state = new LiveState({ instance: 'me', monotonic: () => clock.now })
  return { state, clock, snapshot: () => state.snapshot('build') }
}

test('types come in the order of their counts, equal ones by name, and rare ones beyond forty are left out and counted', () => {
  const { state, snapshot } = setup()
  const counts = new Map([
    ['water', 3],
    ['bug', 5],
    ['fire', 3],
  ] as const)
  state.totals({ counts, revision: 1 })
  assert.deepEqual(
    snapshot().group.types.map(({ name }) => name),
    ['bug', 'fire', 'water'],
  )
  state.totals({ counts: new Map(Array.from({ length: 45 }, (_, i) => [`type-${i}`, i])), revision: 2 })
  assert.equal(snapshot().group.types.length, 40)
  assert.equal(snapshot().group.moreTypes, 5)
})

test('figures of the group are those of all partitions, lag is that of the partitions read here', () => {
  const { state, snapshot } = setup()
  state.opened(partition(0), { offset: 0, leaderEpoch: 0 })
  assert.equal(snapshot().instance.lag, null, 'nothing is known before the first response')
  state.counted(partition(0), response({ position: 10, lastStableOffset: 17, highWatermark: 20 }))
  state.looked([summary(0, 10), summary(1, 30, { duplicates: 2, deadLetters: 1, owner: 'another' })], new Map([['not-json', 1]]))
  const { group, instance } = snapshot()
  assert.deepEqual([group.counted, group.duplicates, group.deadLetters], [40, 2, 1])
  assert.deepEqual([instance.partitions, instance.lag], [1, 7])
  assert.deepEqual(
    group.partitions.map(({ owner, here, lag }) => ({ owner, here, lag })),
    [
      { owner: 'me', here: true, lag: 7 },
      { owner: 'another', here: false, lag: null },
    ],
  )
})

test('a partition that was taken away is not read here any more', () => {
  const { state, snapshot } = setup()
  state.opened(partition(0), { offset: 0, leaderEpoch: 0 })
  state.looked([summary(0, 1)], new Map())
  state.closed(partition(0))
  assert.equal(snapshot().group.partitions[0]?.here, false)
  assert.equal(snapshot().instance.partitions, 0)
})

test('the rate is that of ten seconds, and of a minute where little happened', () => {
  const { state, clock, snapshot } = setup()
  state.looked([summary(0, 1000)], new Map())
  assert.equal(snapshot().group.rate, null)
  clock.now = 1000
  state.looked([summary(0, 1500)], new Map())
  assert.equal(snapshot().group.rate, 500)
  for (let second = 2; second <= 60; second++) {
    clock.now = second * 1000
    state.looked([summary(0, 1500 + Math.floor((second - 1) / 10))], new Map())
  }
  assert.equal(snapshot().group.rate, 505 / 60, 'five in the last 50 s are too few to be a rate of ten seconds')
})

test('a store that counts less than before has no negative rate', () => {
  const { state, clock, snapshot } = setup()
  state.looked([summary(0, 1000)], new Map())
  clock.now = 1000
  state.looked([summary(0, 10)], new Map())
  assert.equal(snapshot().group.rate, 0)
})

test('what was counted last comes newest first, numbered, and at most twelve', () => {
  const { state, snapshot } = setup()
  const bulbasaur = { id: 1, name: 'bulbasaur', types: ['grass', 'poison'] }
  state.counted(partition(0), response({ recent: [bulbasaur, pikachu], newestTimestamp: 5, newestOrigin: 'bundled' }))
  assert.deepEqual(snapshot().instance.recent, [
    { seen: 2, ...pikachu },
    { seen: 1, ...bulbasaur },
  ])
  for (let i = 0; i < 20; i++) state.counted(partition(0), response({ recent: [pikachu] }))
  assert.equal(snapshot().instance.recent.length, 12)
  assert.equal(snapshot().instance.recent[0]?.seen, 22)
})

test('the newest event is the one with the latest timestamp, whichever partition it is in', () => {
  const { state, snapshot } = setup()
  state.counted(partition(0), response({ newestTimestamp: 2000, newestOrigin: 'live' }))
  state.counted(partition(1), response({ newestTimestamp: 1000, newestOrigin: 'bundled' }))
  assert.deepEqual(snapshot().instance.newest, { at: 2000, origin: 'live' })
})

test('troubles of the store are shown until it answers', () => {
  const { state, snapshot } = setup()
  state.storeFailed(new Error('disk full'))
  state.lookFailed(new Error('disk full'))
  assert.deepEqual(snapshot().group.troubles, ['The store fails: disk full', 'The store could not be read: disk full'])
  state.storeWorked()
  state.looked([], new Map())
  assert.deepEqual(snapshot().group.troubles, [])
})

test('a stopped partition says why until it is opened again', () => {
  const { state, snapshot } = setup()
  state.opened(partition(0), { offset: 0, leaderEpoch: 0 })
  state.looked([summary(0, 1)], new Map())
  state.stopped(partition(0), { kind: 'retention', message: 'Offsets 1 to 9 are gone.', from: 1, to: 10 })
  assert.equal(snapshot().group.partitions[0]?.stopped, 'Offsets 1 to 9 are gone.')
  state.opened(partition(0), { offset: 10, leaderEpoch: 0 })
  assert.equal(snapshot().group.partitions[0]?.stopped, null)
})

test('the version rises with what is shown and stands still with what is not', () => {
  const { state, clock } = setup()
  const rises = (what: string, change: () => void) => {
    const before = state.version
    change()
    assert.ok(state.version > before, what)
  }
  const stands = (what: string, change: () => void) => {
    const before = state.version
    change()
    assert.equal(state.version, before, what)
  }
  rises('new counts', () => state.totals({ counts: new Map(), revision: 1 }))
  stands('the same counts', () => state.totals({ counts: new Map(), revision: 1 }))
  rises('a partition opened', () => state.opened(partition(0), { offset: 0, leaderEpoch: 0 }))
  rises('lag known', () => state.counted(partition(0), response()))
  stands('an empty response', () => state.counted(partition(0), response()))
  const reasons = new Map<string, number>()
  rises('a first look', () => state.looked([summary(0, 1)], reasons))
  clock.now = 1000
  rises('a rate known', () => state.looked([summary(0, 1)], reasons))
  clock.now = 2000
  stands('a look at rest', () => state.looked([summary(0, 1)], reasons))
  rises('duplicates', () => state.looked([summary(0, 1, { duplicates: 1 })], reasons))
  rises('another owner', () => state.looked([summary(0, 1, { duplicates: 1, owner: 'another' })], reasons))
  rises('a failed look', () => state.lookFailed(new Error('away')))
  stands('the same failure again', () => state.lookFailed(new Error('away')))
  rises('a look after a failure', () => state.looked([summary(0, 1, { duplicates: 1, owner: 'another' })], reasons))
})
