/** When a failed attempt is tried again: after what the API asks for, otherwise after twice as long each time, half of it at random. */
import type { RetryHandler } from 'undici'
import type { ExchangeOptions } from './exchange.ts'
import { FailedAttempt } from './failed-attempt.ts'

export interface RetryPolicyOptions {
  /** At most so many attempts at one request. */
  readonly maxAttempts: number
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Resolves after so many ms, or when the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** The API asks to be left alone for so many ms. */
  readonly leaveAlone: (ms: number) => void
}

/** The first wait, and the longest that we choose ourselves, in ms. */
const FIRST_WAIT = 500
const LONGEST_WAIT = 8000
/** No Retry-After is obeyed for longer than this, in ms: a wrong clock there must not stop capturing here. */
const LONGEST_RETRY_AFTER = 60_000

/** For undici's `retry` interceptor, which counts and repeats. */
export function retryPolicy(options: RetryPolicyOptions): RetryHandler.RetryCallback {
  return (error, { state, opts }, resume) => {
    if (!(error instanceof FailedAttempt && error.retry && state.counter < options.maxAttempts)) return resume(error)
    const { signal } = opts as ExchangeOptions
    void options.wait(waitBefore(error, state.counter, options), signal).then(() => resume(signal.aborted ? signal.reason : null))
  }
}

function waitBefore(failure: FailedAttempt, attempt: number, { random, leaveAlone }: RetryPolicyOptions): number {
  const chosen = Math.min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * (0.5 + random() / 2)
  if (failure.retryAfter === null) return chosen
  const asked = Math.min(failure.retryAfter, LONGEST_RETRY_AFTER)
  leaveAlone(asked)
  // On top of it a little at random, so that not all who were sent away come back in the same moment.
  return asked + (random() * FIRST_WAIT) / 2
}
