/** A lock for work that runs over several awaits: one holder at a time, in the order of asking. */
export class FairLock {
  #isHeld = false
  readonly #waiting: (() => void)[] = []

  /** Takes the lock if it is free. Without an await, so that work begins at once where nobody holds it. @returns whether it was free */
  tryAcquire(): boolean {
    if (this.#isHeld) return false
    this.#isHeld = true
    return true
  }

  /** Resolves when the caller holds the lock. Call it when `tryAcquire` has returned false. */
  async acquire(): Promise<void> {
    const acquired = Promise.withResolvers<void>()
    this.#waiting.push(acquired.resolve)
    await acquired.promise
  }

  /** Hands the lock to the first caller that waits in `acquire`; nobody else can take it in between. */
  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isHeld = false
    else next()
  }
}
