/**
 * Rule S5: all members of a group count into one store, or each store would have a part. The store's id travels in what a member says when
 * it joins; the leader, who hands out the partitions, sees them all.
 */
import { type ExtendedGroupProtocolSubscription, type GroupPartitionsAssigner, roundRobinAssigner } from '@platformatic/kafka'
import { KafkaError } from '../../errors.ts'

/** The name is the library's for handing out partitions in turns. */
export const PROTOCOL = { name: 'roundrobin', version: 1 } as const

/** 128 bits in hexadecimal; whatever else a member says is another program's. */
const STORE_ID = /^[0-9a-f-]{32,36}$/

/**
 * Hands out partitions in turns; to nobody where members count into two stores.
 * @param groupId names the group in the error
 * @param refused told of two stores
 */
export function assignWithinOneStore(groupId: string, refused: (error: KafkaError) => void): GroupPartitionsAssigner {
  return (current, members, topics, metadata) => {
    const stores = storesOf(members)
    if (stores.size < 2) return roundRobinAssigner(current, members, topics, metadata)
    refused(twoStores(groupId, stores))
    return [...members.keys()].map((memberId) => ({ memberId, assignments: new Map() }))
  }
}

/** How many members count into each store, by the store's id. */
function storesOf(members: ReadonlyMap<string, ExtendedGroupProtocolSubscription>): Map<string, number> {
  const stores = new Map<string, number>()
  for (const { metadata } of members.values()) {
    const id = String(metadata ?? '')
    if (STORE_ID.test(id)) stores.set(id, (stores.get(id) ?? 0) + 1)
  }
  return stores
}

function twoStores(groupId: string, stores: ReadonlyMap<string, number>): KafkaError {
  const list = [...stores].map(([id, members]) => `${members} into ${id}`).join(', ')
  return new KafkaError(
    'two-stores',
    `members of group ${groupId} count into ${stores.size} stores (${list}), each of which would have a part: give all of them the same STORE_URL, or one of them another KAFKA_GROUP_ID`,
  )
}
