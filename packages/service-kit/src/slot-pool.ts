/** A bounded pool of slots that clients share fairly: a client that wants all of them takes none from a client that has fewer. */

/** An object that occupies a slot. */
export interface SlotHolder {
  /** The client that it belongs to. */
  readonly client: string
}

export class SlotPool<Holder extends SlotHolder> {
  /** How many slots there are. */
  readonly size: number
  /** By client, the oldest first. */
  readonly #holders = new Map<string, Set<Holder>>()
  #used = 0

  /** @param size how many slots there are, at least one */
  constructor(size: number) {
    this.size = size
  }

  /** How many slots are occupied. */
  get used(): number {
    return this.#used
  }

  /** How many slots this client occupies. */
  usedBy(client: string): number {
    return this.#holders.get(client)?.size ?? 0
  }

  /** Whether this client may occupy one slot more without exceeding its share: a slot is free, or another client would still have as many slots as it. */
  hasShareFor(client: string): boolean {
    return this.#used < this.size || this.#largest().size > this.usedBy(client) + 1
  }

  /**
   * Occupies a slot.
   * @returns the holder that was evicted for it: the oldest one of the client with the most slots; null where a slot was free
   */
  acquire(holder: Holder): Holder | null {
    const [evicted = null] = this.#used < this.size ? [] : this.#largest()
    if (evicted !== null) this.release(evicted)
    const own = this.#holders.get(holder.client)
    if (own === undefined) this.#holders.set(holder.client, new Set([holder]))
    else own.add(holder)
    this.#used++
    return evicted
  }

  /** Frees the holder's slot. Does nothing where it has none. */
  release(holder: Holder): void {
    const own = this.#holders.get(holder.client)
    if (own?.delete(holder) !== true) return
    if (own.size === 0) this.#holders.delete(holder.client)
    this.#used--
  }

  *[Symbol.iterator](): IterableIterator<Holder> {
    for (const holders of this.#holders.values()) yield* holders
  }

  #largest(): Set<Holder> {
    let largest = new Set<Holder>()
    for (const holders of this.#holders.values()) if (holders.size > largest.size) largest = holders
    return largest
  }
}
