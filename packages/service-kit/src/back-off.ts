/** How long to wait before the next attempt: twice as long after each failure, half of it random so that many instances do not retry at the same moment. */
import type { Clock } from './clock.ts'

export interface BackOffOptions {
  /** In ms. */
  readonly first: number
  readonly longest: number
  readonly clock: Pick<Clock, 'random'>
}

/** @param failures in a row before this one @returns how many ms to wait */
export function backOffDelay(failures: number, { first, longest, clock }: BackOffOptions): number {
  return Math.min(first * 2 ** Math.min(failures, 30), longest) * (0.5 + clock.random() / 2)
}

export class BackOff {
  readonly #options: BackOffOptions
  #failures = 0

  constructor(options: BackOffOptions) {
    this.#options = options
  }

  /** After a failure: how many ms to wait. */
  next(): number {
    return backOffDelay(this.#failures++, this.#options)
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0
  }
}
