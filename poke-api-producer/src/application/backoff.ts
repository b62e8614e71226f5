/** How long to wait before something is tried once more: twice as long each time, half of it at random, so that many do not come back at once. */
export class Backoff {
  readonly #first: number
  readonly #longest: number
  readonly #random: () => number
  #failures = 0

  /**
   * @param first and
   * @param longest in ms
   * @param random uniform in [0, 1)
   */
  constructor(first: number, longest: number, random: () => number) {
    this.#first = first
    this.#longest = longest
    this.#random = random
  }

  /** After a failure: the ms to wait. */
  next(): number {
    const delay = Math.min(this.#first * 2 ** this.#failures, this.#longest)
    this.#failures++
    return delay * (0.5 + this.#random() / 2)
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0
  }
}
