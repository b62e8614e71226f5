/** Keeps what is published equal to what is committed: one loop feeds the file and the page. */
import { type FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CrashHook } from './crash-points.ts'
import type { CountObserver, TallyStore, Totals, TypeCountsSink } from './ports.ts'

/** While a partition is behind, the document is replaced at most this often, in ms. */
const BUSY_INTERVAL = 50
/** Then it may take one part in so many of the time: of very many types it takes long. */
const BUSY_SHARE = 5
/** At rest it is compared with the store this often, in ms: another instance may have committed, or have written an older state. */
const REST_INTERVAL = 1000

export interface TypeCountsExportOptions {
  readonly store: Pick<TallyStore, 'totals'>
  readonly storeFailures: FailureTracker
  readonly sink: TypeCountsSink
  readonly observer: CountObserver
  readonly crashPoint: CrashHook
  /** The group's state moved, at most once a second: perhaps by another instance, or by an operator. */
  readonly onMoved: () => Promise<void>
  /** Told of the counts at each look. */
  readonly onTotals?: (totals: Totals) => void
  /** Resolves after that many ms, or as soon as the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
}

export class TypeCountsExport {
  readonly #options: TypeCountsExportOptions
  /** Whose store may not be the group's must not write over the file of one that is. */
  #allowed = false
  #revision = -1
  #totals: Totals | null = null
  #writtenAt = Number.NEGATIVE_INFINITY
  /** For how long the last document kept everything else waiting at most, in ms. */
  #took = 0
  #moved = { revision: -1, toldAt: Number.NEGATIVE_INFINITY }
  /** Set by `changed` until the loop has seen it. */
  #news: 'none' | 'behind' | 'caught-up' = 'none'
  #wake = new AbortController()

  constructor(options: TypeCountsExportOptions) {
    this.#options = options
  }

  /** From now on the document is published: a partition is read into this store, or the group is known to count into it. */
  allow(): void {
    if (this.#allowed) return
    this.#allowed = true
    this.changed(true)
  }

  /**
   * Something was committed.
   * @param caughtUp whether everything that is known of was counted: then it is published at once
   */
  changed(caughtUp: boolean): void {
    if (caughtUp) this.#news = 'caught-up'
    else if (this.#news === 'none') this.#news = 'behind'
    this.#wake.abort()
  }

  /**
   * Runs until the signal is aborted, then publishes the last state. A failure is reported and tried again a second later.
   * @throws ServiceError where trying again is hopeless
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#publish()
      await this.#next(signal)
    }
    await this.#publish()
  }

  /** Waits until there is something to publish and its time has come. */
  async #next(signal: AbortSignal): Promise<void> {
    const { wait, now } = this.#options
    const until = now() + REST_INTERVAL
    while (!signal.aborted) {
      const due =
        this.#news === 'caught-up'
          ? 0
          : this.#news === 'behind'
            ? this.#writtenAt + Math.max(BUSY_INTERVAL, BUSY_SHARE * this.#took)
            : until
      const ms = Math.min(due, until) - now()
      if (ms <= 0) return
      this.#wake = new AbortController()
      await wait(ms, AbortSignal.any([signal, this.#wake.signal]))
    }
  }

  async #publish(): Promise<void> {
    const { store, observer, onMoved, onTotals, now } = this.#options
    // At rest it is most likely that nothing moved, and when something was committed, that it did.
    const known = this.#news === 'none' ? this.#totals : null
    this.#news = 'none'
    const beganAt = now()
    const totals = await this.#ask('counts', () => store.totals(known))
    if (totals === null) return
    this.#totals = totals
    observer.totals(totals)
    onTotals?.(totals)
    if (this.#allowed) await this.#replace(totals)
    this.#took = now() - beganAt
    if (totals.revision === this.#moved.revision || now() - this.#moved.toldAt < REST_INTERVAL) return
    this.#moved = { ...this.#moved, toldAt: now() }
    await this.#ask('partitions', async () => {
      await onMoved()
      this.#moved = { ...this.#moved, revision: totals.revision }
    })
  }

  /** Replaces the document where it is not the one of these counts. */
  async #replace({ revision, counts }: Totals): Promise<void> {
    const { sink, observer, crashPoint, now } = this.#options
    try {
      if (revision === this.#revision && (await sink.matches(counts))) return
      this.#writtenAt = now()
      await sink.write(counts)
      crashPoint('exported')
      this.#revision = revision
      observer.fileWritten()
    } catch (error) {
      this.#revision = -1
      observer.fileFailed(error as Error)
    }
  }

  /** @returns null where the store failed: it is asked again a second later @throws ServiceError where asking again is hopeless */
  async #ask<T>(what: string, question: () => Promise<T>): Promise<T | null> {
    const { storeFailures } = this.#options
    try {
      const answer = await question()
      storeFailures.worked(`looking at the ${what}`)
      return answer
    } catch (error) {
      if (error instanceof ServiceError && !error.retriable) throw error
      storeFailures.failed(`looking at the ${what}`, error as Error)
      return null
    }
  }
}
