/**
 * A capture's way from PokeAPI to the topic:
 *
 * 1. the capture order names the next Pokémon, 2. the client obtains it (`capturing.ts`); 3. the outbox stores it (`outbox-writer.ts`);
 * 4. stored events are published in order, one send at a time (`publishing.ts`); 5. acknowledged events are removed from the outbox.
 *
 * Capturing, storing and publishing run side by side. Events that an earlier run has stored are sent first, and capturing does not wait for that.
 */
import { BackOff, type Clock } from '@poke-api-pipeline/service-kit'
import { type CaptureLimits, Capturing } from './capturing.ts'
import type { CrashHook } from './crash-points.ts'
import { Notifier } from './notifier.ts'
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
  readonly limits: ControllerLimits
  readonly clock: Clock
  /** Called at each step of a capture; for tests that end the process there. */
  readonly crashPoint?: CrashHook
}

export interface ControllerLimits extends CaptureLimits {
  /** How long `run`, once it was told to end, waits for the send under way and the last commit, in ms. */
  readonly drainDeadline: number
}

/** Delays before a send or a commit is retried, in ms. */
const FIRST_RETRY = 100
const LONGEST_RETRY = 5000
/** PokeAPI is a public gift, and the client has made several attempts by then, so these delays are longer. */
const FIRST_API_RETRY = 1000
const LONGEST_API_RETRY = 60_000

export class Controller {
  readonly #options: ControllerOptions
  readonly #notifier = new Notifier()
  readonly #writer: OutboxWriter
  readonly #capturing: Capturing
  readonly #publishing: Publishing

  constructor(options: ControllerOptions) {
    this.#options = options
    const { clock, limits, crashPoint = () => {} } = options
    const shared = { ...options, notifier: this.#notifier, crashPoint }
    const retries = () => new BackOff({ first: FIRST_RETRY, longest: LONGEST_RETRY, clock })
    const apiRetries = new BackOff({ first: FIRST_API_RETRY, longest: LONGEST_API_RETRY, clock })
    const writer = new OutboxWriter({ ...shared, backoff: retries() })
    this.#writer = writer
    this.#publishing = new Publishing({ ...shared, writer, backoff: retries() })
    this.#capturing = new Capturing({ ...shared, ...limits, writer, backoff: apiRetries })
  }

  /**
   * Captures and publishes until the signal is aborted, or the sweep is finished and acknowledged. Then it stores the captures that have arrived,
   * waits for the send under way, and closes publisher and outbox. Events that are left in the outbox are sent at the next start.
   * @throws ServiceError where retrying cannot help
   */
  async run(signal: AbortSignal): Promise<void> {
    const { outbox, publisher, observer } = this.#options
    const running = new AbortController()
    const storing = new AbortController()
    const end = () => running.abort()
    // Sleeping loops check whether they were told to end.
    for (const each of [running, storing]) each.signal.addEventListener('abort', () => this.#notifier.notify())
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    observer.outboxDepth(outbox.depth, outbox.captured)

    const writing = this.#writer.run(storing.signal)
    const publishing = this.#publishing.run(running.signal)
    const capturing = this.#capture(running.signal)
    let failure: unknown
    try {
      // All three resolve when they are told to end; capturing also when the sweep is finished.
      await Promise.race([capturing, publishing, writing])
    } catch (error) {
      failure = error
    }
    end()
    try {
      await this.#within(this.#options.limits.drainDeadline, async () => {
        // A writer that has failed for good stores nothing more, so nobody waits for it.
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
    while (this.#writer.depth > 0 && !signal.aborted) await this.#notifier.next()
    if (progress === null || signal.aborted) return
    // Not before everything is acknowledged: a sweep that is killed until then continues, instead of beginning anew.
    crashPoint?.('swept')
    await this.#writer.sweepEnded()
    observer.sweepFinished(progress)
  }

  /** Waits for the work, at most `ms`. */
  async #within(ms: number, work: () => Promise<void>): Promise<void> {
    const done = new AbortController()
    try {
      await Promise.race([work(), this.#options.clock.wait(ms, done.signal)])
    } finally {
      done.abort()
    }
  }
}
