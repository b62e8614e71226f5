/** Steps 1 and 2 of a capture's way: obtains the Pokémon that the capture order names, and hands them to the outbox. */
import { ServiceError } from '@poke-api-pipeline/service-kit'
import { randomOrder, SweepOrder, type SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'
import { PokeApiError } from '../errors.ts'
import type { LoopOptions } from './loop-options.ts'
import type { OutboxWriter } from './outbox-writer.ts'
import type { PokeApi } from './ports.ts'

export interface CaptureLimits {
  /** Most captures under way at once. */
  readonly concurrency: number
  /** So many more while the API answers: their bodies are being read, or they wait for the rate limit. Default: 0. */
  readonly ahead?: number
  /** Most events in the outbox. Then capturing pauses until a fifth of it is free. */
  readonly maxEvents: number
  /** So often a Pokémon of a sweep may fail while the API answers for others; then it is left out. */
  readonly maxAttempts: number
}

export interface CapturingOptions extends CaptureLimits, LoopOptions {
  readonly api: PokeApi
  readonly writer: OutboxWriter
}

type OnCaptured = (id: number, capture: Capture | null) => void
/** Decides what happens to a Pokémon that could not be obtained. Must not reject. */
type OnFailed = (id: number, error: PokeApiError) => Promise<void>

/** After so many ms the list of Pokémon is requested again: PokeAPI adds some now and then. */
const LIST_AGE = 24 * 60 * 60 * 1000
/** Paused capturing goes on when the outbox is no fuller than this. */
const RESUME_AT = 0.8

export class Capturing {
  readonly #options: CapturingOptions
  #underWay = 0
  #paused = false
  /** No capture begins before this time, because the API has failed. */
  #notBefore = Number.NEGATIVE_INFINITY
  /** The first error that retrying cannot help; thrown at the next step. */
  #fatal: unknown = null
  /** Whether the API answers, while that is being found out. */
  #apiAnswers: Promise<boolean> | null = null

  constructor(options: CapturingOptions) {
    this.#options = options
  }

  /**
   * Captures one Pokémon after each interval until the signal is aborted.
   * @param interval in ms. Captures begin on its grid; a beginning that was missed, because the outbox was full or the API away, is skipped.
   * @throws PokeApiError where retrying cannot help
   */
  async atRandom(interval: number, signal: AbortSignal): Promise<void> {
    const { writer, clock } = this.#options
    let next: (() => number) | null = null
    let listed = 0
    let due = clock.now()
    while (!signal.aborted) {
      const waiting = this.#waitUntilAllowed(signal, due)
      if (waiting !== null) {
        await waiting
      } else if (next === null || clock.now() - listed > LIST_AGE) {
        const ids = await this.#list(signal)
        if (ids !== null) next = randomOrder(ids, () => clock.random())
        listed = clock.now()
      } else {
        this.#begin(next(), signal, (id, capture) => writer.captured(id, capture))
        // The next point of the grid that is not over yet.
        due = interval > 0 ? due + (Math.floor((clock.now() - due) / interval) + 1) * interval : clock.now()
      }
    }
    await this.#allEnded()
  }

  /**
   * Captures every Pokémon once, as many at a time as are allowed, and continues where `progress` says.
   * A Pokémon that cannot be obtained is tried again after all others. While the API is away, the sweep waits, without a limit. A Pokémon that
   * fails `maxAttempts` times while the API answers for others is left out. After each failure the API itself is asked whether it answers, not the cache.
   * @param progress of an earlier run, whose count of attempts starts anew; null: a new sweep begins
   * @returns the progress when all are captured or left out; null where the signal was aborted before
   * @throws PokeApiError where retrying cannot help
   */
  async sweep(progress: SweepProgress | null, signal: AbortSignal): Promise<SweepProgress | null> {
    const { writer, observer, notifier, maxAttempts } = this.#options
    const from = progress ?? (await this.#listWithRetries(signal))
    if (from === null) return null
    const sweep = new SweepOrder(from)
    const report = () => observer.sweepProgress(sweep.done, sweep.total, sweep.leftOut)
    report()
    writer.pace = sweep.finished ? 'last' : 'sweep'
    const onCaptured = (id: number, capture: Capture | null) => {
      sweep.complete(id, capture?.pokemon ?? null)
      if (sweep.finished) writer.pace = 'last'
      writer.captured(id, capture, () => sweep.progress)
      report()
    }
    const attempts = new Map<number, number>()
    const onFailed = async (id: number, error: PokeApiError) => {
      const answers = error.kind !== 'rate-limited' && (await this.#answersFor(sweep.answered, signal))
      if (signal.aborted) return
      const count = (attempts.get(id) ?? 0) + (answers ? 1 : 0)
      attempts.set(id, count)
      if (count < maxAttempts) return sweep.putBack(id)
      sweep.leaveOut(id, error.reason)
      if (sweep.finished) writer.pace = 'last'
      writer.leftOut(() => sweep.progress)
      observer.leftOut(id, error)
      report()
    }
    while (!sweep.finished && !signal.aborted) {
      const waiting = this.#waitUntilAllowed(signal)
      if (waiting !== null) {
        await waiting
        continue
      }
      const id = sweep.next()
      // Null: the last Pokémon are under way, and one of them may have to be tried again.
      if (id === null) await notifier.next()
      else this.#begin(id, signal, onCaptured, onFailed)
    }
    await this.#allEnded()
    return sweep.finished ? sweep.progress : null
  }

  /** The ids that the API lists, after as many attempts as it takes; null once the signal is aborted. */
  async #listWithRetries(signal: AbortSignal): Promise<readonly number[] | null> {
    while (!signal.aborted) {
      const waiting = this.#waitUntilAllowed(signal)
      const ids = waiting === null ? await this.#list(signal) : await waiting
      if (ids) return ids
    }
    return null
  }

  /** One attempt; null where it failed or the signal was aborted. */
  async #list(signal: AbortSignal): Promise<readonly number[] | null> {
    const { api, backoff, clock } = this.#options
    const began = clock.now()
    try {
      const ids = await api.list(signal)
      backoff.reset()
      return ids
    } catch (error) {
      if (!signal.aborted) this.#recordFailure(error, began)
      return null
    }
  }

  /**
   * @param notBefore ms of the clock
   * @returns null where a capture may begin in this turn of the event loop; else a promise that resolves when it is time to ask again
   */
  #waitUntilAllowed(signal: AbortSignal, notBefore = Number.NEGATIVE_INFINITY): Promise<void> | null {
    const { notifier, concurrency, ahead = 0, clock } = this.#options
    if (this.#fatal !== null) throw this.#fatal
    // An API that has failed gets no request that is not needed.
    const most = this.#notBefore === Number.NEGATIVE_INFINITY ? concurrency + ahead : concurrency
    if (this.#underWay >= most || !this.#hasCapacity()) return notifier.next()
    // The clock is read once: between two readings the time may come, and the difference would be negative.
    const ms = Math.max(notBefore, this.#notBefore) - clock.now()
    return ms > 0 ? clock.wait(ms, signal) : null
  }

  /** Captures under way count as stored, so that the bound holds when all of them arrive. */
  #hasCapacity(): boolean {
    const { writer, maxEvents, observer } = this.#options
    const { depth } = writer
    const paused = writer.failing || (this.#paused ? depth > maxEvents * RESUME_AT : depth >= maxEvents)
    if (paused !== this.#paused) {
      this.#paused = paused
      observer.paused(paused)
    }
    return !paused && depth + this.#underWay < maxEvents
  }

  #begin(id: number, signal: AbortSignal, onCaptured: OnCaptured, onFailed?: OnFailed): void {
    this.#options.crashPoint('named')
    this.#underWay++
    // Never rejects: a failure is reported, or thrown by the next step.
    void this.#obtain(id, signal, onCaptured, onFailed)
  }

  async #obtain(id: number, signal: AbortSignal, onCaptured: OnCaptured, onFailed?: OnFailed): Promise<void> {
    const { api, backoff, notifier, crashPoint, clock } = this.#options
    const began = clock.now()
    try {
      const capture = await api.capture(id, signal)
      crashPoint('obtained')
      backoff.reset()
      this.#notBefore = Number.NEGATIVE_INFINITY
      onCaptured(id, capture)
    } catch (error) {
      // After an abort the failure is our own doing.
      if (!signal.aborted) {
        this.#recordFailure(error, began)
        if (error instanceof PokeApiError && error.retriable) await onFailed?.(id, error)
      }
    }
    this.#underWay--
    notifier.notify()
  }

  /** Whether the API answers for a Pokémon that it has answered for before. Captures that fail at the same time share one request. */
  async #answersFor(id: number | null, signal: AbortSignal): Promise<boolean> {
    if (id === null) return false
    this.#apiAnswers ??= this.#options.api
      .confirm(id, signal)
      .then(
        () => true,
        () => false,
      )
      .finally(() => {
        this.#apiAnswers = null
      })
    return await this.#apiAnswers
  }

  /** @param began when the attempt began: of attempts that fail at the same time only the first makes the delay longer */
  #recordFailure(error: unknown, began: number): void {
    const { observer, backoff, clock } = this.#options
    if (!(error instanceof ServiceError && error.retriable)) {
      this.#fatal ??= error
      return
    }
    observer.captureFailed(error)
    if (began >= this.#notBefore) this.#notBefore = clock.now() + backoff.next()
  }

  /** Resolves when no capture is under way any more. */
  async #allEnded(): Promise<void> {
    while (this.#underWay > 0) await this.#options.notifier.next()
    if (this.#fatal !== null) throw this.#fatal
  }
}
