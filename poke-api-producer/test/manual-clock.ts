/** A clock that stands still until a test waits for something: then it goes from one sleeper's time to the next, so that hours pass at once. */
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Turns of the event loop in which everything that needs no time comes to rest. */
const TURNS = 8
/** Waking more sleepers than this, a condition will never hold. */
const MOST_WAKES = 2000

interface Sleeper {
  readonly at: number
  wake(): void
}

export class ManualClock {
  #now = 0
  #sleepers: Sleeper[] = []

  readonly now = (): number => this.#now

  readonly wait = (ms: number, signal: AbortSignal): Promise<void> => {
    assert.ok(ms >= 0, `a wait of ${ms} ms: the process would warn of it among its log`)
    if (signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const sleeper = { at: this.#now + ms, wake: () => this.#wake(sleeper, resolve) }
      signal.addEventListener('abort', sleeper.wake, { once: true })
      this.#sleepers.push(sleeper)
    })
  }

  /** Lets time pass until the condition holds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (let wakes = 0; wakes < MOST_WAKES; wakes++) {
      for (let turn = 0; turn < TURNS; turn++) {
        if (condition()) return
        await nextTurn()
      }
      this.#toNext()
    }
    assert.fail(`waited in vain for: ${what}`)
  }

  /** Lets that much time pass. Code that waits for a moment within it runs before it is over. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.rest()
    while (this.#sleepers.some(({ at }) => at <= end)) {
      this.#toNext()
      await this.rest()
    }
    this.#now = end
  }

  /** Lets everything come to rest without time passing. */
  async rest(): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) await nextTurn()
  }

  /** Everyone whose time comes next wakes together. */
  #toNext(): void {
    if (this.#sleepers.length === 0) return
    const next = Math.min(...this.#sleepers.map(({ at }) => at))
    this.#now = Math.max(this.#now, next)
    for (const sleeper of this.#sleepers.filter(({ at }) => at === next)) sleeper.wake()
  }

  #wake(sleeper: Sleeper, resolve: () => void): void {
    this.#sleepers = this.#sleepers.filter((each) => each !== sleeper)
    resolve()
  }
}
