/**
 * Copies the store's positions to the Kafka group, so that tools that show lag work. Reading never continues from these copies. Each one also names
 * the store, and every new member reads that name (rule S5).
 */
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { Cluster, Member, Positions } from '../brokers/cluster.ts'
import { claimMetadata, claimOf, type GroupOffset, type StoreIdentity } from './store-claim.ts'

export interface OffsetMirrorObserver {
  /**
   * The group's offset differs from the position at which the partition was opened. If it is ahead, the store was replaced by an older or an empty
   * one, on purpose or not (rule S5). If it is behind, another program set it back, as operators do to have records read again. Reading continues
   * from the store's position.
   */
  mirrorDiffers(partition: number, mirrored: number, position: number): void
}

export interface OffsetMirrorOptions {
  readonly cluster: Pick<Cluster, 'commitOffsets' | 'committedOffsets'>
  readonly groupId: string
  readonly store: StoreIdentity
  readonly observer: OffsetMirrorObserver
  /** This member; null while it is not one. Brokers accept offsets only from members of the group. */
  readonly member: () => Member | null
  readonly positions: () => Positions
  /** The store's position when a partition was opened. The present position can have passed the group's offset before they are compared. */
  readonly openedOffset: (partition: number) => number | null
  readonly crashPoint?: (point: 'mirrored') => void
  readonly clock: Clock
}

/** Time between two commits, in ms. */
const INTERVAL = 1000

export class OffsetMirror {
  readonly #options: OffsetMirrorOptions
  /** The offsets that this instance committed, and as which member, by partition. */
  readonly #mirrored = new Map<number, { readonly offset: number; readonly memberId: string }>()
  readonly #compared = new Set<number>()

  constructor(options: OffsetMirrorOptions) {
    this.#options = options
  }

  /** Commits the positions that have moved, once a second, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, positions } = this.#options
    while (!signal.aborted) {
      await clock.wait(INTERVAL, signal)
      if (!signal.aborted) await this.write(positions())
    }
  }

  /**
   * Commits the positions that have moved. A failure is not reported: `run` tries again a second later, and the parts that depend on Kafka report it.
   * @returns whether the group has all of these positions now
   */
  async write(positions: Positions): Promise<boolean> {
    const { cluster, member, store } = this.#options
    await this.#compare(positions)
    // A partition that is not read here any more is committed by its new reader.
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

  /** Compares the group's offset of each partition once, before it is overwritten for the first time. */
  async #compare(positions: Positions): Promise<void> {
    const { cluster, groupId, observer, openedOffset } = this.#options
    const unknown = [...positions.keys()].filter((partition) => !this.#compared.has(partition))
    if (unknown.length === 0) return
    let mirrored: ReadonlyMap<number, GroupOffset>
    try {
      mirrored = await cluster.committedOffsets(groupId, unknown)
    } catch {
      // The comparison is made with the next write. The parts that depend on Kafka report that it does not answer.
      return
    }
    for (const partition of unknown) {
      this.#compared.add(partition)
      const offset = openedOffset(partition) ?? positions.get(partition)?.offset ?? 0
      const found = mirrored.get(partition)
      if (found === undefined || found.offset === offset) continue
      // An offset behind the position is normal if this program committed it: it can have ended between storing and mirroring.
      if (found.offset > offset || claimOf(found.metadata) === null) observer.mirrorDiffers(partition, found.offset, offset)
    }
  }
}
