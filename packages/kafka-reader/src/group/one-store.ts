/**
 * Rule S5 among members that are in the group at the same time: each member sends the id of its store when it joins. The leader, which assigns
 * the partitions, sees all ids and assigns partitions to members of one store only.
 */
import type { ClusterMetadata, ExtendedGroupProtocolSubscription, GroupAssignment, GroupPartitionsAssigner } from '@platformatic/kafka'
import { KafkaError } from '../errors.ts'
import { STORE_ID } from './store-claim.ts'

/** The common name of the protocol that assigns partitions in turns. */
export const PROTOCOL = { name: 'roundrobin', version: 1 } as const

export interface OneStoreOptions {
  readonly groupId: string
  /** Of the leader. */
  readonly storeId: string
  /** Whether the group is known to use the leader's store. */
  readonly storeConfirmed: () => boolean
  /** Called where the leader itself joined members of another store, so that it must end. */
  readonly onRefused: (error: KafkaError) => void
}

/**
 * Assigns partitions in turns, and none to members of a second store: the members that came first go on, and the ones that came last end, even
 * the leader. Members that are other programs get their share, as the group's protocol demands.
 */
export function assignWithinOneStore({ groupId, storeId, storeConfirmed, onRefused }: OneStoreOptions): GroupPartitionsAssigner {
  return (_, members, __, metadata) => {
    const stores = storesOf(members)
    if (stores.size < 2) return inTurns(members, metadata)
    const chosen = storeConfirmed() ? storeId : mostMembers(stores, storeId)
    if (chosen !== storeId) onRefused(cameLast(groupId, stores.get(chosen) ?? 0))
    const served = new Map([...members].filter(([, member]) => [null, chosen].includes(storeOf(member))))
    const assignments = inTurns(served, metadata)
    const others = [...members.keys()].filter((memberId) => !served.has(memberId))
    return [...assignments, ...others.map((memberId) => ({ memberId, assignments: new Map() }))]
  }
}

/** Each partition of a topic goes to a member that subscribes to it. The library's own function would give it to other members, too. */
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

/** The id of the store that a member names; null: it is another program. */
function storeOf({ metadata }: ExtendedGroupProtocolSubscription): string | null {
  const id = String(metadata ?? '')
  return STORE_ID.test(id) ? id : null
}

/** How many members use each store, by the store's id. */
function storesOf(members: ReadonlyMap<string, ExtendedGroupProtocolSubscription>): Map<string, number> {
  const stores = new Map<string, number>()
  for (const member of members.values()) {
    const id = storeOf(member)
    if (id !== null) stores.set(id, (stores.get(id) ?? 0) + 1)
  }
  return stores
}

/** The store with the most members, leaving out one. */
function mostMembers(stores: ReadonlyMap<string, number>, except: string): string {
  const others = [...stores].filter(([id]) => id !== except)
  return others.reduce((most, each) => (each[1] > most[1] ? each : most))[0]
}

function cameLast(groupId: string, members: number): KafkaError {
  const others = members === 1 ? 'another member' : `${members} other members`
  return new KafkaError(
    'two-stores',
    `${others} of group ${groupId} ${members === 1 ? 'uses' : 'use'} another store than this instance, and each store would have only a part of the results; this instance joined last, so it ends: give all instances the same store, or this one a group of its own`,
  )
}
