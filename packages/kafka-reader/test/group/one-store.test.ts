/** Rule S5: the leader of the group knows the store of each member, and assigns partitions to members of one store only. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterMetadata, ExtendedGroupProtocolSubscription } from '@platformatic/kafka'
import fc from 'fast-check'
import type { KafkaError } from '../../src/errors.ts'
import { assignWithinOneStore } from '../../src/group/one-store.ts'

const [A, B] = ['00000000-0000-4000-8000-00000000000a', '0123456789abcdef0123456789abcdef'] as const
const TOPICS = new Map([['poke-topic', { id: '', partitions: [], partitionsCount: 3, lastUpdate: 0 }]])
const METADATA = { id: '', controllerId: -1, lastUpdate: 0, brokers: new Map(), topics: TOPICS } as ClusterMetadata

/** Assigns partitions. The first member is the leader. */
function assign(wasFirst: boolean, ...stores: (string | null)[]) {
  const refused: KafkaError[] = []
  const members = new Map<string, ExtendedGroupProtocolSubscription>(
    stores.map((store, i) => [
      `m${i}`,
      { memberId: `m${i}`, version: 1, topics: ['poke-topic'], ...(store !== null && { metadata: Buffer.from(store) }) },
    ]),
  )
  const assigner = assignWithinOneStore({
    groupId: 'group',
    storeId: stores[0] as string,
    storeConfirmed: () => wasFirst,
    onRefused: (error) => refused.push(error),
  })
  const partitions = new Map(
    assigner('m0', members, new Set(['poke-topic']), METADATA).map(({ memberId, assignments }) => [
      memberId,
      assignments.get('poke-topic')?.partitions ?? [],
    ]),
  )
  return { refused, partitions: [...members.keys()].map((member) => partitions.get(member)) }
}

test('members that count into one store share the partitions', () => {
  assert.deepEqual(assign(true, A, A), { refused: [], partitions: [[0, 2], [1]] })
  assert.deepEqual(assign(false, A, A), { refused: [], partitions: [[0, 2], [1]] })
})

test('a leader that joined first assigns no partitions to members that joined later with another store, and goes on', () => {
  assert.deepEqual(assign(true, A, B, A, B), { refused: [], partitions: [[0, 2], [], [1], []] })
})

test('a leader that joined last with another store assigns all partitions to the others, and ends with a message that says what to do', () => {
  const { refused, partitions } = assign(false, B, A, A)
  assert.deepEqual(partitions, [[], [0, 2], [1]])
  assert.equal(refused.length, 1)
  const [error] = refused as [KafkaError]
  assert.deepEqual([error.kind, error.retriable], ['two-stores', false])
  assert.match(error.message, /2 other members of group group use another store .* the same store/)
})

test('another program gets its share of the partitions, whatever its metadata is', () => {
  assert.deepEqual(assign(true, A, 'cooperative', null), { refused: [], partitions: [[0], [1], [2]] })
  assert.deepEqual(assign(true, A, 'cooperative', B), { refused: [], partitions: [[0, 2], [1], []] })
})

test('each partition of each topic goes to exactly one member that subscribes to the topic, in equal shares', () => {
  const topic = fc.constantFrom('poke-topic', 'other', 'more', 'missing')
  const subscriptions = fc.array(fc.uniqueArray(topic, { maxLength: 4 }), { minLength: 1, maxLength: 6 })
  const counts = fc.record({ 'poke-topic': fc.nat(12), other: fc.nat(5), more: fc.nat(5), missing: fc.constant(0) })
  fc.assert(
    fc.property(subscriptions, counts, (subscribed, partitionCounts) => {
      const topics = new Map(
        Object.entries(partitionCounts).map(([name, partitionsCount]) => [
          name,
          { id: '', partitions: [], partitionsCount, lastUpdate: 0 },
        ]),
      )
      const members = new Map(
        [['poke-topic'], ...subscribed].map((topics, i) => [
          `m${i}`,
          { memberId: `m${i}`, version: 1, topics, ...(i === 0 && { metadata: Buffer.from(A) }) },
        ]),
      )
      const assigner = assignWithinOneStore({ groupId: 'g', storeId: A, storeConfirmed: () => true, onRefused: assert.fail })
      const assigned = assigner('m0', members, new Set(['poke-topic']), { ...METADATA, topics })
      assert.deepEqual(
        assigned.map(({ memberId }) => memberId),
        [...members.keys()],
      )
      for (const [name, { partitionsCount }] of topics) {
        const shares = assigned.map(({ memberId, assignments }) => [memberId, assignments.get(name)?.partitions ?? []] as const)
        for (const [memberId, partitions] of shares) assert.ok(partitions.length === 0 || members.get(memberId)?.topics.includes(name))
        const takers = [...members.values()].filter(({ topics }) => topics.includes(name)).length
        const handedOut = shares.flatMap(([, partitions]) => partitions).sort((a, b) => a - b)
        assert.deepEqual(handedOut, takers === 0 ? [] : Array.from({ length: partitionsCount }, (_, partition) => partition))
        const sizes = shares.filter(([id]) => members.get(id)?.topics.includes(name)).map(([, partitions]) => partitions.length)
        assert.ok(takers === 0 || Math.max(...sizes) - Math.min(...sizes) <= 1)
      }
    }),
  )
})
