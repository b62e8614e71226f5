/** Waiting that an abort ends early and without an error. */
import { setTimeout as wait } from 'node:timers/promises'

/** Resolves after that many ms, or as soon as the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
