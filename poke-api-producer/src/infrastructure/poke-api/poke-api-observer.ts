/** Is told what the client does, for metrics and logs. Must not throw. */
import type { AttemptFailureKind } from './failed-attempt.ts'

/** Who answered a request: the cache alone; the cache, after PokeAPI confirmed the entry; PokeAPI; nobody. */
export type RequestOutcome = 'hit' | 'revalidated' | 'fetched' | 'failed'

export interface PokeApiObserver {
  /** A request was answered, or has failed after its last attempt. Not called for a request that the caller aborted. */
  requested(outcome: RequestOutcome): void
  /** One attempt on the wire has ended. @param failure null: it was answered */
  attempted(seconds: number, failure: AttemptFailureKind | null): void
  /** The cache was replaced by an empty one, or cannot be read or written. Requests go on without it. @param message a sentence for people */
  cacheFailed(message: string): void
}
