/**
 * Knows, batch by batch, which producers' transactional records are of aborted transactions (KIP-98): the broker names the aborted
 * transactions that reach into a response, each by its producer and first offset, and its producer's abort marker ends it. Rule F4.
 */

/** Producer ids have 64 bits: two halves, because a number would not tell all of them apart. */
interface Transaction {
  readonly producerHigh: number
  readonly producerLow: number
  readonly firstOffset: number
}

export class AbortedTransactions {
  /** By first offset. */
  readonly #transactions: readonly Transaction[]
  /** How many of them began at or before the batch seen last. */
  #begun = 0
  /** The producers whose transaction began and whose abort marker was not seen yet, by both halves: there may be very many. */
  readonly #open = new Map<number, Set<number>>()

  constructor(transactions: readonly Transaction[] = []) {
    this.#transactions = transactions.toSorted((a, b) => a.firstOffset - b.firstOffset)
  }

  /** Begins the walk anew. */
  restart(): this {
    this.#begun = 0
    if (this.#open.size > 0) this.#open.clear()
    return this
  }

  /** Goes on to the batch that ends at `lastOffset`; whether its producer has an aborted transaction open. */
  covers(producerHigh: number, producerLow: number, lastOffset: number): boolean {
    while (this.#begun < this.#transactions.length) {
      const { producerHigh: high, producerLow: low, firstOffset } = this.#transactions[this.#begun] as Transaction
      if (firstOffset > lastOffset) break
      const lows = this.#open.get(high)
      if (lows === undefined) this.#open.set(high, new Set([low]))
      else lows.add(low)
      this.#begun++
    }
    return this.#open.get(producerHigh)?.has(producerLow) === true
  }

  /** The producer's abort marker was met. */
  end(producerHigh: number, producerLow: number): void {
    this.#open.get(producerHigh)?.delete(producerLow)
  }
}

export const NONE_ABORTED = new AbortedTransactions()
