/**
 * Reports which members of the group are other programs, and which partitions no instance of this service reads (rule M3): records of these
 * are not read here, and no request fails because of it. A partition that the group assigned to another program stays with that program until it leaves.
 */
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { printable } from '@poke-api-pipeline/service-kit/foreign-text'
import type { Cluster, DescribedGroup, GroupMember, Member } from '../brokers/cluster.ts'
import { KafkaError } from '../errors.ts'
import { partitionsOf, userDataOf } from './consumer-protocol.ts'
import { claimOf, STORE_ID, type StoreIdentity } from './store-claim.ts'

/** What is wrong in the group. All numbers and lists are empty if nothing is. */
export interface GroupView {
  /** Members that are other programs. */
  readonly foreignMembers: number
  /** Partitions of the topic that no instance of this service reads: they are another program's, or had no reader for longer than a session. */
  readonly unread: readonly number[]
  /** Sentences for the operator: what is wrong, and what to do. */
  readonly reasons: readonly string[]
  /** Whether partitions have no reader because members use another store (rule S5), as one of the sentences says. */
  readonly otherStore: boolean
}

export interface GroupMembersObserver {
  /** Called after each poll. */
  groupSeen(view: GroupView): void
}

export interface GroupMembersOptions {
  readonly cluster: Pick<Cluster, 'describeGroup' | 'committedOffsets'>
  readonly groupId: string
  readonly topic: string
  readonly clientId: string
  readonly store: Pick<StoreIdentity, 'id'>
  readonly sessionTimeout: number
  /** The number of partitions that the topic has. */
  readonly partitions: () => number
  /** This instance as a member; null while it is not in the group. */
  readonly member: () => Member | null
  readonly failures: FailureTracker
  readonly observer: GroupMembersObserver
  readonly clock: Clock
}

/** In ms. */
const POLL_INTERVAL = 3000
const PART = 'the members of the group'
/** The most sentences in a report: a group may have thousands of members. */
const MOST_REASONS = 10
const LONGEST_NAME = 100

export class GroupMembers {
  readonly #options: GroupMembersOptions
  /** Since when each partition has had no reader of this service. */
  #unreadSince: ReadonlyMap<number, number> = new Map()
  /** Since when the group has been rebalancing; null: it is not. */
  #rebalancingSince: number | null = null
  /** The member ids of this service's instances before the rebalance: during one, Kafka does not show what members sent when they joined. */
  #ours: ReadonlySet<string> = new Set()
  #seen: GroupView = { foreignMembers: 0, unread: [], reasons: [], otherStore: false }

  constructor(options: GroupMembersOptions) {
    this.#options = options
  }

