/**
 * Copies the store's positions to the Kafka group, so that every tool that shows lag works. Nobody here goes on from them again; but with each
 * of them goes which store they are of, which every newcomer reads (rule S5).
 */
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { Cluster, Member, Positions } from '../brokers/cluster.ts'
import { claimMetadata, claimOf, type GroupOffset, type StoreIdentity } from './store-claim.ts'

export interface OffsetMirrorObserver {
  /**
   * When the partition was opened, the group's offset was ahead of the store's position: the store was replaced by an older or an empty one,
   * on purpose or not (rule S5). Or another program had set it further back, as operators do who want records counted again. Counting goes on
   * from the store.
   */
  mirrorDiffers(partition: number, mirrored: number, position: number): void
}

export interface OffsetMirrorOptions {
  readonly cluster: Pick<Cluster, 'commitOffsets' | 'committedOffsets'>
  readonly groupId: string
  readonly store: StoreIdentity
  readonly observer: OffsetMirrorObserver
  /** Brokers take offsets from members alone. */
  readonly member: () => Member | null
  readonly positions: () => Positions
  /** The store's position when a partition was opened; by the first comparison it may have caught up. */
  readonly openedOffset: (partition: number) => number | null
  readonly crashPoint?: (point: 'mirrored') => void
  readonly clock: Clock
}

/** In ms. */
const INTERVAL = 1000

export class OffsetMirror {
  readonly #options: OffsetMirrorOptions
  /** What the group has, as far as this member wrote it: of each partition that is read here the offset, and the place in the group it is of. */
  readonly #mirrored = new Map<number, { readonly offset: number; readonly memberId: string }>()
  readonly #compared = new Set<number>()

  constructor(options: OffsetMirrorOptions) {
    this.#options = options
  }

  /** Mirrors what moved, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, positions } = this.#options
    while (!signal.aborted) {
      await clock.wait(INTERVAL, signal)
      if (!signal.aborted) await this.write(positions())
    }
  }

  /**
   * Fire and forget: what keeps Kafka from answering is told by those who need the answer, and a second later there is another attempt.
   * @returns whether the group has all of these positions now
   */
  async write(positions: Positions): Promise<boolean> {
    const { cluster, member, store } = this.#options
    await this.#compare(positions)
    // Whoever reads a partition meanwhile says so in its place.
    for (const partition of this.#mirrored.keys()) if (!positions.has(partition)) this.#mirrored.delete(partition)
    const self = member()
    const moved = new Map([...positions].filter(([partition, { offset }]) => !this.#isMirrored(partition, offset, self)))
    if (moved.size === 0 || self === null) return moved.size === 0
    try {
      if (!(await cluster.commitOffsets(self, moved, claimMetadata({ ...store, memberId: self.memberId })))) return false
    } catch {
      return false
    }
    const { memberId } = self
    for (const [partition, { offset }] of moved) this.#mirrored.set(partition, { offset, memberId })
    this.#options.crashPoint?.('mirrored')
    return true
  }

  #isMirrored(partition: number, offset: number, self: Member | null): boolean {
    const mirrored = this.#mirrored.get(partition)
    return mirrored?.offset === offset && (self === null || mirrored.memberId === self.memberId)
  }

  /** Looks once at what the group has of each partition, before the first of its positions is written over it. */
  async #compare(positions: Positions): Promise<void> {
    const { cluster, groupId, observer, openedOffset } = this.#options
    const unknown = [...positions.keys()].filter((partition) => !this.#compared.has(partition))
    if (unknown.length === 0) return
    let mirrored: ReadonlyMap<number, GroupOffset>
    try {
      mirrored = await cluster.committedOffsets(groupId, unknown)
    } catch {
      // A report, not a duty: whoever needs Kafka says that it is away.
      return
    }
    for (const partition of unknown) {
      this.#compared.add(partition)
      const offset = openedOffset(partition) ?? positions.get(partition)?.offset ?? 0
      const found = mirrored.get(partition)
      if (found === undefined || found.offset === offset) continue
      // This service itself may have died before it mirrored what it had counted.
      if (found.offset > offset || claimOf(found.metadata) === null) observer.mirrorDiffers(partition, found.offset, offset)
    }
  }
}
