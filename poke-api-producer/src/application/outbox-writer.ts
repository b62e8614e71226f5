/**
 * Steps 3 and 5 of a capture's way: commits captures that finished together and events that were acknowledged meanwhile in one
 * transaction, because each transaction costs a sync of the disk (rule P2).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BackOff } from '@poke-api-pipeline/service-kit'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import type { SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'
import type { Changes } from './changes.ts'
import type { CrashHook } from './crash-points.ts'
import type { CaptureObserver, EventPublisher, Outbox } from './ports.ts'

export interface OutboxWriterOptions {
  readonly outbox: Outbox
  readonly publisher: Pick<EventPublisher, 'partitionOf'>
  readonly observer: CaptureObserver
  readonly changes: Changes
  readonly backoff: BackOff
  readonly crashPoint: CrashHook
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** What is being captured: one Pokémon after the other, each wanted soon; a sweep, whose end is wanted soon; nothing more. */
export type Pace = 'singly' | 'sweep' | 'over'

/** For how long at most a transaction is put off where no single capture is waited for, in ms: on a slow disk each sync stops everything for as long. */
const GATHER = { singly: 20, sweep: 50, over: 0 } as const

/** What the next transaction will store. */
interface Pending {
  readonly captures: Capture[]
  readonly missing: number[]
  acknowledged: number
  sweep: (() => SweepProgress) | null | undefined
  readonly stored: PromiseWithResolvers<void>
}

export class OutboxWriter {
  readonly #options: OutboxWriterOptions
  #pending: Pending = nothing()
  #dirty = false
  #failing = false
  #sending = false
  #pace: Pace = 'singly'

  constructor(options: OutboxWriterOptions) {
    this.#options = options
  }

  /** Events that wait to be published, stored or about to be. */
  get depth(): number {
    return this.#options.outbox.depth + this.#pending.captures.length
  }

  /** True while the outbox cannot store: what is captured now would wait in memory. */
  get failing(): boolean {
    return this.#failing
  }

  /** A capture came back; null: there is no such Pokémon. `sweep` tells the progress of the sweep that it belongs to. */
  captured(id: number, capture: Capture | null, sweep?: () => SweepProgress): void {
    if (capture === null) this.#pending.missing.push(id)
    else this.#pending.captures.push(capture)
    if (sweep !== undefined) this.#pending.sweep = sweep
    this.#touch()
  }

  /** A sweep has left a Pokémon out: that is to be remembered. */
  leftOut(sweep: () => SweepProgress): void {
    this.#pending.sweep = sweep
    this.#touch()
  }

  /** Whether a send is under way: what is captured meanwhile could not be sent yet, and its acknowledgement may share a transaction. */
  set sending(underWay: boolean) {
    this.#sending = underWay
    this.#options.changes.notify()
  }

  /** To be said before the first capture that it is true of is handed in; `over` before the last one. */
  set pace(pace: Pace) {
    this.#pace = pace
  }

  /** Kafka has every event up to this sequence. Resolves when the outbox has forgotten them. */
  acknowledged(sequence: number): Promise<void> {
    const { outbox, observer } = this.#options
    this.#pending.acknowledged = sequence
    // They do not wait any more, though the outbox forgets them a moment later.
    observer.outboxDepth(outbox.captured - sequence, outbox.captured)
    return this.#touch()
  }

  /** The sweep is over. Resolves when that is stored. */
  sweepEnded(): Promise<void> {
    this.#pending.sweep = null
    return this.#touch()
  }

  /**
   * Stores what comes, however often the outbox fails, until the signal is aborted and everything is stored.
   * @throws OutboxError where it is hopeless, or fails after the signal was aborted
   */
  async run(stop: AbortSignal): Promise<void> {
    const { changes, observer, backoff, wait } = this.#options
    for (;;) {
      while (!this.#dirty) {
        if (stop.aborted) return
        await changes.next()
      }
      await this.#gather(stop)
      try {
        this.#commit()
        this.#failing = false
        backoff.reset()
      } catch (error) {
        if (stop.aborted || !(error instanceof ServiceError && error.retriable)) throw error
        this.#failing = true
        observer.storeFailed(error as Error)
        await wait(backoff.next(), stop)
      }
    }
  }

  /** Waits for what may share the transaction, as long as no single capture is waited for. */
  async #gather(stop: AbortSignal): Promise<void> {
    const { changes, wait } = this.#options
    let enough = false
    const latest = wait(GATHER[this.#pace], stop).then(() => {
      enough = true
    })
    while (!enough && this.#mayShare) await Promise.race([changes.next(), latest])
    // And for whatever else finishes in this turn of the event loop.
    await nextTurn()
  }

  get #mayShare(): boolean {
    // What matters of a sweep is its end, not when each capture is sent: fewer syncs of the disk bring it nearer.
    return this.#pace === 'sweep' || (this.#pace === 'singly' && (this.#sending || this.#onlyAcknowledged))
  }

  get #onlyAcknowledged(): boolean {
    const { captures, missing, sweep } = this.#pending
    return captures.length === 0 && missing.length === 0 && sweep === undefined
  }

  #commit(): void {
    const { outbox, publisher, observer, changes, crashPoint } = this.#options
    const { captures, missing, acknowledged, sweep, stored } = this.#pending
    outbox.commit({ captures, acknowledged, sweep: typeof sweep === 'function' ? sweep() : sweep, partitionOf: publisher.partitionOf })
    if (captures.length > 0) crashPoint('stored')
    if (acknowledged > 0) crashPoint('forgotten')
    this.#pending = nothing()
    this.#dirty = false
    for (const capture of captures) observer.captured(capture)
    for (const id of missing) observer.missing(id)
    observer.outboxDepth(outbox.depth, outbox.captured)
    stored.resolve()
    changes.notify()
  }

  #touch(): Promise<void> {
    this.#dirty = true
    this.#options.changes.notify()
    return this.#pending.stored.promise
  }
}

function nothing(): Pending {
  return { captures: [], missing: [], acknowledged: 0, sweep: undefined, stored: Promise.withResolvers<void>() }
}
