/** How long to wait before something is tried again: longer each time, half of it at random, so that many instances do not knock at once. */

export interface BackOffOptions {
  /** In ms. */
  readonly first: number
  readonly longest: number
  /** Uniform in [0, 1). */
  readonly random: () => number
}

export class BackOff {
  readonly #options: BackOffOptions
  #failures = 0

  constructor(options: BackOffOptions) {
    this.#options = options
  }

  /** It failed once more: how many ms to wait. */
  next(): number {
    const { first, longest, random } = this.#options
    return Math.min(first * 2 ** Math.min(this.#failures++, 30), longest) * (0.5 + random() / 2)
  }

  /** It went well. */
  reset(): void {
    this.#failures = 0
  }
}
