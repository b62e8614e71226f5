/** What every store must do with dead letters, from keeping to purging (rules D1 and D3), and with the snapshot that `verify` compares with. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { DeadLetter, DeadLetterReason } from '../../src/entities/dead-letter.ts'
import type { Store } from '../../src/infrastructure/storage/store.ts'
import { headerBytes } from '../header-bytes.ts'
import { type CreateStore, commitTo, deadLetterOf, partitionOf } from './store-harness.ts'

const P0 = partitionOf(0)
const P1 = partitionOf(1)
const MUCH = 1 << 30

/** Commits dead letters at these offsets, in one response. */
async function keep(store: Store, offsets: readonly number[], partition = P0, rest: Partial<DeadLetter> = {}): Promise<void> {
  const state = await store.open(partition)
  const deadLetters = offsets.map((offset) => deadLetterOf(offset, rest))
  await commitTo(store, partition, state, Math.max(...offsets) + 1, { firstOffset: 0, deadLetters })
}

async function ids(store: Store): Promise<number[]> {
  return (await store.deadLetters(null, 1000)).map(({ id }) => id).reverse()
}

export function testDeadLetterStore(name: string, create: CreateStore): void {
  describe(`${name}: dead letters`, () => {
    test('are read back byte for byte: NULs, nulls, empty values, repeated header names', async (t) => {
      const store = await (await create(t)).open()
      const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
      const deadLetters: DeadLetter[] = [
        deadLetterOf(0),
        deadLetterOf(1, { key: Buffer.alloc(0), value: Buffer.alloc(0), reason: 'empty-value' }),
        deadLetterOf(2, { key: everyByte, value: Buffer.concat([everyByte, everyByte]), reason: 'not-utf8', leaderEpoch: 7 }),
        deadLetterOf(3, { key: Buffer.from('NULL'), value: Buffer.from('\\x00 {"a",NULL} \\\\'), timestamp: -1n }),
        deadLetterOf(4, {
          key: null,
          value: Buffer.from('{}'),
          reason: 'wrong-shape',
          headers: headerBytes(
            ['a', '1'],
            ['a', '2'],
            ['', null],
            [everyByte, everyByte],
            ['a', ''],
            ['long', Buffer.alloc(100_000, 0xfe)],
          ),
        }),
        deadLetterOf(5, { value: Buffer.alloc(1_500_000, 'noise\0'), reason: 'too-large' }),
        deadLetterOf(6, {
          value: Buffer.alloc(65_536, 'x'),
          reason: 'too-large',
          cut: { value: { bytes: 2_000_000, sha256: 'ab'.repeat(32) }, key: { bytes: 2 ** 31, sha256: 'cd'.repeat(32) } },
        }),
      ]
      await commitTo(store, P0, await store.open(P0), 7, { deadLetters })
      const kept = (await store.deadLetters(null, 10)).reverse()
      assert.equal(kept.length, deadLetters.length)
      for (const [index, { id, partition, state, ...letter }] of kept.entries()) {
        assert.deepEqual(letter, deadLetters[index], `dead letter ${index}`)
        assert.deepEqual([partition, state], [P0, 'kept'])
        for (const bytes of [letter.key, letter.value, letter.headers]) assert.ok(bytes === null || Buffer.isBuffer(bytes))
      }
      const cuts = async () => [...(await store.snapshot())[0]!.deadLetterList].map(({ cut }) => cut)
      assert.deepEqual(
        await cuts(),
        deadLetters.map(({ cut }) => cut),
      )
      assert.equal(await store.purge(['kept'], Number.MAX_SAFE_INTEGER), deadLetters.length)
      assert.deepEqual(
        await cuts(),
        deadLetters.map(() => ({})),
        'nothing of the bytes is left after a purge, hashes included',
      )
    })

    test('are read back with every number unchanged, also the smallest and the largest', async (t) => {
      const store = await (await create(t)).open()
      const [least, most] = [-(2n ** 63n), 2n ** 63n - 1n]
      const timestamps = [least, least + 1n, -9_000_000_000_000_000_000n, -(2n ** 53n) - 1n, -1n, 0n, 2n ** 31n, 2n ** 53n + 1n]
      timestamps.push(1_764_353_000_123_456_789n, most - 1n, most)
      const epochs = [-(2 ** 31), -1, 0, 2 ** 31 - 1]
      const first = Number.MAX_SAFE_INTEGER - timestamps.length
      const deadLetters = timestamps.map((timestamp, i) =>
        deadLetterOf(first + i, { timestamp, leaderEpoch: epochs[i % epochs.length] as number }),
      )
      const partition = partitionOf(2 ** 31 - 1)
      await commitTo(store, partition, await store.open(partition), Number.MAX_SAFE_INTEGER, { firstOffset: first, deadLetters })
      const numbers = (from: readonly DeadLetter[]) => from.map(({ offset, leaderEpoch, timestamp }) => [offset, leaderEpoch, timestamp])
      assert.deepEqual(numbers((await store.deadLetters(null, 100)).reverse()), numbers(deadLetters))
      const unpublished = await store.unpublished(partition, 100, MUCH)
      assert.deepEqual(numbers(unpublished), numbers(deadLetters))
      await store.markPublished(unpublished.map(({ id }) => id))
      assert.equal(await store.replay(unpublished[0]?.id ?? -1, new Map([['bug', 1]])), true)
      assert.deepEqual((await store.open(partition)).position, { offset: Number.MAX_SAFE_INTEGER, leaderEpoch: 0 })
    })

    test('are listed newest first, page by page, without those of other groups', async (t) => {
      const { open } = await create(t)
      const [store, other] = [await open(), await open({ groupId: 'other' })]
      await keep(store, [0, 1, 2])
      await keep(other, [0])
      await keep(store, [5, 6], P1)
      const pages: number[][] = []
      for (let before: number | null = null; ; ) {
        const page = await store.deadLetters(before, 2)
        if (page.length === 0) break
        pages.push(page.map(({ offset }) => offset))
        before = page.at(-1)?.id ?? null
      }
      assert.deepEqual(pages, [[6, 5], [2, 1], [0]])
    })

    test('are listed until the limit of bytes is reached, and at least one', async (t) => {
      const store = await (await create(t)).open()
      const deadLetters = [100, 100, 100, 5000].map((size, i) => deadLetterOf(i, { value: Buffer.alloc(size) }))
      await commitTo(store, P0, await store.open(P0), 4, { deadLetters })
      const listed = async (before: number | null) => (await store.deadLetters(before, 10, 300)).map(({ offset }) => offset)
      assert.deepEqual(await listed(null), [3])
      const [large] = await store.deadLetters(null, 1, 300)
      assert.deepEqual(await listed(large?.id ?? -1), [2, 1])
    })

    test('are counted by reason', async (t) => {
      const store = await (await create(t)).open()
      assert.deepEqual(await store.deadLetterReasons(), new Map())
      await keep(store, [0, 1])
      await keep(store, [2], P0, { reason: 'wrong-shape' })
      assert.deepEqual(
        await store.deadLetterReasons(),
        new Map<DeadLetterReason, number>([
          ['not-json', 2],
          ['wrong-shape', 1],
        ]),
      )
    })

    test('are counted by reason and state, also after replays and purges', async (t) => {
      const { open, query } = await create(t)
      const [store, other] = [await open(), await open({ groupId: 'other' })]
      await keep(other, [1, 2, 3], P1)
      const counted = async () => {
        const rows = await query(`SELECT reason, count(*) AS letters FROM dead_letters JOIN partitions ON partitions.id = partition_id
          WHERE group_id = 'group' AND state IN ('kept', 'published') GROUP BY reason`)
        return new Map(rows.map(({ reason, letters }) => [reason, Number(letters)]))
      }
      let next = 0
      const reset = async () => {
        await store.reset()
        next = 0
      }
      const changes: Record<string, () => Promise<unknown>> = {
        keep: async () => {
          const offsets = [next, next + 1, next + 2]
          next += 3
          await keep(store, offsets, P0, { reason: next % 2 === 0 ? 'not-json' : 'wrong-shape' })
        },
        publish: async () => await store.markPublished((await store.unpublished(P0, 2, MUCH)).map(({ id }) => id)),
        replay: async () => {
          const [newest] = await store.deadLetters(null, 1)
          if (newest !== undefined) assert.equal(await store.replay(newest.id, new Map([['ghost', 1]])), true)
        },
        purge: async () => await store.purge(['published'], Number.MAX_SAFE_INTEGER),
        purgeAll: async () => await store.purge(['kept', 'published', 'counted', 'superseded'], Number.MAX_SAFE_INTEGER),
        reset,
      }
      await fc.assert(
        fc
          .asyncProperty(
            fc.array(fc.constantFrom('keep', 'keep', ...Object.keys(changes)), { minLength: 4, maxLength: 12 }),
            async (names) => {
              for (const name of names) {
                await changes[name]?.()
                assert.deepEqual(
                  new Map([...(await store.deadLetterReasons())].sort()),
                  new Map([...(await counted())].sort()),
                  names.join(' '),
                )
              }
            },
          )
          .beforeEach(reset),
        { numRuns: 15 },
      )
      assert.deepEqual(await other.deadLetterReasons(), new Map([['not-json', 3]]))
    })

    test('are read for publishing in the order of their offsets, until they are marked as published', async (t) => {
      const store = await (await create(t)).open()
      await keep(store, [3, 4, 9])
      await keep(store, [1], P1)
      const first = await store.unpublished(P0, 2, MUCH)
      assert.deepEqual(
        first.map(({ offset }) => offset),
        [3, 4],
      )
      assert.deepEqual(await store.unpublished(P0, 2, MUCH), first, 'nothing changes until it is acknowledged')
      await store.markPublished(first.map(({ id }) => id))
      await store.markPublished(first.map(({ id }) => id))
      assert.deepEqual(
        (await store.unpublished(P0, 2, MUCH)).map(({ offset }) => offset),
        [9],
      )
      assert.deepEqual(
        (await store.unpublished(P1, 2, MUCH)).map(({ offset }) => offset),
        [1],
      )
      assert.deepEqual(
        (await store.deadLetters(null, 10)).map(({ state }) => state),
        ['kept', 'kept', 'published', 'published'],
      )
      assert.deepEqual(await store.deadLetterReasons(), new Map([['not-json', 4]]), 'a published one is a dead letter, too')
    })

    test('are read for publishing until the limit of bytes is reached, and at least one', async (t) => {
      const store = await (await create(t)).open()
      await keep(store, [0, 1, 2, 3], P0, { key: Buffer.alloc(100), value: Buffer.alloc(900) })
      for (const [maxBytes, expected] of [
        [1, 1],
        [2000, 1],
        [2100, 2],
        [3100, 3],
        [MUCH, 4],
      ] as const) {
        assert.equal((await store.unpublished(P0, 10, maxBytes)).length, expected, `within ${maxBytes} bytes`)
      }
    })

    test('a replay counts once, however many processes try, and changes neither position nor last sequences nor owner', async (t) => {
      const { open } = await create(t)
      const [store, other] = [await open(), await open()]
      const state = await commitTo(store, P0, await store.open(P0), 10, {
        counts: { bug: 1 },
        counted: 1,
        lastSequences: { '/a': 7 },
        deadLetters: [deadLetterOf(3), deadLetterOf(4)],
      })
      const [first, second] = (await ids(store)) as [number, number]
      await store.markPublished([second])
      const { revision } = await store.totals()
      const counts = new Map([
        ['bug', 1],
        ['fire', 1],
      ])
      const outcomes = await Promise.all([store.replay(first, counts), other.replay(first, counts), store.replay(first, counts)])
      assert.deepEqual(outcomes.sort(), [false, false, true])
      assert.equal(await store.replay(second, counts), true, 'a published one too')
      assert.equal(await store.replay(999_999, counts), false)
      const totals = await store.totals()
      assert.deepEqual(
        totals.counts,
        new Map([
          ['bug', 3],
          ['fire', 2],
        ]),
      )
      assert.equal(totals.revision, revision + 2)
      const [partition] = await store.partitions()
      assert.deepEqual([partition?.counted, partition?.deadLetters], [3, 0])
      assert.deepEqual(await store.deadLetters(null, 10), [])
      assert.deepEqual(await store.unpublished(P0, 10, MUCH), [])
      await commitTo(store, P0, state, 20)
      assert.deepEqual((await store.open(P0)).lastSequences, new Map([['/a', 7]]))
    })

    test('a replay that fails half way changes nothing, and can be repeated', async (t) => {
      const store = await (await create(t)).open()
      await commitTo(store, P0, await store.open(P0), 10, { deadLetters: [deadLetterOf(3)] })
      const before = await store.snapshot()
      const [{ id } = { id: -1 }] = await store.deadLetters(null, 1)
      await assert.rejects(store.replay(id, new Map([['bug', 1.5]])), { name: 'StoreError' })
      assert.deepEqual(await store.snapshot(), before)
      assert.equal(await store.replay(id, new Map([['bug', 1]])), true)
    })

    test('a replay of another group’s dead letter changes nothing', async (t) => {
      const { open } = await create(t)
      const [store, other] = [await open(), await open({ groupId: 'other' })]
      await keep(store, [1])
      const [id] = (await ids(store)) as [number]
      assert.equal(await other.replay(id, new Map([['bug', 1]])), false)
      await other.markPublished([id])
      assert.equal(await other.purge(['kept', 'published'], Number.MAX_SAFE_INTEGER), 0)
      assert.equal((await store.deadLetters(null, 10))[0]?.state, 'kept')
    })

    test('replays and commits of one partition at the same time lose nothing', async (t) => {
      const { open } = await create(t)
      const [counting, replaying] = [await open(), await open()]
      let state: Parameters<typeof commitTo>[2] = await counting.open(P0)
      state = await commitTo(counting, P0, state, 100, { deadLetters: Array.from({ length: 30 }, (_, i) => deadLetterOf(i)) })
      const committed = (async () => {
        for (let i = 1; i <= 30; i++) state = await commitTo(counting, P0, state, 100 + i, { counts: { bug: 1, fire: 1 }, counted: 1 })
      })()
      const replayed = Promise.all(
        (await ids(replaying)).map((id) =>
          replaying.replay(
            id,
            new Map([
              ['fire', 1],
              ['bug', 1],
            ]),
          ),
        ),
      )
      await committed
      assert.ok((await replayed).every((done) => done))
      assert.deepEqual(
        (await counting.totals()).counts,
        new Map([
          ['bug', 60],
          ['fire', 60],
        ]),
      )
      assert.deepEqual(await counting.totals(), {
        counts: new Map([
          ['bug', 60],
          ['fire', 60],
        ]),
        revision: 61,
      })
    })

    test('a purge deletes the bytes of old dead letters, and keeps their offsets and reasons', async (t) => {
      const { open, age, now } = await create(t)
      const store = await open()
      await keep(store, [1, 2, 3], P0, { key: Buffer.from('key'), value: Buffer.from('a secret') })
      const [published, counted] = (await ids(store)) as [number, number]
      await store.markPublished([published])
      await store.replay(counted, new Map([['bug', 1]]))
      await age(60_000)
      await keep(store, [5], P0, { value: Buffer.from('young') })
      const old = now() - 30_000
      assert.equal(await store.purge([], old), 0)
      assert.equal(await store.purge(['published', 'counted'], old - 60_000), 0, 'none is that old')
      assert.equal(await store.purge(['published', 'counted'], old), 2)
      assert.equal(await store.purge(['published', 'counted'], old), 0, 'each once')
      assert.equal(await store.purge(['kept', 'published'], old), 1, 'not the young one')
      const [snapshot] = await store.snapshot()
      assert.deepEqual(
        [...snapshot!.deadLetterList].map(({ offset, state }) => [offset, state]),
        [
          [1, 'purged'],
          [2, 'counted'],
          [3, 'purged'],
          [5, 'kept'],
        ],
      )
      assert.equal(await store.replay(published, new Map()), false)
      assert.equal(await store.replay(counted, new Map()), false)
      await store.markPublished([published])
      assert.deepEqual(
        (await store.deadLetters(null, 10)).map(({ offset }) => offset),
        [5],
      )
      assert.equal((await store.partitions())[0]?.deadLetters, 3, 'a purged one was never counted')
    })

    test('the snapshot’s numbers add up to the records that were read, also after replays', async (t) => {
      const store = await (await create(t)).open()
      const state = await store.open(P0)
      await commitTo(store, P0, state, 100, {
        firstOffset: 40,
        counts: { bug: 50, fire: 7 },
        counted: 50,
        duplicates: 7,
        deadLetters: [deadLetterOf(41), deadLetterOf(42), deadLetterOf(43, { leaderEpoch: 2, reason: 'unknown-event-type' })],
      })
      const before = (await store.snapshot())[0]
      const [id] = (await ids(store)) as [number]
      await store.replay(id, new Map([['bug', 1]]))
      const after = (await store.snapshot())[0]
      for (const snapshot of [before, after]) {
        assert.equal((snapshot?.counted ?? 0) + (snapshot?.duplicates ?? 0) + (snapshot?.deadLetters ?? 0), 60)
        assert.equal(snapshot?.firstOffset, 40)
      }
      assert.deepEqual(
        after?.counts,
        new Map([
          ['bug', 51],
          ['fire', 7],
        ]),
      )
      assert.deepEqual(
        [...after!.deadLetterList],
        [
          { offset: 41, leaderEpoch: 0, reason: 'not-json', state: 'counted', cut: {} },
          { offset: 42, leaderEpoch: 0, reason: 'not-json', state: 'kept', cut: {} },
          { offset: 43, leaderEpoch: 2, reason: 'unknown-event-type', state: 'kept', cut: {} },
        ],
      )
    })

    test('after a reset they keep their bytes, and can be replayed once their records were read again', async (t) => {
      const { open, query } = await create(t)
      const store = await open()
      await keep(store, [1, 2, 3, 4], P0, { value: Buffer.from('bytes') })
      const [one, two, three, four] = (await ids(store)) as [number, number, number, number]
      await store.replay(two, new Map([['bug', 1]]))
      await store.markPublished([three])
      await store.purge(['published'], Number.MAX_SAFE_INTEGER)
      await store.reset()
      assert.deepEqual(await store.deadLetters(null, 10), [])
      for (const id of [one, two, three, four]) assert.equal(await store.replay(id, new Map([['bug', 1]])), false)
      assert.deepEqual((await store.totals()).counts, new Map())
      assert.equal((await store.snapshot())[0]?.deadLetterList.length, 0)
      assert.equal((await query('SELECT * FROM dead_letters WHERE value IS NOT NULL')).length, 3)

      const cut = { key: { bytes: 2_000_000, sha256: 'ab'.repeat(32) } }
      await keep(store, [2, 3, 4], P0, { value: Buffer.from('bytes'), timestamp: 1_764_353_000_123_456_789n, cut })
      assert.deepEqual(
        (await store.unpublished(P0, 10, MUCH)).map(({ offset, value, timestamp, cut }) => [offset, value?.toString(), timestamp, cut]),
        [2, 3, 4].map((offset) => [offset, 'bytes', 1_764_353_000_123_456_789n, cut]),
      )
      assert.equal(await store.replay(two, new Map([['bug', 1]])), true)
      assert.equal((await store.partitions())[0]?.deadLetters, 2)
    })

    test('an offset that a truncated log used again is another dead letter', async (t) => {
      const store = await (await create(t)).open()
      const state = await commitTo(store, P0, await store.open(P0), 10, {
        leaderEpoch: 1,
        deadLetters: [deadLetterOf(8, { leaderEpoch: 1 })],
      })
      await store.recordGap({
        partition: P0,
        token: state.token,
        from: state.position,
        loss: { kind: 'truncated', message: 'cut', from: 5, to: 5 },
      })
      await commitTo(store, P0, await store.open(P0), 10, { leaderEpoch: 2, deadLetters: [deadLetterOf(8, { leaderEpoch: 2 })] })
      assert.deepEqual(
        (await store.unpublished(P0, 10, MUCH)).map(({ leaderEpoch }) => leaderEpoch),
        [1, 2],
      )
    })

    test('can be ten thousand in one commit', async (t) => {
      const store = await (await create(t)).open()
      const deadLetters = Array.from({ length: 10_000 }, (_, i) => deadLetterOf(i, { value: Buffer.from(`not json ${i}`) }))
      await commitTo(store, P0, await store.open(P0), 10_000, { deadLetters })
      assert.deepEqual(await store.deadLetterReasons(), new Map([['not-json', 10_000]]))
      const [newest] = await store.deadLetters(null, 1)
      assert.equal(newest?.value?.toString(), 'not json 9999')
    })
  })
}
