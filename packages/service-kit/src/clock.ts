/** Time and randomness as one object, so that tests can replace them. Only `main.ts` and commands create the real one. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface Clock {
  /** ms since an arbitrary moment; never goes backwards. */
  now(): number
  /** Resolves after `ms`, or as soon as the signal is aborted. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>
  /** Uniform in [0, 1). */
  random(): number
}

export function systemClock(): Clock {
  return { now: () => performance.now(), wait: pause, random: Math.random }
}

/** Resolves after that many ms, or as soon as the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
