import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CountedResponse, PartitionSummary } from '../../src/application/ports.ts'
import { GroupProgress } from '../../src/infrastructure/group-progress.ts'
import { LiveState } from '../../src/infrastructure/web/live-state.ts'
import { countedResponse } from '../counted-response.ts'

const topicId = '2c0e5c7e-6a53-4a5e-8f0b-0d7a51b4f0aa'
const partition = (n: number) => ({ topic: 'poke-topic', topicId, partition: n })
const NO_REASONS: ReadonlyMap<string, number> = new Map()
const NO_TOTALS = { counts: new Map<string, number>(), revision: 0 }
const pikachu = { id: 25, name: 'pikachu', types: ['electric'] }

function summary(n: number, counted: number, more: Partial<PartitionSummary> = {}): PartitionSummary {
  return { ...partition(n), position: { offset: counted, leaderEpoch: 0 }, counted, duplicates: 0, deadLetters: 0, ...more }
}

const NOW = 1_700_000_000_000

function setup() {
  const clock = { now: 0 }
  const progress = new GroupProgress(() => clock.now)
  const state = new LiveState({ instance: 'me', progress, monotonic: () => clock.now, timeOfDay: () => NOW + clock.now })
  const looked = (partitions: PartitionSummary[], reasons: ReadonlyMap<string, number> = NO_REASONS) => {
    progress.readingStore()
    progress.storeRead(partitions)
    state.storeRead(reasons)
  }
  /** Tells both observers. */
  const opened = (n: number, offset = 0) => {
    for (const observer of [progress, state]) observer.opened(partition(n), { offset, leaderEpoch: 0 })
  }
  const counted = (n: number, part: Partial<CountedResponse>) => {
    for (const observer of [progress, state]) observer.counted(partition(n), countedResponse(part))
  }
  return {
    state,
    progress,
    clock,
    looked,
    opened,
    counted,
    snapshot: () => state.snapshot('build'),
    group: () => {
      const { group } = state.snapshot('build')
      assert.ok(group !== null)
      return group
    },
  }
}

test('figures of the group are unknown, and not zero, before the store was read', () => {
  const { state, progress, opened, counted, snapshot, looked } = setup()
  assert.equal(snapshot().group, null)
  opened(0)
  counted(0, { counted: 3, position: 3, highWatermark: 3, lastStableOffset: 3 })
  state.totals({ counts: new Map([['bug', 300]]), revision: 9 })
  state.storeFailed(new Error('disk full'))
  assert.equal(snapshot().group, null)
  assert.equal(state.partitions(), null)
  assert.deepEqual(snapshot().troubles, ['The store fails: disk full'])
  progress.readingStore()
  progress.storeRead([summary(0, 300)])
  assert.equal(snapshot().group, null, 'its dead letters are not counted yet')
  looked([summary(0, 300)])
  assert.equal(snapshot().group?.counted, 300)
})

test('types are ordered by count and then by name, and types beyond forty are summed up', () => {
  const { state, group, looked } = setup()
  const counts = new Map([
    ['water', 3],
    ['bug', 5],
    ['fire', 3],
  ] as const)
  looked([])
  state.totals({ counts, revision: 1 })
  assert.deepEqual(
    group().types.map(({ name }) => name),
    ['bug', 'fire', 'water'],
  )
  state.totals({ counts: new Map(Array.from({ length: 45 }, (_, i) => [`type-${i}`, i])), revision: 2 })
  assert.equal(group().types.length, 40)
  assert.equal(group().moreTypes, 5)
})

test('the forty most frequent of any number of types are shown', () => {
  const { state, group, looked } = setup()
  looked([])
  let revision = 0
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.nat({ max: 20 }), { maxKeys: 120, size: 'max' }), (types) => {
      const sorted = Object.entries(types).sort(([nameA, a], [nameB, b]) => b - a || (nameA < nameB ? -1 : 1))
      state.totals({ counts: new Map(Object.entries(types)), revision: ++revision })
      assert.deepEqual(
        group().types.map(({ name, count }) => [name, count]),
        sorted.slice(0, 40),
      )
      assert.equal(group().moreTypes, Math.max(0, sorted.length - 40))
    }),
  )
})

