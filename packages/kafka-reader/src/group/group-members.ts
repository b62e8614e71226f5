/**
 * Looks at who is in the group besides the instances of this service, and which partitions nobody of them reads: records of these are not
 * counted, and nothing else would say so. A partition that the group gave to another program is left to it, as the group's protocol has it, and
 * named (rule M3); when that program has gone, the group gives the partition to an instance again.
 */
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { printable } from '@poke-api-pipeline/service-kit/foreign-text'
import type { Cluster, DescribedGroup, GroupMember, Member } from '../brokers/cluster.ts'
import { KafkaError } from '../errors.ts'
import { partitionsOf, userDataOf } from './consumer-protocol.ts'
import { claimOf, STORE_ID, type StoreIdentity } from './store-claim.ts'

/** What is not as it should be in the group; nothing where all is well. */
export interface GroupView {
  /** Members that are other programs. */
  readonly foreignMembers: number
  /** Partitions of the topic that no instance of this service reads: another program does, or nobody for longer than a session. */
  readonly unread: readonly number[]
  /** Says all of it, a sentence each, for people. */
  readonly reasons: readonly string[]
}

export interface GroupMembersObserver {
  /** The group was looked at. */
  groupSeen(view: GroupView): void
}

export interface GroupMembersOptions {
  readonly cluster: Pick<Cluster, 'describeGroup' | 'committedOffsets'>
  readonly groupId: string
  readonly topic: string
  readonly clientId: string
  readonly store: Pick<StoreIdentity, 'id'>
  readonly sessionTimeout?: number
  /** How many the topic has. */
  readonly partitions: () => number
  /** This instance's place in the group; null where it has none now. */
  readonly member: () => Member | null
  readonly failures: FailureTracker
  readonly observer: GroupMembersObserver
  readonly clock: Clock
}

/** In ms. */
const POLL_INTERVAL = 3000
const SESSION_TIMEOUT = 10_000
const PART = 'the members of the group'
/** Sentences; a group may have thousands of members. */
const MOST_REASONS = 10
const LONGEST_NAME = 100

/** Another program in the group. */
interface Foreign {
  readonly member: GroupMember
  readonly partitions: number[]
}

export class GroupMembers {
  readonly #options: GroupMembersOptions
  /** Since when each partition has had no reader of this service. */
  #unreadSince: ReadonlyMap<number, number> = new Map()
  /** Since when the group has not settled; null: it has. */
  #unsettledSince: number | null = null
  /** Instances of this service, by their place in the group, as it was settled last: until it settles again, members say nothing of themselves. */
  #ours: ReadonlySet<string> = new Set()
  #seen: GroupView = { foreignMembers: 0, unread: [], reasons: [] }

  constructor(options: GroupMembersOptions) {
    this.#options = options
  }

  /** Polls until the signal is aborted. @throws KafkaError where trying again cannot help */
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

