/** Hears what the client does, for metrics and logs. Must not throw. */
import type { AttemptFailureKind } from './failed-attempt.ts'

/** How a request ended: from the cache alone; from the cache after PokeAPI said that it still holds; from PokeAPI; not at all. */
export type RequestOutcome = 'hit' | 'revalidated' | 'fetched' | 'failed'

export interface PokeApiObserver {
  /** What the caller asked for is answered, or finally not. A request that the caller aborted is not told. */
  requested(outcome: RequestOutcome): void
  /** One attempt on the wire is over after so many seconds; `failure` says why it brought no answer, null: it did. */
  attempted(seconds: number, failure: AttemptFailureKind | null): void
  /** The cache had to be begun anew, or cannot be read or written: a sentence for people. Requests go on without it. */
  cacheFailed(message: string): void
}
