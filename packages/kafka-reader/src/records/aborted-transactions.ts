/**
 * Finds the batches that belong to aborted transactions (KIP-98, rule F4). The broker lists the aborted transactions of a response, each with its
 * producer and first offset. A transaction ends at the abort marker of its producer.
 */

/** A producer id has 64 bits. It is kept as two halves, because a number cannot represent all of them exactly. */
interface Transaction {
  readonly producerHigh: number
  readonly producerLow: number
  readonly firstOffset: number
}

export class AbortedTransactions {
  /** By first offset. */
  readonly #transactions: readonly Transaction[]
  /** The number of transactions that began at or before the last batch. */
  #begun = 0
  /** Producers with an open aborted transaction, by both halves of their ids: sets, because there may be very many. */
  readonly #open = new Map<number, Set<number>>()

  constructor(transactions: readonly Transaction[] = []) {
    this.#transactions = transactions.toSorted((a, b) => a.firstOffset - b.firstOffset)
  }

  /** Prepares for another walk from the first batch. */
  restart(): this {
    this.#begun = 0
    if (this.#open.size > 0) this.#open.clear()
    return this
  }

  /** Moves to the batch that ends at `lastOffset`. @returns whether its producer has an open aborted transaction */
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

  /** Call this at the producer's abort marker. */
  end(producerHigh: number, producerLow: number): void {
    this.#open.get(producerHigh)?.delete(producerLow)
  }
}

export const NONE_ABORTED = new AbortedTransactions()
