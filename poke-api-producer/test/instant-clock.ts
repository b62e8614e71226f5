/** A clock on which every wait is over at once, and has taken its time all the same: what would take minutes is tested in moments. */
import { setImmediate as nextTurn } from 'node:timers/promises'

export class InstantClock {
  /** Every wait that was asked for, in ms. */
  readonly waits: number[] = []
  #now: number

  /** @param now ms since the epoch */
  constructor(now = Date.parse('2026-01-02T03:04:05.678Z')) {
    this.#now = now
  }

  readonly now = (): number => this.#now

  readonly wait = async (ms: number, signal: AbortSignal): Promise<void> => {
    this.waits.push(ms)
    await nextTurn()
    if (!signal.aborted) this.#now += ms
  }
}
