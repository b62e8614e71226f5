/** Something that one at a time may do, over any number of waits: who asks meanwhile is next, in the order of asking. */
export class Turns {
  #taken = false
  readonly #waiting: (() => void)[] = []

  /** Whether somebody has it now: then `turn` is to be waited for before `take`. */
  get taken(): boolean {
    return this.#taken
  }

  /** Resolves when it is free for whoever asked; nobody else gets it in between. */
  async turn(): Promise<void> {
    const free = Promise.withResolvers<void>()
    this.#waiting.push(free.resolve)
    await free.promise
  }

  take(): void {
    this.#taken = true
  }

  /** Hands it on. */
  end(): void {
    const next = this.#waiting.shift()
    // It stays taken for the one who waited.
    if (next === undefined) this.#taken = false
    else next()
  }
}