test('figures of the group include all partitions, whichever instance reads them', () => {
  const { state, progress, opened, counted, looked, group, snapshot } = setup()
  state.totals(NO_TOTALS)
  opened(0)
  looked([summary(0, 0), summary(1, 30, { duplicates: 2, deadLetters: 1, owner: 'another' })], new Map([['not-json', 1]]))
  assert.equal(group().lag, null, 'no leader was asked yet')
  const ends = { start: 0, end: 50, stableEnd: 45 }
  progress.logEnds(partition(0), 3, new Map([0, 1, 2].map((n) => [n, ends])))
  counted(0, { counted: 10, position: 10, lastStableOffset: 17, highWatermark: 20 })
  assert.deepEqual([group().counted, group().duplicates, group().deadLetters], [40, 2, 1])
  assert.deepEqual([group().lag, group().heldBack, snapshot().instance.partitions], [40 + 20 + 50, 15, 1])
  assert.deepEqual(
    group().partitions.map(({ owner, here, position, lag, heldBack }) => ({ owner, here, position, lag, heldBack })),
    [
      { owner: 'me', here: true, position: 10, lag: 40, heldBack: 5 },
      { owner: 'another', here: false, position: 30, lag: 20, heldBack: 5 },
      { owner: null, here: false, position: null, lag: 50, heldBack: 5 },
    ],
  )
  progress.logEnds(partition(0), 3, new Map([[1, null]]))
  assert.equal(group().lag, null, 'the sum of what is not known is not known')
})

test('a revoked partition is not shown as read by this instance', () => {
  const { state, progress, opened, looked, group, snapshot } = setup()
  state.totals(NO_TOTALS)
  opened(0)
  looked([summary(0, 1)])
  for (const observer of [progress, state]) observer.closed(partition(0))
  assert.equal(group().partitions[0]?.here, false)
  assert.equal(snapshot().instance.partitions, 0)
})

test('the rate is measured over ten seconds, and over a minute if few events were counted', () => {
  const { state, clock, looked, group } = setup()
  state.totals(NO_TOTALS)
  looked([summary(0, 1000)])
  assert.equal(group().rate, null)
  clock.now = 1000
  looked([summary(0, 1500)])
  assert.equal(group().rate, 500)
  for (let second = 2; second <= 60; second++) {
    clock.now = second * 1000
    looked([summary(0, 1500 + Math.floor((second - 1) / 10))])
  }
  assert.equal(group().rate, 5 / 59, 'five in the last 50 s are too few to be a rate of ten seconds; the burst before them is over')
  assert.equal(group().rateSeconds, 59)
})

test('the rate falls after a burst, and is unknown while the store cannot be read', () => {
  const { state, clock, looked, group } = setup()
  state.totals(NO_TOTALS)
  for (let second = 0; second <= 10; second++) {
    clock.now = second * 1000
    looked([summary(0, 26_221 * second)])
  }
  assert.deepEqual([group().rate, group().rateSeconds], [26_221, 10])
  for (let second = 11; second <= 21; second++) {
    clock.now = second * 1000
    looked([summary(0, 262_210)])
  }
  assert.deepEqual([group().rate, group().rateSeconds], [0, 11])
  const { version } = state
  clock.now = 26_001
  assert.ok(state.version > version, 'pages are told')
  assert.deepEqual([group().rate, group().rateSeconds], [null, null])
})

test('a store with lower counts than before does not result in a negative rate', () => {
  const { state, clock, looked, group } = setup()
  state.totals(NO_TOTALS)
  looked([summary(0, 1000)])
  clock.now = 1000
  looked([summary(0, 10)])
  assert.equal(group().rate, null, 'how fast, two looks from now on tell')
  clock.now = 2000
  looked([summary(0, 15)])
  assert.equal(group().rate, 5)
})

