/** A clock on which every wait is over at once, and has taken its time all the same: what would take minutes is tested in moments. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '@poke-api-pipeline/service-kit'

export class InstantClock implements Clock {
  /** Every wait that was asked for, in ms. */
  readonly waits: number[] = []
  #now: number

  readonly random: () => number

  constructor({ start = Date.parse('2026-01-02T03:04:05.678Z'), random = (): number => 0.5 } = {}) {
    this.#now = start
    this.random = random
  }

  readonly now = (): number => this.#now

  readonly wait = async (ms: number, signal: AbortSignal): Promise<void> => {
    this.waits.push(ms)
    await nextTurn()
    if (!signal.aborted) this.#now += ms
  }
}
