/** Copies the store's positions to the Kafka group, so that every tool that shows lag works. Nobody here reads them again. */
import type { Cluster, Member, Positions } from './cluster.ts'

export interface OffsetMirrorOptions {
  readonly cluster: Pick<Cluster, 'mirror'>
  /** Brokers take offsets from members alone. */
  readonly member: () => Member | null
  readonly positions: () => Positions
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** In ms. */
const INTERVAL = 1000

export class OffsetMirror {
  readonly #options: OffsetMirrorOptions
  /** What the group has, as far as this member wrote it. */
  readonly #mirrored = new Map<number, number>()

  constructor(options: OffsetMirrorOptions) {
    this.#options = options
  }

  /** Mirrors what moved, until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { wait, positions } = this.#options
    while (!signal.aborted) {
      await wait(INTERVAL, signal)
      if (!signal.aborted) await this.write(positions())
    }
  }

  /**
   * Fire and forget: what keeps Kafka from answering is told by those who need the answer, and a second later there is another attempt.
   * @returns whether the group has all of these positions now
   */
  async write(positions: Positions): Promise<boolean> {
    const { cluster, member } = this.#options
    const moved = new Map([...positions].filter(([partition, { offset }]) => this.#mirrored.get(partition) !== offset))
    const self = member()
    if (moved.size === 0 || self === null) return moved.size === 0
    try {
      if (!(await cluster.mirror(self, moved))) return false
    } catch {
      return false
    }
    for (const [partition, { offset }] of moved) this.#mirrored.set(partition, offset)
    return true
  }
}
