/** When a failed attempt is retried: after the delay that the API asks for, otherwise after one that doubles with each attempt and is random by half. */
import { backOffDelay, type Clock } from '@poke-api-pipeline/service-kit'
import type { RetryHandler } from 'undici'
import type { ExchangeOptions } from './exchange.ts'
import { FailedAttempt } from './failed-attempt.ts'

export interface RetryPolicyOptions {
  /** Most attempts at one request. */
  readonly maxAttempts: number
  readonly clock: Pick<Clock, 'wait' | 'random'>
  /** Called with the ms for which the API asks to get no requests. */
  readonly pauseFor: (ms: number) => void
}

/** The first delay, and the longest that this policy chooses by itself, in ms. */
const FIRST_DELAY = 500
const LONGEST_DELAY = 8000
/** No Retry-After is obeyed for longer than this, in ms: a wrong clock of the API must not stop capturing. */
const LONGEST_RETRY_AFTER = 60_000

/** For undici's `retry` interceptor, which counts and repeats. */
export function retryPolicy(options: RetryPolicyOptions): RetryHandler.RetryCallback {
  return (error, { state, opts }, resume) => {
    if (!(error instanceof FailedAttempt && error.retry && state.counter < options.maxAttempts)) return resume(error)
    const { signal } = opts as ExchangeOptions
    void options.clock.wait(delayBefore(error, state.counter, options), signal).then(() => resume(signal.aborted ? signal.reason : null))
  }
}

/** @param attempts how many have failed, this one included */
function delayBefore({ retryAfter }: FailedAttempt, attempts: number, { clock, pauseFor }: RetryPolicyOptions): number {
  if (retryAfter === null) return backOffDelay(attempts - 1, { first: FIRST_DELAY, longest: LONGEST_DELAY, clock })
  const asked = Math.min(retryAfter, LONGEST_RETRY_AFTER)
  pauseFor(asked)
  // A little more at random, so that not all clients that were sent away come back at the same moment.
  return asked + (clock.random() * FIRST_DELAY) / 2
}
