/** What every store must do with positions and counts. SQLite and PostgreSQL run this suite. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { DataLoss } from '@poke-api-pipeline/kafka-reader'
import type { Store } from '../../src/infrastructure/storage/store.ts'
import { at, type CreateStore, changeOf, commitTo, deadLetterOf, OTHER_TOPIC_ID, partitionOf } from './store-harness.ts'

const P0 = partitionOf(0)
const P1 = partitionOf(1)
const README = new URL('../../../README.md', import.meta.url)

export function testTallyStore(name: string, create: CreateStore): void {
  describe(`${name}: positions and counts`, () => {
    test('a partition that was never read begins at the start of its log', async (t) => {
      const store = await (await create(t)).open()
      const { position, lastSequences, replacedTopicId, token } = await store.open(P0)
      assert.deepEqual(position, { offset: 'log-start', leaderEpoch: -1 })
      assert.equal(lastSequences.size, 0)
      assert.equal(replacedTopicId, null)
      assert.ok(Number.isSafeInteger(token))
      assert.deepEqual(await store.totals(), { counts: new Map(), revision: 0 })
    })

    test('a commit moves position, epoch, counts, last sequences and dead letters together', async (t) => {
      const { open } = await create(t)
      const store = await open({ owner: 'first' })
      const state = await store.open(P0)
      const change = changeOf(P0, state, 17, {
        firstOffset: 5,
        leaderEpoch: 3,
        counts: { bug: 2, fire: 7 },
        lastSequences: { '/a': 12, '/b': 0 },
        deadLetters: [deadLetterOf(9)],
        counted: 8,
        duplicates: 3,
      })
      assert.equal(await store.commit(change), 'committed')
      assert.deepEqual(await store.totals(), {
        counts: new Map([
          ['bug', 2],
          ['fire', 7],
        ]),
        revision: 1,
      })
      assert.deepEqual(await store.partitions(), [
        { ...P0, position: at(17, 3), counted: 8, duplicates: 3, deadLetters: 1, owner: 'first' },
      ])
      const again = await store.open(P0)
      assert.deepEqual(again.position, at(17, 3))
      assert.deepEqual(
        again.lastSequences,
        new Map([
          ['/a', 12],
          ['/b', 0],
        ]),
      )
      assert.equal((await store.deadLetters(null, 10)).length, 1)
    })

    test('unchanged totals are not read again', async (t) => {
      const store = await (await create(t)).open()
      const state = await store.open(P0)
      const none = await store.totals()
      assert.equal(await store.totals(none), none)
      await store.commit(changeOf(P0, state, 17, { counts: { bug: 2 } }))
      const one = await store.totals(none)
      assert.deepEqual(one, { counts: new Map([['bug', 2]]), revision: 1 })
      assert.equal(await store.totals(one), one)
      await store.reset()
      assert.equal((await store.totals(one)).counts.size, 0)
    })

    test('the latest event of a partition is kept, bounded in size, until another one is counted or the group is reset', async (t) => {
      const { open } = await create(t)
      const store = await open()
      const event = { id: 25, name: 'pikachu', types: ['electric'], at: 1_700_000_000_000, origin: 'live' as const }
      const newest = async () => (await store.partitions()).map((partition) => partition.newest?.event ?? null)
      let state = await commitTo(store, P0, await store.open(P0), 10, { newest: event, counted: 1 })
      assert.deepEqual(await newest(), [event])
      assert.ok(((await store.partitions())[0]?.newest?.countedAt ?? 0) > 0)
      state = await commitTo(store, P0, state, 11, { duplicates: 1 })
      assert.deepEqual(await newest(), [event], 'a commit that counts nothing')
      const endless = {
        ...event,
        name: '\u0000\ud800'.repeat(1000),
        types: Array.from({ length: 1000 }, (_, i) => `type-${i}`),
        at: null,
        origin: null,
      }
      await commitTo(store, P0, state, 12, { newest: endless, counted: 1 })
      const [kept] = await newest()
      assert.deepEqual([kept?.id, kept?.name, kept?.types.length, kept?.at, kept?.origin], [25, '\u0000\ud800'.repeat(50), 8, null, null])
      await store.reset()
      assert.deepEqual(await newest(), [null])
    })

    test('counts add up over commits, partitions and instances; the revision rises with each commit', async (t) => {
      const { open } = await create(t)
      const [one, other] = [await open(), await open()]
      let [left, right] = [await one.open(P0), await other.open(P1)]
      const revisions = [(await one.totals()).revision]
      for (let i = 1; i <= 5; i++) {
        left = { ...left, ...(await commitTo(one, P0, left, i * 10, { counts: { bug: i } })) }
        revisions.push((await other.totals()).revision)
        right = { ...right, ...(await commitTo(other, P1, right, i * 10, { counts: { bug: 1, water: 2 } })) }
        revisions.push((await one.totals()).revision)
      }
      assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
      )
      assert.equal(new Set(revisions).size, revisions.length)
      assert.deepEqual(
        (await one.totals()).counts,
        new Map([
          ['bug', 20],
          ['water', 10],
        ]),
      )
      assert.deepEqual(await one.totals(), await other.totals())
    })

    test('a commit under an older token is fenced and changes nothing (rule S1)', async (t) => {
      const { open } = await create(t)
      const [frozen, successor] = [await open(), await open()]
      const stale = await frozen.open(P0)
      const fresh = await successor.open(P0)
      assert.ok(fresh.token > stale.token)
      assert.equal(await frozen.commit(changeOf(P0, stale, 10, { counts: { bug: 1 }, deadLetters: [deadLetterOf(3)] })), 'fenced')
      assert.deepEqual(await successor.totals(), { counts: new Map(), revision: 0 })
      assert.deepEqual(await successor.deadLetters(null, 10), [])
      await commitTo(successor, P0, fresh, 10, { counts: { bug: 1 } })
    })

    test('a commit that does not begin at the position of the store is fenced and changes nothing', async (t) => {
      const store = await (await create(t)).open()
      const opened = await store.open(P0)
      const state = await commitTo(store, P0, opened, 10, { counts: { bug: 1 } })
      const before = await store.snapshot()
      for (const position of [opened.position, at(9), at(11), at(10, 1)]) {
        assert.equal(
          await store.commit(changeOf(P0, { ...state, position }, 20, { counts: { bug: 1 } })),
          'fenced',
          JSON.stringify(position),
        )
      }
      assert.deepEqual(await store.snapshot(), before)
      await commitTo(store, P0, state, 20)
    })

    test('a commit repeated after its answer was lost is fenced: it is not counted twice', async (t) => {
      const store = await (await create(t)).open()
      const state = await store.open(P0)
      const change = changeOf(P0, state, 10, { counts: { bug: 1 } })
      assert.equal(await store.commit(change), 'committed')
      assert.equal(await store.commit(change), 'fenced')
      assert.deepEqual((await store.totals()).counts, new Map([['bug', 1]]))
    })

    test('a commit that does not move the position forward is fenced', async (t) => {
      const store = await (await create(t)).open()
      const opened = await store.open(P0)
      assert.equal(await store.commit(changeOf(P0, opened, 5, { firstOffset: 5, counts: { bug: 1 } })), 'fenced')
      const state = await commitTo(store, P0, opened, 10)
      for (const to of [10, 9]) assert.equal(await store.commit(changeOf(P0, state, to, { counts: { bug: 1 } })), 'fenced', `to ${to}`)
      assert.deepEqual(await store.totals(), { counts: new Map(), revision: 1 })
    })

    test('a partition that was never opened cannot be committed to', async (t) => {
      const store = await (await create(t)).open()
      const position = { offset: 'log-start', leaderEpoch: -1 } as const
      assert.equal(await store.commit(changeOf(P0, { token: 0, position }, 10)), 'fenced')
      assert.equal(await store.commit(changeOf(P0, { token: 1, position }, 10)), 'fenced')
      assert.deepEqual(await store.partitions(), [])
    })

    test('a commit that fails half way changes nothing, and the next one works', async (t) => {
      const store = await (await create(t)).open()
      const opened = await store.open(P0)
      const state = await commitTo(store, P0, opened, 10, { counts: { bug: 1 }, lastSequences: { '/a': 1 } })
      const before = await store.snapshot()
      const impossible = changeOf(P0, state, 20, {
        counts: { bug: 1, fire: 1 },
        lastSequences: { '/a': 2, '/b': 1 },
        deadLetters: [deadLetterOf(11), deadLetterOf(12, { reason: null as never })],
        counted: 2,
      })
      await assert.rejects(store.commit(impossible), { name: 'StoreError', retriable: true })
      assert.deepEqual(await store.snapshot(), before)
      await commitTo(store, P0, state, 20, { counts: { bug: 1 } })
      assert.deepEqual((await store.open(P0)).lastSequences, new Map([['/a', 1]]))
    })

    test('commits are still there after the store was closed and opened again', async (t) => {
      const { open } = await create(t)
      const store = await open()
      await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 }, lastSequences: { '/a': 1 }, counted: 1 })
      const [before, totals] = [await store.snapshot(), await store.totals()]
      await store.close()
      await store.close()
      const again = await open()
      assert.deepEqual(await again.snapshot(), before)
      assert.deepEqual(await again.totals(), totals)
      assert.equal(again.id, store.id)
      await commitTo(again, P0, await again.open(P0), 20)
    })

    test('has an id of its own that never changes, by which two stores of one group are distinguished (rule S5)', async (t) => {
      const harness = await create(t)
      const store = await harness.open()
      const other = await (await create(t)).open()
      assert.match(store.id, /^[0-9a-f-]{32,36}$/)
      assert.notEqual(store.id, other.id)
      await store.close()
      assert.equal((await harness.open()).id, store.id)
    })

    test('a closed store throws an error that says so', async (t) => {
      const store = await (await create(t)).open()
      const state = await store.open(P0)
      await store.close()
      await assert.rejects(store.commit(changeOf(P0, state, 1)), { name: 'StoreError' })
      await assert.rejects(store.totals(), { name: 'StoreError' })
    })

    test('groups count separately', async (t) => {
      const { open } = await create(t)
      const [a, b] = [await open({ groupId: 'a' }), await open({ groupId: 'b' })]
      await commitTo(a, P0, await a.open(P0), 10, { counts: { bug: 1 } })
      const opened = await b.open(P0)
      assert.deepEqual(opened.position, { offset: 'log-start', leaderEpoch: -1 })
      assert.deepEqual(await b.totals(), { counts: new Map(), revision: 0 })
      await commitTo(b, P0, opened, 10, { counts: { fire: 5 } })
      assert.deepEqual((await a.totals()).counts, new Map([['bug', 1]]))
      assert.equal((await b.partitions()).length, 1)
      assert.equal(a.id, b.id)
    })

    test('topics count separately, and are added up in the totals', async (t) => {
      const store = await (await create(t)).open()
      const other = partitionOf(0, OTHER_TOPIC_ID, 'another-topic')
      await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
      const opened = await store.open(other)
      assert.equal(opened.replacedTopicId, null)
      assert.equal(opened.position.offset, 'log-start')
      await commitTo(store, other, opened, 7, { counts: { bug: 2 } })
      assert.deepEqual(
        (await store.partitions()).map(({ topic, position }) => [topic, position.offset]),
        [
          ['another-topic', 7],
          ['poke-topic', 10],
        ],
      )
      assert.deepEqual((await store.totals()).counts, new Map([['bug', 3]]))
    })

    test('a commit moves the partition of one topic only, even if the same partition of another topic has the same position (rule S4)', async (t) => {
      const store = await (await create(t)).open()
      const other = partitionOf(0, OTHER_TOPIC_ID, 'another-topic')
      const [state, opened] = [await store.open(P0), await store.open(other)]
      assert.equal(state.token, opened.token, 'the tokens are equal, so they alone would not fence')
      await commitTo(store, P0, state, 10, { counts: { bug: 1 } })
      const standsAt = (await store.partitions()).map(({ topic, position }) => [topic, position.offset])
      assert.deepEqual(standsAt, [
        ['another-topic', 'log-start'],
        ['poke-topic', 10],
      ])
      await commitTo(store, other, opened, 10, { counts: { bug: 2 } })
    })

    test('the query of the README gives the counts of one group, whichever others the database has', async (t) => {
      const [, sql = ''] = /`(SELECT type, count FROM type_counts[^`]*)`/.exec(readFileSync(README, 'utf8')) ?? []
      const { open, query } = await create(t)
      const [own, other] = [await open({ groupId: 'poke-api-consumer' }), await open({ groupId: 'another' })]
      await commitTo(own, P0, await own.open(P0), 10, { counts: { bug: 3 } })
      await commitTo(other, P0, await other.open(P0), 10, { counts: { bug: 40, water: 1 } })
      assert.deepEqual(
        (await query(sql)).map(({ type, count }) => [type, Number(count)]),
        [['bug', 3]],
      )
    })

    test('other programs can read the view type_counts with group_id, type and count', async (t) => {
      const { open, query } = await create(t)
      const [a, b] = [await open({ groupId: 'a' }), await open({ groupId: 'b' })]
      await commitTo(a, P0, await a.open(P0), 10, { counts: { water: 1, bug: 1 } })
      await commitTo(a, P1, await a.open(P1), 10, { counts: { bug: 2 } })
      await commitTo(b, P0, await b.open(P0), 10, { counts: { bug: 4 } })
      const rows = await query('SELECT group_id, type, count FROM type_counts ORDER BY group_id, type')
      assert.deepEqual(
        rows.map((row) => ({ ...row, count: Number(row.count) })),
        [
          { group_id: 'a', type: 'bug', count: 3 },
          { group_id: 'a', type: 'water', count: 1 },
          { group_id: 'b', type: 'bug', count: 4 },
        ],
      )
    })

    test('counts and offsets are exact up to 2^53 − 1', async (t) => {
      const store = await (await create(t)).open()
      const most = Number.MAX_SAFE_INTEGER
      const change = { firstOffset: most - 2, counts: { bug: most - 1 }, lastSequences: { '/a': most } }
      const state = await commitTo(store, P0, await store.open(P0), most - 1, change)
      await commitTo(store, P0, state, most, { counts: { bug: 1 } })
      assert.deepEqual((await store.totals()).counts, new Map([['bug', most]]))
      const { position, lastSequences } = await store.open(P0)
      assert.deepEqual([position.offset, lastSequences.get('/a')], [most, most])
    })

    test('partitions are listed by topic and number, with the instance that opened them last', async (t) => {
      const { open } = await create(t)
      const [one, other] = [await open({ owner: 'one' }), await open({ owner: 'other' })]
      for (const partition of [10, 2, 0]) await one.open(partitionOf(partition))
      await other.open(partitionOf(2))
      assert.deepEqual(
        (await one.partitions()).map(({ partition, owner }) => [partition, owner]),
        [
          [0, 'one'],
          [2, 'other'],
          [10, 'one'],
        ],
      )
    })
  })

  describe(`${name}: last sequences`, () => {
    test('changed ones are written, the others stay, and each partition has its own', async (t) => {
      const store = await (await create(t)).open()
      const first = await commitTo(store, P0, await store.open(P0), 10, { lastSequences: { '/a': 5, '/b': 6 } })
      await commitTo(store, P0, first, 20, { lastSequences: { '/b': 9, '/c': 0 } })
      await commitTo(store, P1, await store.open(P1), 10, { lastSequences: { '/a': 1 } })
      assert.deepEqual(sorted((await store.open(P0)).lastSequences), [
        ['/a', 5],
        ['/b', 9],
        ['/c', 0],
      ])
      assert.deepEqual(sorted((await store.open(P1)).lastSequences), [['/a', 1]])
    })

    test('the name of any source is read back unchanged', async (t) => {
      const store = await (await create(t)).open()
      const names = ['', ' ', 'a\0b', 'a\0c', 'A', 'a', '"quoted", {braced}\\', 'NULL', 'é\u{1f600}\ufffd', 'x'.repeat(256)]
      const lastSequences = Object.fromEntries(names.map((source, index) => [source, index]))
      const state = await commitTo(store, P0, await store.open(P0), 10, { lastSequences })
      assert.deepEqual(sorted((await store.open(P0)).lastSequences), sorted(new Map(Object.entries(lastSequences))))
      assert.equal(state.position.offset, 10)
    })

    test('a source is kept while the partition has lag, because its events may not have been counted yet', async (t) => {
      const { open, age } = await create(t)
      const forgotten: unknown[] = []
      const store = await open({ sourceMaxAge: 60_000, onSourcesForgotten: (...all) => forgotten.push(all) })
      await commitTo(store, P0, await store.open(P0), 10, { lastSequences: { '/a': 1, '/b': 1 } })
      await age(70_000)
      const opened = await store.open(P0)
      assert.equal(opened.lastSequences.size, 2)
      let state = await commitTo(store, P0, opened, 20, { lastSequences: { '/new': 1 }, caughtUp: false })
      state = await commitTo(store, P0, state, 30, { lastSequences: { '/b': 2 } })
      assert.deepEqual(forgotten, [])
      await commitTo(store, P0, state, 40, { lastSequences: { '/newer': 1 } })
      assert.deepEqual(forgotten, [[P0, 'silent', 1]])
      assert.deepEqual(sorted((await store.open(P0)).lastSequences), [
        ['/b', 2],
        ['/new', 1],
        ['/newer', 1],
      ])
    })

    test('a source that was silent for too long is forgotten when a new one appears, only in this partition', async (t) => {
      const { open, age, query } = await create(t)
      const forgotten: unknown[] = []
      const store = await open({ sourceMaxAge: 60_000, onSourcesForgotten: (...all) => forgotten.push(all) })
      const state = await commitTo(store, P0, await store.open(P0), 10, { lastSequences: { '/silent': 1 } })
      await commitTo(store, P1, await store.open(P1), 10, { lastSequences: { '/silent': 1 } })
      await age(70_000)
      await commitTo(store, P0, state, 20, { lastSequences: { '/new': 1 } })
      assert.deepEqual(forgotten, [[P0, 'silent', 1]])
      assert.equal((await query('SELECT * FROM last_sequences')).length, 2)
    })

    test('a silent source stays if the commit that would forget it has a new event of it', async (t) => {
      const { open, age } = await create(t)
      const store = await open({ sourceMaxAge: 60_000 })
      const state = await commitTo(store, P0, await store.open(P0), 10, { lastSequences: { '/back': 1 } })
      await age(70_000)
      await commitTo(store, P0, state, 20, { lastSequences: { '/back': 2, '/new': 1 } })
      assert.deepEqual(sorted((await store.open(P0)).lastSequences), [
        ['/back', 2],
        ['/new', 1],
      ])
    })

    test('beyond the bound, the sources that were silent for longest are forgotten and reported (rule C3)', async (t) => {
      const { open, age } = await create(t)
      const forgotten: unknown[] = []
      const store = await open({ sourceMaxCount: 3, onSourcesForgotten: (...all) => forgotten.push(all) })
      let state: Parameters<typeof commitTo>[2] = await store.open(P0)
      for (const [index, source] of ['/a', '/b', '/c'].entries()) {
        state = await commitTo(store, P0, state, (index + 1) * 10, { lastSequences: { [source]: index } })
        await age(1000)
      }
      state = await commitTo(store, P0, state, 40, { lastSequences: { '/a': 9 } })
      await age(1000)
      assert.deepEqual(forgotten, [])
      state = await commitTo(store, P0, state, 50, { lastSequences: { '/d': 1 } })
      assert.deepEqual(forgotten, [[P0, 'too-many', 1]])
      assert.deepEqual(sorted((await store.open(P0)).lastSequences), [
        ['/a', 9],
        ['/c', 2],
        ['/d', 1],
      ])
    })

    test('a lowered bound applies from the next opening on', async (t) => {
      const { open } = await create(t)
      const store = await open()
      const lastSequences = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`/${i}`, i]))
      await commitTo(store, P0, await store.open(P0), 10, { lastSequences })
      const forgotten: unknown[] = []
      const bounded = await open({ sourceMaxCount: 20, onSourcesForgotten: (...all) => forgotten.push(all) })
      assert.equal((await bounded.open(P0)).lastSequences.size, 20)
      assert.deepEqual(forgotten, [[P0, 'too-many', 30]])
    })

    test('a commit with more new sources than the bound keeps all of them, and the next commit forgets the surplus', async (t) => {
      const { open, query } = await create(t)
      const store = await open({ sourceMaxCount: 10 })
      const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`/${i}`, i]))
      const state = await commitTo(store, P0, await store.open(P0), 10, { lastSequences: many })
      await commitTo(store, P0, state, 20, { lastSequences: { '/!': 1 } })
      assert.equal((await query('SELECT * FROM last_sequences')).length, 10)
      assert.equal((await store.open(P0)).lastSequences.get('/!'), 1, 'a source with a new event is not silent')
    })
  })

  describe(`${name}: a topic that was created again, and gaps`, () => {
    const again = partitionOf(0, OTHER_TOPIC_ID)
    const recreated: DataLoss = { kind: 'recreated', message: 'made again', from: null, to: null }

    test('another id of a known topic is reported to every instance until its gap is recorded', async (t) => {
      const { open } = await create(t)
      const store = await open()
      await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
      const state = await store.open(again)
      assert.deepEqual([state.replacedTopicId, state.position.offset], [P0.topicId, 'log-start'])
      assert.equal((await (await open()).open(again)).replacedTopicId, P0.topicId)
      assert.equal((await store.open(partitionOf(1, OTHER_TOPIC_ID))).replacedTopicId, P0.topicId)
      assert.equal((await (await open({ groupId: 'other' })).open(again)).replacedTopicId, null)
    })

    test('an accepted new topic begins at the start of its log, and the counts of the old one stay', async (t) => {
      const store = await (await create(t)).open()
      await commitTo(store, P0, await store.open(P0), 10, { counts: { bug: 1 } })
      const { token, position } = await store.open(again)
      assert.equal(await store.recordGap({ partition: again, token, from: position, loss: recreated }), 'committed')
      assert.equal(await store.commit(changeOf(again, { token, position }, 5)), 'fenced', 'the gap has taken a new token')
      const state = await store.open(again)
      assert.deepEqual([state.replacedTopicId, state.position.offset], [null, 'log-start'])
      await commitTo(store, again, state, 5, { counts: { bug: 2 } })
      assert.deepEqual((await store.totals()).counts, new Map([['bug', 3]]))
      assert.equal(
        (await store.open(partitionOf(1, OTHER_TOPIC_ID))).replacedTopicId,
        null,
        'the new topic is accepted for every partition',
      )
      assert.equal((await store.open(P0)).replacedTopicId, null, 'the old topic is known')
      assert.deepEqual(
        (await store.snapshot()).map(({ gaps }) => gaps.map(({ kind }) => kind)),
        [[], ['recreated'], []],
      )
    })

    test('a topic that was created a third time replaces the second one', async (t) => {
      const store = await (await create(t)).open()
      const third = partitionOf(0, '00000000-0000-4000-8000-000000000003')
      await store.open(P0)
      const second = await store.open(again)
      await store.recordGap({ partition: again, token: second.token, from: second.position, loss: recreated })
      assert.equal((await store.open(third)).replacedTopicId, again.topicId)
    })

    test('a gap moves the position behind it and takes a new token', async (t) => {
      const store = await (await create(t)).open()
      const opened = await store.open(P0)
      const state = await commitTo(store, P0, opened, 10, { leaderEpoch: 4, counts: { bug: 1 }, counted: 1 })
      const loss: DataLoss = { kind: 'retention', message: '90 records are gone', from: 10, to: 100 }
      const { revision } = await store.totals()
      assert.equal(await store.recordGap({ partition: P0, token: state.token, from: state.position, loss }), 'committed')
      assert.equal(await store.commit(changeOf(P0, { ...state, position: at(100, -1) }, 110)), 'fenced', 'the gap has taken a new token')
      const after = await store.open(P0)
      assert.deepEqual(after.position, at(100, -1))
      assert.ok((await store.totals()).revision > revision)
      await commitTo(store, P0, after, 110, { counts: { bug: 1 }, counted: 1 })
      const [snapshot] = await store.snapshot()
      assert.deepEqual(
        snapshot?.gaps.map(({ recordedAt, ...gap }) => gap),
        [loss],
      )
      assert.ok((snapshot?.gaps[0]?.recordedAt ?? 0) > 1_600_000_000_000)
      assert.equal(snapshot?.firstOffset, 0)
    })

    test('a gap can move the position back: a truncated log continues at the end of its unchanged part', async (t) => {
      const store = await (await create(t)).open()
      const state = await commitTo(store, P0, await store.open(P0), 100, { leaderEpoch: 1 })
      const loss: DataLoss = { kind: 'truncated', message: 'cut at 60', from: 60, to: 60 }
      assert.equal(await store.recordGap({ partition: P0, token: state.token, from: state.position, loss }), 'committed')
      const after = await store.open(P0)
      assert.deepEqual(after.position, at(60, -1))
      await commitTo(store, P0, after, 70, { leaderEpoch: 2 })
    })

    test('a gap under an older token or from another position changes nothing', async (t) => {
      const store = await (await create(t)).open()
      const opened = await store.open(P0)
      const state = await commitTo(store, P0, opened, 10)
      const loss: DataLoss = { kind: 'retention', message: 'gone', from: 10, to: 100 }
      const before = await store.snapshot()
      assert.equal(await store.recordGap({ partition: P0, token: state.token - 1, from: state.position, loss }), 'fenced')
      assert.equal(await store.recordGap({ partition: P0, token: state.token, from: at(11), loss }), 'fenced')
      assert.equal(await store.recordGap({ partition: P1, token: state.token, from: state.position, loss }), 'fenced')
      assert.deepEqual(await store.snapshot(), before)
      await commitTo(store, P0, state, 20)
    })
  })

  describe(`${name}: reset`, () => {
    test('deletes counts, positions, last sequences and gaps of one group only, and fences running instances', async (t) => {
      const { open } = await create(t)
      const [store, other] = [await open(), await open({ groupId: 'other' })]
      const fill = async (filled: Store) => {
        const state = await commitTo(filled, P0, await filled.open(P0), 10, { counts: { bug: 1 }, lastSequences: { '/a': 3 }, counted: 1 })
        const loss: DataLoss = { kind: 'retention', message: 'gone', from: 10, to: 20 }
        await filled.recordGap({ partition: P0, token: state.token, from: state.position, loss })
        return await filled.open(P0)
      }
      const [state] = [await fill(store), await fill(other)]
      const before = await store.totals()
      const untouched = await other.snapshot()
      await store.reset()
      const after = await store.totals()
      assert.equal(after.counts.size, 0)
      assert.ok(after.revision > before.revision, 'a revision never falls: the file would keep its old counts')
      assert.equal(await store.commit(changeOf(P0, state, 30)), 'fenced')
      assert.equal(await store.commit(changeOf(P0, { ...state, position: { offset: 'log-start', leaderEpoch: -1 } }, 30)), 'fenced')
      const opened = await store.open(P0)
      assert.equal(opened.position.offset, 'log-start')
      assert.equal(opened.lastSequences.size, 0)
      const [snapshot] = await store.snapshot()
      assert.deepEqual([snapshot?.gaps, snapshot?.firstOffset, snapshot?.counted], [[], null, 0])
      assert.deepEqual(await other.snapshot(), untouched)
    })

    test('a frozen instance that opened its partition before the first commit is fenced too', async (t) => {
      const store = await (await create(t)).open()
      const frozen = await store.open(P0)
      await store.reset()
      assert.equal(await store.commit(changeOf(P0, frozen, 10, { counts: { bug: 1 } })), 'fenced')
    })

    test('a recreated topic is not reported as a loss any more', async (t) => {
      const store = await (await create(t)).open()
      await store.open(P0)
      assert.notEqual((await store.open(partitionOf(0, OTHER_TOPIC_ID))).replacedTopicId, null)
      await store.reset()
      assert.equal((await store.open(partitionOf(0, OTHER_TOPIC_ID))).replacedTopicId, null)
    })
  })
}

function sorted(map: ReadonlyMap<string, number>): [string, number][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}
