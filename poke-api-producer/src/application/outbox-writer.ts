/**
 * Steps 3 and 5 of a capture's way: stores new captures and removes acknowledged events, as many as possible in one transaction, because each
 * transaction costs a sync of the disk (rule P2).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import type { SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'
import type { LoopOptions } from './loop-options.ts'
import type { EventPublisher, Outbox } from './ports.ts'

export interface OutboxWriterOptions extends LoopOptions {
  readonly outbox: Outbox
  readonly publisher: Pick<EventPublisher, 'partitionOf'>
}

/** Which captures are under way: single ones, each to be published soon; those of a sweep, whose end matters; the last ones of a sweep. */
export type Pace = 'single' | 'sweep' | 'last'

/** For how many ms a transaction may be delayed to collect more: on a slow disk each sync blocks the process for as long. */
const LONGEST_DELAY = { single: 20, sweep: 50, last: 0 } as const

/** The content of the next transaction. */
interface Pending {
  readonly captures: Capture[]
  readonly missing: number[]
  acknowledged: number
  sweep: (() => SweepProgress) | null | undefined
  readonly committed: PromiseWithResolvers<void>
}

export class OutboxWriter {
  readonly #options: OutboxWriterOptions
  #pending: Pending = emptyPending()
  #commitRequested = false
  #failing = false
  #sending = false
  #pace: Pace = 'single'

  constructor(options: OutboxWriterOptions) {
    this.#options = options
  }

  /** How many events are not published yet: stored ones, and captures of the next transaction. */
  get depth(): number {
    return this.#options.outbox.depth + this.#pending.captures.length
  }

  /** True while the outbox cannot store: new captures would be kept in memory. */
  get failing(): boolean {
    return this.#failing
  }

  /**
   * Stores a capture.
   * @param capture null: there is no such Pokémon
   * @param sweep gives the progress of the sweep that it belongs to
   */
  captured(id: number, capture: Capture | null, sweep?: () => SweepProgress): void {
    if (capture === null) this.#pending.missing.push(id)
    else this.#pending.captures.push(capture)
    if (sweep !== undefined) this.#pending.sweep = sweep
    this.#requestCommit()
  }

  /** Stores that a sweep has left a Pokémon out. */
  leftOut(sweep: () => SweepProgress): void {
    this.#pending.sweep = sweep
    this.#requestCommit()
  }

  /** Whether a send is under way: captures that arrive meanwhile cannot be sent yet, and may share a transaction with its acknowledgement. */
  set sending(underWay: boolean) {
    this.#sending = underWay
    this.#options.notifier.notify()
  }

  /** To be set before the first capture of that pace is handed in: `last` before the last capture of a sweep. */
  set pace(pace: Pace) {
    this.#pace = pace
  }

  /** Removes all events up to this sequence, which Kafka has acknowledged. Resolves when the outbox has removed them. */
  acknowledged(sequence: number): Promise<void> {
    const { outbox, observer } = this.#options
    this.#pending.acknowledged = sequence
    // They are published, although the outbox removes them a moment later.
    observer.outboxDepth(outbox.captured - sequence, outbox.captured)
    return this.#requestCommit()
  }

  /** Removes the progress of a finished sweep. Resolves when that is stored. */
  sweepEnded(): Promise<void> {
    this.#pending.sweep = null
    return this.#requestCommit()
  }

  /**
   * Commits whatever is handed in, and retries while the outbox fails. Resolves when the signal is aborted and everything is stored.
   * @throws OutboxError where retrying cannot help, or where a commit fails after the signal was aborted
   */
  async run(stop: AbortSignal): Promise<void> {
    const { notifier, observer, backoff, clock } = this.#options
    for (;;) {
      while (!this.#commitRequested) {
        if (stop.aborted) return
        await notifier.next()
      }
      await this.#collect(stop)
      try {
        this.#commit()
        this.#failing = false
        backoff.reset()
      } catch (error) {
        if (stop.aborted || !(error instanceof ServiceError && error.retriable)) throw error
        this.#failing = true
        observer.storeFailed(error as Error)
        await clock.wait(backoff.next(), stop)
      }
    }
  }

  /** Waits for more that can share the transaction, unless a single capture would be delayed. */
  async #collect(stop: AbortSignal): Promise<void> {
    const { notifier, clock } = this.#options
    let isOver = false
    const longest = clock.wait(LONGEST_DELAY[this.#pace], stop).then(() => {
      isOver = true
    })
    while (!isOver && this.#canBeDelayed) await Promise.race([notifier.next(), longest])
    // Whatever else finishes in this turn of the event loop comes along.
    await nextTurn()
  }

  get #canBeDelayed(): boolean {
    // Fewer syncs of the disk bring the end of a sweep nearer; when each of its captures is sent does not matter.
    return this.#pace === 'sweep' || (this.#pace === 'single' && (this.#sending || this.#onlyAcknowledged))
  }

  get #onlyAcknowledged(): boolean {
    const { captures, missing, sweep } = this.#pending
    return captures.length === 0 && missing.length === 0 && sweep === undefined
  }

  #commit(): void {
    const { outbox, publisher, observer, notifier, crashPoint } = this.#options
    const { captures, missing, acknowledged, sweep, committed } = this.#pending
    outbox.commit({ captures, acknowledged, sweep: typeof sweep === 'function' ? sweep() : sweep, partitionOf: publisher.partitionOf })
    if (captures.length > 0) crashPoint('stored')
    if (acknowledged > 0) crashPoint('forgotten')
    this.#pending = emptyPending()
    this.#commitRequested = false
    for (const capture of captures) observer.captured(capture)
    for (const id of missing) observer.missing(id)
    observer.outboxDepth(outbox.depth, outbox.captured)
    committed.resolve()
    notifier.notify()
  }

  #requestCommit(): Promise<void> {
    this.#commitRequested = true
    this.#options.notifier.notify()
    return this.#pending.committed.promise
  }
}

function emptyPending(): Pending {
  return { captures: [], missing: [], acknowledged: 0, sweep: undefined, committed: Promise.withResolvers<void>() }
}
