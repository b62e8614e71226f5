/** Lets a loop sleep until something it looks at may have changed: it looks again after each `notify`. */
export class Changes {
  #waiting: (() => void)[] = []

  /** Resolves at the next `notify`. Look first, then wait, with nothing in between. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  notify(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
