/** Keeps the published counts equal to the committed ones: one loop writes the file and updates the page. */
import { type Clock, type FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CrashHook } from './crash-points.ts'
import type { CountObserver, TallyStore, Totals, TypeCountsSink } from './ports.ts'

/** While counting is behind, at least so long passes between two writes of the file, in ms. */
const BUSY_INTERVAL = 50
/** Then writing may take at most this part of the time (1 in 5): with very many types one write takes long. */
const BUSY_SHARE = 5
/** While nothing is committed here, the file is compared with the store this often, in ms: another instance may have committed, or have written older counts. */
const IDLE_INTERVAL = 1000

export interface TypeCountsExportOptions {
  readonly store: Pick<TallyStore, 'totals'>
  readonly storeFailures: FailureTracker
  readonly sink: TypeCountsSink
  readonly observer: CountObserver
  readonly crashPoint: CrashHook
  /** Called when the group's state has changed, also by another instance or an operator; at most once a second. */
  readonly onMoved: () => Promise<void>
  /** Called each time that the counts were read. */
  readonly onTotals?: (totals: Totals) => void
  readonly clock: Clock
}

export class TypeCountsExport {
  readonly #options: TypeCountsExportOptions
  /** Whether the file may be written: not before it is known that the group counts into this store (rule S5). */
  #isAllowed = false
  #revision = -1
  #totals: Totals | null = null
  #writtenAt = Number.NEGATIVE_INFINITY
  /** How long the last round took, in ms. */
  #took = 0
  #moved = { revision: -1, toldAt: Number.NEGATIVE_INFINITY }
  /** Which commits the loop has not published yet. */
  #unpublished: 'none' | 'behind' | 'caught-up' = 'none'
  #wake = new AbortController()

  constructor(options: TypeCountsExportOptions) {
    this.#options = options
  }

  /** From now on the file is written. Call it when a partition was opened, or when the group is known to count into this store. */
  allow(): void {
    if (this.#isAllowed) return
    this.#isAllowed = true
    this.changed(true)
  }

  /**
   * Call it after each commit.
   * @param caughtUp whether the commit reached the end of the log: then the counts are published at once
   */
  changed(caughtUp: boolean): void {
    if (caughtUp) this.#unpublished = 'caught-up'
    else if (this.#unpublished === 'none') this.#unpublished = 'behind'
    this.#wake.abort()
  }

  /**
   * Runs until the signal is aborted, then publishes the last counts. A failure is reported, and retried a second later.
   * @throws ServiceError after a failure that retrying cannot help
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#publish()
      await this.#next(signal)
    }
    await this.#publish()
  }

  /** Waits until it is time to publish again. */
  async #next(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const until = clock.now() + IDLE_INTERVAL
    while (!signal.aborted) {
      const due =
        this.#unpublished === 'caught-up'
          ? 0
          : this.#unpublished === 'behind'
            ? this.#writtenAt + Math.max(BUSY_INTERVAL, BUSY_SHARE * this.#took)
            : until
      const ms = Math.min(due, until) - clock.now()
      if (ms <= 0) return
      this.#wake = new AbortController()
      await clock.wait(ms, AbortSignal.any([signal, this.#wake.signal]))
    }
  }

  async #publish(): Promise<void> {
    const { store, observer, onMoved, onTotals, clock } = this.#options
    // Without a commit here the counts are most likely unchanged, so that the store need not read all of them.
    const known = this.#unpublished === 'none' ? this.#totals : null
    this.#unpublished = 'none'
    const beganAt = clock.now()
    const totals = await this.#attempt('counts', () => store.totals(known))
    if (totals === null) return
    this.#totals = totals
    observer.totals(totals)
    onTotals?.(totals)
    if (this.#isAllowed) await this.#replace(totals)
    this.#took = clock.now() - beganAt
    if (totals.revision === this.#moved.revision || clock.now() - this.#moved.toldAt < IDLE_INTERVAL) return
    this.#moved = { ...this.#moved, toldAt: clock.now() }
    await this.#attempt('partitions', async () => {
      await onMoved()
      this.#moved = { ...this.#moved, revision: totals.revision }
    })
  }

  /** Writes the file unless it has these counts already. */
  async #replace({ revision, counts }: Totals): Promise<void> {
    const { sink, observer, crashPoint, clock } = this.#options
    try {
      if (revision === this.#revision && (await sink.matches(counts))) return
      this.#writtenAt = clock.now()
      await sink.write(counts)
      crashPoint('exported')
      this.#revision = revision
      observer.fileWritten()
    } catch (error) {
      this.#revision = -1
      observer.fileFailed(error as Error)
    }
  }

  /** @returns null if the store failed: it is retried a second later @throws ServiceError after a failure that retrying cannot help */
  async #attempt<T>(what: string, read: () => Promise<T>): Promise<T | null> {
    const { storeFailures } = this.#options
    try {
      const result = await read()
      storeFailures.worked(`reading the ${what}`)
      return result
    } catch (error) {
      if (error instanceof ServiceError && !error.retriable) throw error
      storeFailures.failed(`reading the ${what}`, error as Error)
      return null
    }
  }
}