const bulbasaur = { id: 1, name: 'bulbasaur', types: ['grass', 'poison'] }

test('the latest events are listed newest first, numbered, and are at most twelve', () => {
  const { state, opened, counted, looked, group } = setup()
  state.totals(NO_TOTALS)
  opened(0)
  looked([summary(0, 0)])
  counted(0, { counted: 2, position: 2, recent: [bulbasaur, pikachu], newestTimestamp: 5, newestOrigin: 'bundled' })
  assert.deepEqual(group().recent, [
    { seen: 2, ...pikachu },
    { seen: 1, ...bulbasaur },
  ])
  for (let i = 0; i < 20; i++) counted(0, { counted: 1, position: 3 + i, recent: [pikachu] })
  assert.equal(group().recent.length, 12)
  assert.equal(group().recent[0]?.seen, 22)
})

test('names of Pokémon and types are escaped and cut, so that they cannot move or reverse other text', () => {
  const { state, opened, counted, looked, group } = setup()
  const foreign = '\u001b[2J\u202ered\n'
  state.totals({ ...NO_TOTALS, counts: new Map([[foreign, 1]]) })
  looked([])
  opened(0)
  counted(0, { counted: 1, position: 1, recent: [{ ...pikachu, name: foreign.repeat(100), types: [foreign] }] })
  const shown = String.raw`\u001b[2J\u202ered\u000a`
  assert.equal(group().types[0]?.name, shown)
  assert.deepEqual(group().recent[0]?.types, [shown])
  assert.equal([...(group().recent[0]?.name ?? '')].length, 100)
  assert.ok(group().recent[0]?.name.startsWith(shown))
})

test('events that other instances counted, or this one before its start, are shown from the store, each once', () => {
  const { state, opened, counted, looked, group } = setup()
  state.totals(NO_TOTALS)
  const newest = (at: number, countedAt: number, pokemon = pikachu) => ({
    newest: { event: { ...pokemon, at, origin: 'live' as const }, countedAt },
  })
  opened(0)
  looked([summary(0, 7, newest(50, 500, bulbasaur)), summary(1, 9, newest(70, 400))])
  assert.deepEqual(
    group().recent.map(({ name }) => name),
    ['bulbasaur', 'pikachu'],
  )
  assert.deepEqual(group().newest, { at: 50, origin: 'live' }, 'the one that was counted last')
  looked([summary(0, 7, newest(50, 500, bulbasaur)), summary(1, 10, newest(80, 600))])
  assert.deepEqual(
    group().recent.map(({ name }) => name),
    ['pikachu', 'bulbasaur', 'pikachu'],
  )
  assert.deepEqual(group().newest, { at: 80, origin: 'live' })
  counted(0, { counted: 1, position: 8, recent: [bulbasaur], newestTimestamp: 60, newestOrigin: 'bundled' })
  assert.deepEqual(group().newest, { at: 60, origin: 'bundled' })
  assert.equal(group().recent.length, 4)
  looked([summary(0, 8, newest(60, 700, bulbasaur)), summary(1, 10, newest(80, 600))])
  assert.equal(group().recent.length, 4, 'it is told already')
  assert.equal(group().newest?.at, 60)
})

test('the newest event is the one that was counted last in any partition', () => {
  const { state, opened, counted, looked, group } = setup()
  state.totals(NO_TOTALS)
  for (const n of [0, 1]) opened(n)
  looked([summary(0, 0), summary(1, 0)])
  assert.equal(group().newest, null)
  counted(1, { counted: 1, position: 1, recent: [pikachu], newestTimestamp: 2000, newestOrigin: 'live' })
  counted(0, { counted: 1, position: 1, recent: [pikachu], newestTimestamp: 1000, newestOrigin: 'bundled' })
  assert.deepEqual(group().newest, { at: 1000, origin: 'bundled' })
})

