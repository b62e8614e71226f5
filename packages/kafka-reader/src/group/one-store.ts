/**
 * Rule S5 among members that are there at the same time: the store's id travels in what a member says when it joins; the leader, who hands
 * out the partitions, sees them all, and gives partitions to members of one store alone.
 */
import type { ClusterMetadata, ExtendedGroupProtocolSubscription, GroupAssignment, GroupPartitionsAssigner } from '@platformatic/kafka'
import { KafkaError } from '../errors.ts'
import { STORE_ID } from './store-claim.ts'

/** The name is everybody's for handing out partitions in turns. */
export const PROTOCOL = { name: 'roundrobin', version: 1 } as const

export interface OneStoreOptions {
  readonly groupId: string
  /** Of the leader. */
  readonly storeId: string
  /** Whether the leader's store is the group's already: it was there first. */
  readonly isGroups: () => boolean
  /** The leader came to members of another store, and must end. */
  readonly refused: (error: KafkaError) => void
}

/**
 * Hands out partitions in turns, and none to members of a second store: who counts goes on, and who came last ends, the leader too.
 * Members that are other programs get their share, as the group's protocol has it.
 */
export function assignWithinOneStore({ groupId, storeId, isGroups, refused }: OneStoreOptions): GroupPartitionsAssigner {
  return (_, members, __, metadata) => {
    const stores = storesOf(members)
    if (stores.size < 2) return inTurns(members, metadata)
    const chosen = isGroups() ? storeId : mostMembers(stores, storeId)
    if (chosen !== storeId) refused(cameLast(groupId, stores.get(chosen) ?? 0))
    const served = new Map([...members].filter(([, member]) => [null, chosen].includes(storeOf(member))))
    const assignments = inTurns(served, metadata)
    const others = [...members.keys()].filter((memberId) => !served.has(memberId))
    return [...assignments, ...others.map((memberId) => ({ memberId, assignments: new Map() }))]
  }
}

/** Each partition of every topic that any member subscribes to goes to one that does; the library's own would give it to others, too. */
function inTurns(members: ReadonlyMap<string, ExtendedGroupProtocolSubscription>, { topics }: ClusterMetadata) {
  const assignments = [...members.keys()].map((memberId) => ({ memberId, assignments: new Map<string, GroupAssignment>() }))
  let turn = 0
  for (const [topic, { partitionsCount }] of topics) {
    const shares = assignments
      .filter(({ memberId }) => members.get(memberId)?.topics?.includes(topic))
      .map((share) => ({ share, partitions: [] as number[] }))
    if (shares.length === 0) continue
    for (let partition = 0; partition < partitionsCount; partition++) shares[turn++ % shares.length]?.partitions.push(partition)
    for (const { share, partitions } of shares) if (partitions.length > 0) share.assignments.set(topic, { topic, partitions })
  }
  return assignments
}

/** The store that a member says it counts into; null: another program. */
function storeOf({ metadata }: ExtendedGroupProtocolSubscription): string | null {
  const id = String(metadata ?? '')
  return STORE_ID.test(id) ? id : null
}

/** How many members count into each store, by the store's id. */
function storesOf(members: ReadonlyMap<string, ExtendedGroupProtocolSubscription>): Map<string, number> {
  const stores = new Map<string, number>()
  for (const member of members.values()) {
    const id = storeOf(member)
    if (id !== null) stores.set(id, (stores.get(id) ?? 0) + 1)
  }
  return stores
}

/** Of the stores but one, the one with the most members. */
function mostMembers(stores: ReadonlyMap<string, number>, except: string): string {
  const others = [...stores].filter(([id]) => id !== except)
  return others.reduce((most, each) => (each[1] > most[1] ? each : most))[0]
}

function cameLast(groupId: string, members: number): KafkaError {
  const others = members === 1 ? 'another member' : `${members} other members`
  return new KafkaError(
    'two-stores',
    `${others} of group ${groupId} ${members === 1 ? 'counts' : 'count'} into another store than this instance, and each store would have a part; this one came last and ends: give all instances the same STORE_URL, or this one a KAFKA_GROUP_ID of its own`,
  )
}
