/** Rule S5: who leads the group sees the store of each member, and hands out nothing where there are two. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterMetadata, ExtendedGroupProtocolSubscription } from '@platformatic/kafka'
import type { KafkaError } from '../../src/errors.ts'
import { assignWithinOneStore } from '../../src/infrastructure/messaging/one-store.ts'

const [A, B] = ['00000000-0000-4000-8000-00000000000a', '0123456789abcdef0123456789abcdef'] as const
const TOPICS = new Map([['poke-topic', { id: '', partitions: [], partitionsCount: 3, lastUpdate: 0 }]])
const METADATA = { id: '', controllerId: -1, lastUpdate: 0, brokers: new Map(), topics: TOPICS } as ClusterMetadata

function assign(...stores: (string | null)[]) {
  const refused: KafkaError[] = []
  const members = new Map<string, ExtendedGroupProtocolSubscription>(
    stores.map((store, i) => [
      `m${i}`,
      { memberId: `m${i}`, version: 1, topics: ['poke-topic'], ...(store !== null && { metadata: Buffer.from(store) }) },
    ]),
  )
  const assignments = assignWithinOneStore('group', (error) => refused.push(error))('m0', members, new Set(['poke-topic']), METADATA)
  return { refused, partitions: assignments.map(({ assignments }) => assignments.get('poke-topic')?.partitions ?? []) }
}

test('members that count into one store share the partitions', () => {
  assert.deepEqual(assign(A, A), { refused: [], partitions: [[0, 2], [1]] })
})

test('where members count into two, nobody gets any, and the leader ends with what to do', () => {
  const { refused, partitions } = assign(A, A, B)
  assert.deepEqual(partitions, [[], [], []])
  assert.equal(refused.length, 1)
  const [error] = refused as [KafkaError]
  assert.deepEqual([error.kind, error.retriable], ['two-stores', false])
  assert.match(error.message, new RegExp(`group group count into 2 stores \\(2 into ${A}, 1 into ${B}\\).*same STORE_URL`))
})

test('what another program says of itself is no store', () => {
  assert.deepEqual(assign(A, 'cooperative', null), { refused: [], partitions: [[0], [1], [2]] })
})