test('a timestamp in the future is shown as now, so that its record is not the newest for ever; an impossible one is not shown', () => {
  const { state, opened, counted, looked, group, clock } = setup()
  state.totals(NO_TOTALS)
  opened(0)
  looked([summary(0, 0)])
  counted(0, { counted: 1, position: 1, recent: [pikachu], newestTimestamp: 8.64e15, newestOrigin: 'live' })
  assert.deepEqual(group().newest, { at: NOW, origin: 'live' })
  clock.now = 10
  counted(0, { counted: 1, position: 2, recent: [pikachu], newestTimestamp: NOW + 5, newestOrigin: 'bundled' })
  assert.deepEqual(group().newest, { at: NOW + 5, origin: 'bundled' })
  counted(0, { counted: 1, position: 3, recent: [pikachu] })
  assert.deepEqual(group().newest, { at: null, origin: null })
})

test('partitions that no instance reads are shown until an instance reads them again', () => {
  const { state, snapshot } = setup()
  const before = state.version
  const view = { foreignMembers: 1, unread: [2], reasons: ['partition 2 of poke-topic is read by another program'], otherStore: false }
  state.groupSeen(view)
  assert.deepEqual(snapshot().unread, view.reasons)
  assert.equal(state.version, before + 1)
  state.groupSeen({ ...view, reasons: [...view.reasons] })
  assert.equal(state.version, before + 1)
  state.groupSeen({ foreignMembers: 0, unread: [], reasons: [], otherStore: false })
  assert.deepEqual([snapshot().unread, state.version], [[], before + 2])
})

test('a failure of the store is shown until the store answers', () => {
  const { state, snapshot, looked } = setup()
  state.storeFailed(new Error('disk full'))
  state.storeReadFailed(new Error('disk full'))
  assert.deepEqual(snapshot().troubles, ['The store fails: disk full', 'The store could not be read: disk full'])
  state.storeWorked()
  looked([])
  assert.deepEqual(snapshot().troubles, [])
})

test('the reason of a stopped partition is shown until it is opened again', () => {
  const { state, opened, looked, group } = setup()
  state.totals(NO_TOTALS)
  opened(0)
  looked([summary(0, 1)])
  state.stopped(partition(0), { kind: 'retention', message: 'Offsets 1 to 9 are gone.', from: 1, to: 10 })
  assert.equal(group().partitions[0]?.stopped, 'Offsets 1 to 9 are gone.')
  opened(0, 10)
  assert.equal(group().partitions[0]?.stopped, null)
})

test('the version rises only when something changes that the page shows', () => {
  const { state, clock, looked, opened, counted, progress } = setup()
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
  rises('a partition opened', () => opened(0))
  const ends = (end: number) => progress.logEnds(partition(0), 1, new Map([[0, { start: 0, end, stableEnd: end }]]))
  rises('lag known', () => ends(1))
  stands('the same ends', () => ends(1))
  rises('more lag', () => ends(2))
  rises('records counted', () => counted(0, { counted: 1, position: 1, highWatermark: 2, lastStableOffset: 2 }))
  stands('an empty response', () => counted(0, { position: 1, highWatermark: 2, lastStableOffset: 2 }))
  const reasons = new Map<string, number>()
  rises('a first look', () => looked([summary(0, 1)], reasons))
  clock.now = 1000
  rises('a rate known', () => looked([summary(0, 1)], reasons))
  clock.now = 2000
  stands('a look at rest', () => looked([summary(0, 1)], reasons))
  rises('duplicates', () => looked([summary(0, 1, { duplicates: 1 })], reasons))
  rises('another owner', () => looked([summary(0, 1, { duplicates: 1, owner: 'another' })], reasons))
  rises('a failed look', () => state.storeReadFailed(new Error('away')))
  stands('the same failure again', () => state.storeReadFailed(new Error('away')))
  rises('a look after a failure', () => looked([summary(0, 1, { duplicates: 1, owner: 'another' })], reasons))
  clock.now = 10_000
  rises('a leader that is silent', () => looked([summary(0, 1, { duplicates: 1, owner: 'another' })], reasons))
})
