/**
 * A capture's way from PokeAPI to the topic:
 *
 * 1. the capture order names the next Pokémon, 2. the client obtains it (`capturing.ts`); 3. the outbox stores it (`outbox-writer.ts`);
 * 4. stored events are published in order, one send at a time (`publishing.ts`); 5. acknowledged events leave the outbox.
 *
 * The three run side by side: what an earlier run has stored is sent first, and neither capturing nor publishing waits for the other.
 */
import { BackOff } from '@poke-api-pipeline/service-kit'
import { Capturing } from './capturing.ts'
import { Changes } from './changes.ts'
import type { CrashHook } from './crash-points.ts'
import { OutboxWriter } from './outbox-writer.ts'
import type { CaptureObserver, EventPublisher, Outbox, PokeApi } from './ports.ts'
import { Publishing } from './publishing.ts'

export interface ControllerOptions {
  readonly api: PokeApi
  readonly outbox: Outbox
  readonly publisher: EventPublisher
  readonly observer: CaptureObserver
  /** `random`: one capture after each interval (ms), without end. `sweep`: every Pokémon once. */
  readonly mode: { readonly order: 'random'; readonly interval: number } | { readonly order: 'sweep' }
  readonly limits: CaptureLimits
  /** Resolves after that many ms, or as soon as the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
  /** Uniform in [0, 1): chooses Pokémon, and spreads retries. */
  readonly random: () => number
  /** Hears where each capture is on its way; for tests that make the process die there. */
  readonly crashPoint?: CrashHook
}

export interface CaptureLimits {
  /** Most captures under way at once. */
  readonly concurrency: number
  /** So many more while the API answers: they are read, or wait for their turn to ask. Default: 0. */
  readonly ahead?: number
  /** Most events that wait in the outbox. */
  readonly maxEvents: number
  /** So often a Pokémon of a sweep may fail while the API answers for others; then it is left out. */
  readonly maxAttempts: number
  /** For how long `run` waits, once it is told to end, for the send under way and the last commit, in ms. */
  readonly drainDeadline: number
}

/** Waits before something is tried again, in ms. */
const FIRST_RETRY = 100
const LONGEST_RETRY = 5000
/** PokeAPI is a gift: it is left alone for longer. The client has tried several times by then. */
const FIRST_API_RETRY = 1000
const LONGEST_API_RETRY = 60_000

export class Controller {
  readonly #options: ControllerOptions
  readonly #changes = new Changes()
  readonly #writer: OutboxWriter
  readonly #capturing: Capturing
  readonly #publishing: Publishing

  constructor(options: ControllerOptions) {
    this.#options = options
    const { random, limits } = options
    const crashPoint = options.crashPoint ?? (() => {})
    const changes = this.#changes
    const retries = () => new BackOff({ first: FIRST_RETRY, longest: LONGEST_RETRY, clock: { random } })
    const writer = new OutboxWriter({ ...options, changes, crashPoint, backoff: retries() })
    this.#writer = writer
    this.#publishing = new Publishing({ ...options, writer, changes, crashPoint, backoff: retries() })
    this.#capturing = new Capturing({
      ...options,
      ...limits,
      writer,
      changes,
      crashPoint,
      backoff: new BackOff({ first: FIRST_API_RETRY, longest: LONGEST_API_RETRY, clock: { random } }),
    })
  }

  /**
   * Captures and publishes until the signal is aborted, or the sweep is over and acknowledged. Then stores what was captured, waits for the
   * send under way, and closes publisher and outbox; what is left in the outbox is sent at the next start.
   * @throws ServiceError where going on is hopeless
   */
  async run(signal: AbortSignal): Promise<void> {
    const { outbox, publisher, observer } = this.#options
    const running = new AbortController()
    const storing = new AbortController()
    const end = () => running.abort()
    // Sleeping loops look again.
    for (const each of [running, storing]) each.signal.addEventListener('abort', () => this.#changes.notify())
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    observer.outboxDepth(outbox.depth, outbox.captured)

    const writing = this.#writer.run(storing.signal)
    const publishing = this.#publishing.run(running.signal)
    const capturing = this.#capture(running.signal)
    let failure: unknown
    try {
      // Publishing and writing resolve when they are told to end, and capturing when the sweep is over as well.
      await Promise.race([capturing, publishing, writing])
    } catch (error) {
      failure = error
    }
    end()
    try {
      await this.#within(this.#options.limits.drainDeadline, async () => {
        // A writer that has failed for good will not store what the others wait for.
        await Promise.race([Promise.allSettled([capturing, publishing]), writing])
        storing.abort()
        await writing
      })
    } catch (error) {
      failure ??= error
    } finally {
      signal.removeEventListener('abort', end)
      await publisher.close()
      outbox.close()
    }
    if (failure !== undefined) throw failure
  }

  async #capture(signal: AbortSignal): Promise<void> {
    const { mode, outbox, observer, crashPoint } = this.#options
    if (mode.order === 'random') return await this.#capturing.atRandom(mode.interval, signal)
    const progress = await this.#capturing.sweep(outbox.sweep(), signal)
    while (this.#writer.depth > 0 && !signal.aborted) await this.#changes.next()
    if (progress === null || signal.aborted) return
    // Only now, so that a sweep that dies before everything is acknowledged goes on, instead of starting anew.
    crashPoint?.('swept')
    await this.#writer.sweepEnded()
    observer.sweepFinished(progress)
  }

  /** Waits for the work, at most `ms`. */
  async #within(ms: number, work: () => Promise<void>): Promise<void> {
    const done = new AbortController()
    try {
      await Promise.race([work(), this.#options.wait(ms, done.signal)])
    } finally {
      done.abort()
    }
  }
}
