/**
 * Rule S5: all instances of a group keep their positions in one store; otherwise each store would have only a part of the results. The metadata of the group's
 * committed offsets names the store. A new instance reads it before it joins, whichever protocol the group uses, and also if it has no members.
 */
import { printable } from '@poke-api-pipeline/service-kit/foreign-text'
import { KafkaError } from '../errors.ts'

/** A store and the instance that uses it. */
export interface StoreIdentity {
  /** 128 bits in hexadecimal, chosen when the store was created. */
  readonly id: string
  /** As the settings have it, without secrets: `sqlite:data/orders.db`. */
  readonly name: string
  /** Host and process id: `host/123`. */
  readonly instance: string
}

export interface StoreClaim extends StoreIdentity {
  /** The member that committed this. */
  readonly memberId: string
}

/** What the group has committed for a partition. */
export interface GroupOffset {
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string | null
}

export const STORE_ID = /^[0-9a-f-]{32,36}$/
/** Brokers accept 4096 bytes by default (`offset.metadata.max.bytes`). With these limits a claim is shorter, even if each character has three bytes. */
const LONGEST_NAME = 500
const LONGEST_OTHER = 300

/** @returns the metadata to commit, the most complete first: where a broker refuses one as too long, the next shorter one is committed */
export function claimMetadata({ id, name, instance, memberId }: StoreClaim): readonly string[] {
  const whole = { store: id, name: name.slice(0, LONGEST_NAME), instance: instance.slice(0, LONGEST_OTHER), member: memberId }
  return [JSON.stringify(whole), JSON.stringify({ store: id }), '']
}

/** @returns null if the metadata is another program's, or of a version that wrote none */
export function claimOf(metadata: string | null): StoreClaim | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(metadata ?? '')
  } catch {
    return null
  }
  if (typeof parsed !== 'object' || parsed === null) return null
  const { store, name, instance, member } = parsed as Record<string, unknown>
  if (typeof store !== 'string' || !STORE_ID.test(store)) return null
  return {
    id: store,
    // Any program that may commit offsets can have written it.
    name: typeof name === 'string' ? printable(name, LONGEST_NAME) : '',
    instance: typeof instance === 'string' ? printable(instance, LONGEST_OTHER) : '',
    memberId: typeof member === 'string' ? member : '',
  }
}

/**
 * The group's store: the first one that a partition names, by partition number. Two instances that started at the same moment find the same one.
 * @returns null if no partition names one
 */
export function storeOfGroup(offsets: ReadonlyMap<number, GroupOffset>): StoreClaim | null {
  for (const partition of [...offsets.keys()].sort((a, b) => a - b)) {
    const claim = claimOf(offsets.get(partition)?.metadata ?? null)
    if (claim !== null) return claim
  }
  return null
}

/** The error with which an instance ends if the group uses another store. */
export function anotherStore(groupId: string, own: StoreIdentity, groups: StoreIdentity): KafkaError {
  const named = groups.name === '' ? `the store with the id ${groups.id}` : groups.name
  const by = groups.instance === '' ? '' : ` (used by ${groups.instance})`
  const other = own.name === groups.name ? `another store named ${own.name}, which was created anew or is in another folder` : own.name
  return new KafkaError(
    'two-stores',
    `group ${groupId} keeps its positions in ${named}${by}, but this instance (${own.instance}) would keep them in ${other}: each store would have only a part of the results. Give this instance the group's store, or a group of its own. To use ${own.name} from now on, stop all instances of the group, and then change the store that the group's offsets name`,
  )
}
