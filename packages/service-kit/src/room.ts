/** A bounded number of places that clients share: one that wants all of them keeps nobody else out. */

/** What takes a place. */
export interface Guest {
  /** Whose it is: guests of one client share what it gets. */
  readonly client: string
}

export class Room<Item extends Guest> {
  readonly #places: number
  /** Oldest first, of each client. */
  readonly #guests = new Map<string, Set<Item>>()
  #taken = 0

  /** @param places how many guests there can be at once, at least one */
  constructor(places: number) {
    this.#places = places
  }

  get places(): number {
    return this.#places
  }

  /** How many guests there are. */
  get taken(): number {
    return this.#taken
  }

  /** How many of them are this client's. */
  takenBy(client: string): number {
    return this.#guests.get(client)?.size ?? 0
  }

  /** Whether this client may have one more without going beyond its share: a place is free, or another client would still have as many as it has then. */
  hasShareFor(client: string): boolean {
    return this.#taken < this.#places || this.#largest().size > this.takenBy(client) + 1
  }

  /**
   * Takes a place.
   * @returns who lost its place for it: the oldest guest of the client that has the most; null where a place was free
   */
  enter(guest: Item): Item | null {
    const [loser = null] = this.#taken < this.#places ? [] : this.#largest()
    if (loser !== null) this.leave(loser)
    const own = this.#guests.get(guest.client)
    if (own === undefined) this.#guests.set(guest.client, new Set([guest]))
    else own.add(guest)
    this.#taken++
    return loser
  }

  /** Gives its place back. Nothing happens where it has none. */
  leave(guest: Item): void {
    const own = this.#guests.get(guest.client)
    if (own?.delete(guest) !== true) return
    if (own.size === 0) this.#guests.delete(guest.client)
    this.#taken--
  }

  *[Symbol.iterator](): IterableIterator<Item> {
    for (const guests of this.#guests.values()) yield* guests
  }

  #largest(): Set<Item> {
    let largest = new Set<Item>()
    for (const guests of this.#guests.values()) if (guests.size > largest.size) largest = guests
    return largest
  }
}