  /** Polls until the signal is aborted. @throws KafkaError if retrying cannot help */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, failures } = this.#options
    while (!signal.aborted) {
      await clock.wait(POLL_INTERVAL, signal)
      if (signal.aborted) return
      try {
        await this.poll()
        failures.worked(PART)
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) throw error
        if (!signal.aborted) failures.failed(PART, error)
      }
    }
  }

  /** Requests a description of the group and reports it. A rebalance is reported only if it takes longer than a session. */
  async poll(): Promise<void> {
    const { cluster, groupId, observer, partitions } = this.#options
    const group = await cluster.describeGroup(groupId)
    if (!group.isStable) return this.#rebalancing(group.members)
    this.#rebalancingSince = null
    const all = Array.from({ length: partitions() }, (_, partition) => partition)
    // Members of a group of the newer protocol (KIP-848) send no store id when they join. Instances of this service commit it with their offsets.
    const claims = group.kind === 'consumer' ? await cluster.committedOffsets(groupId, all) : new Map()
    const readers = new Map<number, GroupMember>()
    for (const member of group.members) for (const partition of this.#partitionsOf(group, member)) readers.set(partition, member)
    const now = this.#options.clock.now()
    const unreadSince = new Map<number, number>()
    const foreign = new Map<GroupMember, number[]>()
    if (group.kind !== 'consumer') {
      for (const member of group.members) if (this.#storeOf(member) === null) foreign.set(member, [])
    }
    this.#ours = new Set(group.members.filter((member) => this.#isOurs(member)).map(({ memberId }) => memberId))
    const unread: number[] = []
    for (const partition of all) {
      const reader = readers.get(partition)
      const isOurs =
        reader !== undefined && (this.#isOurs(reader) || claimOf(claims.get(partition)?.metadata ?? null)?.memberId === reader.memberId)
      if (isOurs) continue
      const since = this.#unreadSince.get(partition) ?? now
      unreadSince.set(partition, since)
      const known = reader === undefined ? undefined : foreign.get(reader)
      // A program that is known to be foreign is reported at once. Another reader may be an instance that has not committed yet.
      if (known === undefined && now - since <= this.#options.sessionTimeout) continue
      unread.push(partition)
      if (reader === undefined) continue
      foreign.set(reader, [...(known ?? []), partition])
    }
    this.#unreadSince = unreadSince
    const idle = unread.filter((partition) => !readers.has(partition))
    const ofOtherStores = this.#ofOtherStores(group)
    this.#seen = {
      foreignMembers: foreign.size,
      unread,
      reasons: this.#reasons(foreign, idle, ofOtherStores),
      otherStore: idle.length > 0 && ofOtherStores.length > 0,
    }
    observer.groupSeen(this.#seen)
  }

  /** Partitions are assigned only after every member has joined again. Each member chose when it joined how long that may take: it may be hours. */
  #rebalancing(members: readonly GroupMember[]): void {
    const { clock, groupId, clientId, observer } = this.#options
    this.#rebalancingSince ??= clock.now()
    if (clock.now() - this.#rebalancingSince <= this.#options.sessionTimeout) return
    const unknown = members.filter(({ memberId }) => memberId !== this.#options.member()?.memberId && !this.#ours.has(memberId))
    // Instances that joined after the last rebalance are recognised by their client id alone.
    const others = unknown.filter((member) => member.clientId !== clientId)
    const waitedFor = others.length > 0 ? others : unknown
    const whom = waitedFor.length === 0 ? 'a member' : clientsOf(waitedFor)
    const reason = `group ${groupId} has been rebalancing for longer than ${this.#options.sessionTimeout} ms, most likely because it waits for ${whom}: stop or restart the member that hangs; nothing is read until the rebalance is complete`
    observer.groupSeen({ ...this.#seen, reasons: [reason, ...this.#seen.reasons] })
  }

  #ofOtherStores({ members }: DescribedGroup): readonly GroupMember[] {
    return members.filter((member) => ![null, this.#options.store.id].includes(this.#storeOf(member)))
  }

  #isOurs(member: GroupMember): boolean {
    return this.#storeOf(member) === this.#options.store.id
  }

  /** The id of the store that a member sent when it joined; null: it is another program, or one that sends none. */
  #storeOf({ memberId, metadata }: GroupMember): string | null {
    if (memberId === this.#options.member()?.memberId) return this.#options.store.id
    const said = (metadata === null ? null : userDataOf(metadata))?.toString() ?? ''
    return STORE_ID.test(said) ? said : null
  }

  #partitionsOf({ kind }: DescribedGroup, { assignment, partitions }: GroupMember): readonly number[] {
    if (kind === 'consumer') return partitions
    return (assignment === null ? null : partitionsOf(assignment, this.#options.topic)) ?? []
  }

  /** @param idle partitions that no member reads */
  #reasons(foreign: ReadonlyMap<GroupMember, readonly number[]>, idle: readonly number[], ofOtherStores: readonly GroupMember[]): string[] {
    const { topic, groupId } = this.#options
    const reasons = [...foreign]
      .toSorted(([, a], [, b]) => b.length - a.length)
      .map(([member, partitions]) => {
        const advice = 'stop it, or give it a consumer group of its own'
        const who = this.#storeOf(member) === null ? 'another program' : 'a member that uses another store'
        if (partitions.length > 0)
          return `${named(partitions)} of ${topic} ${partitions.length === 1 ? 'is' : 'are'} read by ${who} in group ${groupId}, ${clientOf(member)}; records that it reads are not read here: ${advice}`
        return `another program is a member of group ${groupId}, ${clientOf(member)}; it reads no partition of ${topic} now: ${advice}`
      })
    const why =
      ofOtherStores.length === 0
        ? ''
        : `; it has members that use another store (${clientsOf(ofOtherStores)}), and partitions are assigned only to members of one store: give all instances the same store, or this one a group of its own`
    if (idle.length > 0)
      reasons.unshift(
        `${named(idle)} of ${topic} ${idle.length === 1 ? 'has' : 'have'} had no reader for longer than ${this.#options.sessionTimeout} ms: group ${groupId} has assigned ${idle.length === 1 ? 'it' : 'them'} to no member${why}`,
      )
    return reasons.length <= MOST_REASONS ? reasons : [...reasons.slice(0, MOST_REASONS), `and ${reasons.length - MOST_REASONS} more`]
  }
}

/** Why this service cannot join the group: which protocol its members use, in words; null if that is not known. */
export function usersOf(group: DescribedGroup): string | null {
  const clients = clientsOf(group.members)
  const members = clients === '' ? '' : ` (${clients})`
  // Such a group exists even without members.
  if (group.kind === 'other')
    return `it is a ${printable(group.protocol, LONGEST_NAME).toLowerCase()} group, which stays until it is deleted (kafka-groups.sh --list shows it)${members}`
  if (group.kind === 'classic' && group.protocolType !== '' && group.protocolType !== 'consumer')
    return `its members use the protocol "${printable(group.protocolType, LONGEST_NAME)}" and are not consumers${members}`
  if (clients === '') return null
  return `its members assign partitions with "${printable(group.protocol, LONGEST_NAME)}", this service with "roundrobin"${members}`
}

function clientsOf(members: readonly GroupMember[]): string {
  const more = members.length > 3 ? `, and ${members.length - 3} more` : ''
  return `${members.slice(0, 3).map(clientOf).join(', ')}${more}`
}

function clientOf({ clientId, host }: GroupMember): string {
  return `client ${printable(clientId, LONGEST_NAME)} at ${printable(host.replace(/^\//, ''), LONGEST_NAME)}`
}

function named(partitions: readonly number[]): string {
  const shown = partitions.slice(0, 20).join(', ')
  return `partition${partitions.length === 1 ? '' : 's'} ${shown}${partitions.length > 20 ? ` and ${partitions.length - 20} more` : ''}`
}
