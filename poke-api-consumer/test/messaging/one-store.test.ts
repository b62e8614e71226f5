/** Rule S5: who leads the group sees the store of each member, and hands out partitions to members of one store alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterMetadata, ExtendedGroupProtocolSubscription } from '@platformatic/kafka'
import type { KafkaError } from '../../src/errors.ts'
import { assignWithinOneStore } from '../../src/infrastructure/messaging/one-store.ts'

const [A, B] = ['00000000-0000-4000-8000-00000000000a', '0123456789abcdef0123456789abcdef'] as const
const TOPICS = new Map([['poke-topic', { id: '', partitions: [], partitionsCount: 3, lastUpdate: 0 }]])
const METADATA = { id: '', controllerId: -1, lastUpdate: 0, brokers: new Map(), topics: TOPICS } as ClusterMetadata

/** The first member leads. */
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
    isGroups: () => wasFirst,
    refused: (error) => refused.push(error),
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

test('a leader that was there first hands out nothing to who came with another store, and goes on', () => {
  assert.deepEqual(assign(true, A, B, A, B), { refused: [], partitions: [[0, 2], [], [1], []] })
})

test('a leader that came last leaves all partitions to the others, and ends with what to do', () => {
  const { refused, partitions } = assign(false, B, A, A)
  assert.deepEqual(partitions, [[], [0, 2], [1]])
  assert.equal(refused.length, 1)
  const [error] = refused as [KafkaError]
  assert.deepEqual([error.kind, error.retriable], ['two-stores', false])
  assert.match(error.message, /2 other members of group group count into another store .* same STORE_URL/)
})

test('what another program says of itself is no store: it has its share', () => {
  assert.deepEqual(assign(true, A, 'cooperative', null), { refused: [], partitions: [[0], [1], [2]] })
  assert.deepEqual(assign(true, A, 'cooperative', B), { refused: [], partitions: [[0, 2], [1], []] })
})
