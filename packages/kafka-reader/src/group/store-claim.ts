/**
 * Rule S5: all instances of a group count into one store, or each store would have a part. Which one that is stands in the metadata of the
 * group's committed offsets, where a newcomer reads it before it joins, whichever protocol the group uses, and also when nobody is there.
 */
import { printable } from '@poke-api-pipeline/service-kit/foreign-text'
import { KafkaError } from '../errors.ts'

/** A store, and the instance that counts into it, as their owner knows them. */
export interface StoreIdentity {
  /** 128 bits in hexadecimal, made with the store. */
  readonly id: string
  /** As its owner wrote it, without secrets: `sqlite:data/orders.db`. */
  readonly name: string
  /** Host and process of an instance: `host/123`. */
  readonly instance: string
}

export interface StoreClaim extends StoreIdentity {
  /** The place in the group of whoever wrote this. */
  readonly memberId: string
}

/** What the group has committed of a partition. */
export interface GroupOffset {
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string | null
}

export const STORE_ID = /^[0-9a-f-]{32,36}$/
/** Brokers take 4096 bytes by default (`offset.metadata.max.bytes`), and all of this is less: characters may need three bytes each. */
const LONGEST_NAME = 500
const LONGEST_OTHER = 300

/** @returns the metadata to try, the most telling first: what a broker finds too long is followed by something shorter */
export function claimMetadata({ id, name, instance, memberId }: StoreClaim): readonly string[] {
  const whole = { store: id, name: name.slice(0, LONGEST_NAME), instance: instance.slice(0, LONGEST_OTHER), member: memberId }
  return [JSON.stringify(whole), JSON.stringify({ store: id }), '']
}

/** @returns null where the metadata is none of ours: another program's, or of a version that wrote none */
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
    // Whoever may commit offsets may write it.
    name: typeof name === 'string' ? printable(name, LONGEST_NAME) : '',
    instance: typeof instance === 'string' ? printable(instance, LONGEST_OTHER) : '',
    memberId: typeof member === 'string' ? member : '',
  }
}

/**
 * The group's store: the one named by the first partition that names any, lest two instances that began at the same moment both give way.
 * @returns null where no partition names one
 */
export function storeOfGroup(offsets: ReadonlyMap<number, GroupOffset>): StoreClaim | null {
  for (const partition of [...offsets.keys()].sort((a, b) => a - b)) {
    const claim = claimOf(offsets.get(partition)?.metadata ?? null)
    if (claim !== null) return claim
  }
  return null
}

/** The group counts into another store: whoever is told so ends. */
export function anotherStore(groupId: string, own: StoreIdentity, groups: StoreIdentity): KafkaError {
  const named = groups.name === '' ? `the store with the id ${groups.id}` : groups.name
  const by = groups.instance === '' ? '' : ` (${groups.instance} counts or counted into it)`
  const other = own.name === groups.name ? `${own.name} too, but into another one of this name, made anew or in another folder` : own.name
  return new KafkaError(
    'two-stores',
    `group ${groupId} counts into ${named}${by}, and this instance (${own.instance}) would count into ${other}: each would have a part. Set STORE_URL to the group's store, or give this instance a KAFKA_GROUP_ID of its own. To count into ${own.name} from now on, end all instances of the group and run poke-api-consumer take-group`,
  )
}
