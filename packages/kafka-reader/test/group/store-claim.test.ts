/** Rule S5: committed offsets name the store of their group, and instances with another store are refused. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FailureTracker } from '@poke-api-pipeline/service-kit'
import { KafkaError } from '../../src/errors.ts'
import { anotherStore, claimMetadata, claimOf, type StoreClaim, storeOfGroup } from '../../src/group/store-claim.ts'
import { StoreOfGroup } from '../../src/group/store-of-group.ts'

const A: StoreClaim = { id: '00000000-0000-4000-8000-00000000000a', name: 'sqlite:data/a.db', instance: 'one/12', memberId: 'm-1' }
const B: StoreClaim = { id: '0123456789abcdef0123456789abcdef', name: 'postgres://poke@db/b', instance: 'two/34', memberId: 'm-2' }
const by = (claim: StoreClaim | null) => ({
  offset: 1,
  leaderEpoch: 1,
  metadata: claim === null ? null : (claimMetadata(claim)[0] as string),
})

describe('the claim in the metadata of a committed offset', () => {
  test('is decoded as it was written, and its shorter form still has the id of the store', () => {
    const [whole, short, none] = claimMetadata(A)
    assert.deepEqual(claimOf(whole ?? ''), A)
    assert.deepEqual(claimOf(short ?? ''), { id: A.id, name: '', instance: '', memberId: '' })
    assert.equal(claimOf(none ?? ''), null)
  })

  test('is short enough for a broker with default settings, however long the names of store and host are', () => {
    const [whole = ''] = claimMetadata({
      ...A,
      name: `sqlite:${'家'.repeat(5000)}`,
      instance: '\u2028'.repeat(5000),
      memberId: 'm'.repeat(300),
    })
    assert.ok(Buffer.byteLength(whole) <= 4096, String(Buffer.byteLength(whole)))
    assert.equal(claimOf(whole)?.id, A.id)
  })

  test('is null if another program or an older version wrote the metadata', () => {
    for (const metadata of [
      null,
      '',
      'x',
      '1',
      'null',
      '[]',
      '{}',
      '{"store":1}',
      '{"store":"x"}',
      '"00000000-0000-4000-8000-00000000000a"',
    ])
      assert.equal(claimOf(metadata), null, String(metadata))
  })

  test('cannot forge lines of the log, because control characters are escaped', () => {
    const claim = claimOf(JSON.stringify({ store: A.id, name: 'a\n\u001b[31mb\u202ec', instance: ['x'], member: 1 }))
    assert.deepEqual(claim, { id: A.id, name: 'a\\u000a\\u001b[31mb\\u202ec', instance: '', memberId: '' })
  })
})

test('the store of a group is the one that its first partition names', () => {
  const offsets = new Map([
    [3, by(B)],
    [10, by(B)],
    [2, by(A)],
    [0, by(null)],
  ])
  assert.deepEqual(storeOfGroup(offsets), A)
  assert.equal(storeOfGroup(new Map([[0, by(null)]])), null)
})

test('a refused instance reports both stores, the instance that uses the other one, and what to do', () => {
  const { message, kind } = anotherStore('group', A, B)
  assert.equal(kind, 'two-stores')
  assert.equal(
    message,
    "group group keeps its positions in postgres://poke@db/b (used by two/34), but this instance (one/12) would keep them in sqlite:data/a.db: each store would have only a part of the results. Give this instance the group's store, or a group of its own. To use sqlite:data/a.db from now on, stop all instances of the group, and then change the store that the group's offsets name",
  )
  assert.match(anotherStore('group', A, { ...B, name: A.name }).message, /another store named sqlite:data\/a\.db, which was created anew/)
  assert.match(anotherStore('group', A, { ...B, name: '', instance: '' }).message, /keeps its positions in the store with the id 0123/)
})

describe('the store of the group', () => {
  function storeOf(answer: (attempt: number) => StoreClaim | null) {
    const told: string[] = []
    let [asked, time] = [0, 0]
    const stop = new AbortController()
    const checking = new StoreOfGroup({
      cluster: { committedOffsets: async (_, partitions) => new Map(partitions.map((partition) => [partition, by(answer(++asked))])) },
      groupId: 'group',
      store: A,
      partitions: () => 1,
      failures: new FailureTracker({ failed: (error) => told.push(error.message), over: () => told.push('over') }),
      onConfirmed: () => told.push('known'),
      clock: {
        now: () => time,
        random: () => 0.5,
        wait: async (ms) => {
          time += ms
        },
      },
    })
    return { checking, told, stop, asked: () => asked }
  }
  const isRefused = (error: unknown) => error instanceof KafkaError && error.kind === 'two-stores' && !error.retriable

  test('is confirmed if the group names it or no store, and refused if the group names another one', async () => {
    const { signal } = new AbortController()
    const own = storeOf(() => A)
    assert.equal(await own.checking.check(signal), true)
    assert.deepEqual(own.told, ['known'])
    const nobodys = storeOf(() => null)
    assert.equal(await nobodys.checking.check(signal), false)
    assert.deepEqual(nobodys.told, [])
    await assert.rejects(storeOf(() => B).checking.check(signal), isRefused)
  })

  test('is requested until Kafka answers; failures of the first seconds are not reported', async () => {
    const { checking, told, asked } = storeOf((attempt) => {
      if (attempt < 4) throw new KafkaError('refused', 'COORDINATOR_NOT_AVAILABLE')
      return A
    })
    assert.equal(await checking.check(new AbortController().signal), true)
    assert.deepEqual([told, asked()], [['known'], 4])
  })

  test('is reported as a failure while Kafka does not answer for long', async () => {
    const { checking, told } = storeOf((attempt) => {
      if (attempt < 20) throw new KafkaError('refused', 'away')
      return A
    })
    await checking.check(new AbortController().signal)
    assert.deepEqual(new Set(told), new Set(['away', 'over', 'known']))
  })

  test('ends this instance if the group names another store while it runs', async () => {
    const { checking, stop, asked } = storeOf((attempt) => (attempt < 3 ? A : B))
    await assert.rejects(checking.run(stop.signal), isRefused)
    assert.equal(asked(), 3)
  })
})