  /** Describes the group once and reports it. A rebalance under way is reported only where it takes too long. */
  async poll(): Promise<void> {
    const { cluster, groupId, observer, partitions } = this.#options
    const group = await cluster.describeGroup(groupId)
    if (!group.settled) return this.#unsettled(group.members)
    this.#unsettledSince = null
    const all = Array.from({ length: partitions() }, (_, partition) => partition)
    // Members of a group of the newer protocol say nothing of themselves; but each of ours commits who it is with its offsets.
    const claims = group.kind === 'consumer' ? await cluster.committedOffsets(groupId, all) : new Map()
    const readers = new Map<number, GroupMember>()
    for (const member of group.members) for (const partition of this.#partitionsOf(group, member)) readers.set(partition, member)
    const now = this.#options.clock.now()
    const unreadSince = new Map<number, number>()
    const foreign = new Map<GroupMember, Foreign>()
    if (group.kind !== 'consumer') {
      for (const member of group.members) if (this.#storeOf(member) === null) foreign.set(member, { member, partitions: [] })
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
      // Whoever is known at once is named at once; one of ours may not have committed anything yet, or not have joined.
      if (known === undefined && now - since <= this.#session) continue
      unread.push(partition)
      if (reader === undefined) continue
      const other = known ?? { member: reader, partitions: [] }
      foreign.set(reader, other)
      other.partitions.push(partition)
    }
    this.#unreadSince = unreadSince
    this.#seen = {
      foreignMembers: foreign.size,
      unread,
      reasons: this.#reasons([...foreign.values()], unread, readers, this.#ofOtherStores(group)),
    }
    observer.groupSeen(this.#seen)
  }

  /** Every member must join again before anybody is handed anything, and each may take as long as it said when it joined: hours, if it wants. */
  #unsettled(members: readonly GroupMember[]): void {
    const { clock, groupId, clientId, observer } = this.#options
    this.#unsettledSince ??= clock.now()
    if (clock.now() - this.#unsettledSince <= this.#session) return
    const unknown = members.filter(({ memberId }) => memberId !== this.#options.member()?.memberId && !this.#ours.has(memberId))
    // Instances that have joined since are most likely what they are called.
    const others = unknown.filter((member) => member.clientId !== clientId)
    const waitedFor = others.length > 0 ? others : unknown
    const whom = waitedFor.length === 0 ? 'its members' : clientsOf(waitedFor)
    const reason = `group ${groupId} has been handing out its partitions for longer than ${this.#session} ms, and most likely waits for ${whom}: end or restart whoever hangs; nothing is counted until the group has settled`
    observer.groupSeen({ ...this.#seen, reasons: [reason, ...this.#seen.reasons] })
  }

  #ofOtherStores({ members }: DescribedGroup): readonly GroupMember[] {
    return members.filter((member) => ![null, this.#options.store.id].includes(this.#storeOf(member)))
  }

  get #session(): number {
    return this.#options.sessionTimeout ?? SESSION_TIMEOUT
  }

  #isOurs(member: GroupMember): boolean {
    return this.#storeOf(member) === this.#options.store.id
  }

  /** The store that a member says it counts into; null: it is another program, or none that says so. */
  #storeOf({ memberId, metadata }: GroupMember): string | null {
    if (memberId === this.#options.member()?.memberId) return this.#options.store.id
    const said = (metadata === null ? null : userDataOf(metadata))?.toString() ?? ''
    return STORE_ID.test(said) ? said : null
  }

  #partitionsOf({ kind }: DescribedGroup, { assignment, partitions }: GroupMember): readonly number[] {
    if (kind === 'consumer') return partitions
    return (assignment === null ? null : partitionsOf(assignment, this.#options.topic)) ?? []
  }

  #reasons(
    foreign: readonly Foreign[],
    unread: readonly number[],
    readers: ReadonlyMap<number, GroupMember>,
    ofOtherStores: readonly GroupMember[],
  ): string[] {
    const { topic, groupId } = this.#options
    const idle = unread.filter((partition) => !readers.has(partition))
    const reasons = foreign
      .toSorted((a, b) => b.partitions.length - a.partitions.length)
      .map(({ member, partitions }) => {
        const advice = 'end it, or give it a group of its own'
        const who = this.#storeOf(member) === null ? 'a program that is not this one' : 'a member that counts into another store'
        if (partitions.length > 0)
          return `${named(partitions)} of ${topic} ${partitions.length === 1 ? 'is' : 'are'} read by ${who}: ${clientOf(member)}, in the same group ${groupId}; what it reads is not counted: ${advice}`
        return `a program that is not this one is in group ${groupId}: ${clientOf(member)}; it reads nothing of ${topic} now: ${advice}`
      })
    const why =
      ofOtherStores.length === 0
        ? ''
        : `; it has members that count into another store (${clientsOf(ofOtherStores)}), and partitions are for members of one store alone: give all the same STORE_URL, or this instance a KAFKA_GROUP_ID of its own`
    if (idle.length > 0)
      reasons.unshift(
        `${named(idle)} of ${topic} ${idle.length === 1 ? 'has' : 'have'} been read by nobody for longer than ${this.#session} ms: group ${groupId} has given ${idle.length === 1 ? 'it' : 'them'} to no member${why}`,
      )
    return reasons.length <= MOST_REASONS ? reasons : [...reasons.slice(0, MOST_REASONS), `and ${reasons.length - MOST_REASONS} more`]
  }
}

/** Whoever uses the group with a protocol that keeps this service out, in words; null where that is not known. */
export function usersOf(group: DescribedGroup): string | null {
  const clients = clientsOf(group.members)
  const members = clients === '' ? '' : ` (${clients})`
  // Such a group is there whether or not anybody is in it.
  if (group.kind === 'other')
    return `it is a ${printable(group.protocol, LONGEST_NAME).toLowerCase()} group, which stays until it is deleted (kafka-groups.sh --list shows it)${members}`
  if (group.kind === 'classic' && group.protocolType !== '' && group.protocolType !== 'consumer')
    return `its members speak the protocol "${printable(group.protocolType, LONGEST_NAME)}" and are no consumers${members}`
  if (clients === '') return null
  return `its members hand out partitions by "${printable(group.protocol, LONGEST_NAME)}", this service by "roundrobin"${members}`
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
