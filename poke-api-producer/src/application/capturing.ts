/** Steps 1 and 2 of a capture's way: obtains the Pokémon that the capture order names, at its pace, and hands them to the outbox. */

import type { BackOff } from '@poke-api-pipeline/service-kit'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import { RandomOrder, SweepOrder, type SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'
import { PokeApiError } from '../errors.ts'
import type { Changes } from './changes.ts'
import type { CrashHook } from './crash-points.ts'
import type { OutboxWriter } from './outbox-writer.ts'
import type { CaptureObserver, PokeApi } from './ports.ts'

export interface CapturingOptions {
  readonly api: PokeApi
  readonly writer: OutboxWriter
  readonly observer: CaptureObserver
  readonly changes: Changes
  readonly backoff: BackOff
  readonly crashPoint: CrashHook
  /** Most captures under way at once. */
  readonly concurrency: number
  /** So many more while the API answers. Default: 0. */
  readonly ahead?: number
  /** So often a Pokémon of a sweep may fail while the API answers for others; then it is left out. */
  readonly maxAttempts: number
  /** Most events that wait in the outbox; then capturing pauses until a fifth of it is free. */
  readonly maxEvents: number
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly now: () => number
  readonly random: () => number
}

type Finished = (id: number, capture: Capture | null) => void
/** Decides what becomes of a Pokémon that could not be obtained. Must not reject. */
type Failed = (id: number, error: PokeApiError) => Promise<void>

/** What the API names is asked for again after this long, in ms: Pokémon are added now and then. */
const LIST_AGE = 24 * 60 * 60 * 1000

export class Capturing {
  readonly #options: CapturingOptions
  #underWay = 0
  #paused = false
  /** No capture begins before this time: the API has failed. */
  #notBefore = Number.NEGATIVE_INFINITY
  #hopeless: unknown = null
  /** Whether the API answers at this moment, while it is being asked. */
  #answering: Promise<boolean> | null = null

  constructor(options: CapturingOptions) {
    this.#options = options
  }

  /**
   * Captures one Pokémon after each interval until the signal is aborted.
   * @param interval in ms. The beginnings keep to its grid; one that cannot be kept, because the outbox is full or the API is away, is left out.
   * @throws PokeApiError where it is hopeless
   */
  async atRandom(interval: number, signal: AbortSignal): Promise<void> {
    const { writer, now, random } = this.#options
    let order: RandomOrder | null = null
    let listed = 0
    let due = now()
    while (!signal.aborted) {
      const hindrance = this.#hindrance(signal, due)
      if (hindrance !== null) {
        await hindrance
      } else if (order === null || now() - listed > LIST_AGE) {
        const ids = await this.#list(signal)
        if (ids !== null) order = new RandomOrder(ids, random)
        listed = now()
      } else {
        this.#begin(order.next(), signal, (id, capture) => writer.captured(id, capture))
        // The next time on the grid: what was missed is not made up for.
        due = interval > 0 ? due + (Math.floor((now() - due) / interval) + 1) * interval : now()
      }
    }
    await this.#settled()
  }

  /**
   * Captures every Pokémon once, as many at a time as are allowed, going on where `progress` says.
   * One that cannot be obtained is tried again after all others. An API that is away is waited for, for as long as it takes; a Pokémon that fails
   * again and again while the API answers for others is left out. Whether it does is asked after each failure, of the API and not of the cache.
   * @param progress where an earlier run stood, without its count of attempts; null: the sweep begins
   * @returns the progress when all are captured or left out; null where the signal was aborted before
   * @throws PokeApiError where it is hopeless
   */
  async sweep(progress: SweepProgress | null, signal: AbortSignal): Promise<SweepProgress | null> {
    const { writer, observer, changes, maxAttempts } = this.#options
    const from = progress ?? (await this.#listAtLast(signal))
    if (from === null) return null
    const sweep = new SweepOrder(from)
    const tell = () => observer.sweepProgress(sweep.done, sweep.total, sweep.leftOut)
    tell()
    writer.pace = sweep.finished ? 'over' : 'sweep'
    const finished = (id: number, capture: Capture | null) => {
      sweep.complete(id, capture?.pokemon ?? null)
      if (sweep.finished) writer.pace = 'over'
      writer.captured(id, capture, () => sweep.progress)
      tell()
    }
    const attempts = new Map<number, number>()
    const failed = async (id: number, error: PokeApiError) => {
      const answers = error.kind !== 'rate-limited' && (await this.#answersFor(sweep.answered, signal))
      if (signal.aborted) return
      const count = (attempts.get(id) ?? 0) + (answers ? 1 : 0)
      attempts.set(id, count)
      if (count < maxAttempts) return sweep.putBack(id)
      sweep.leaveOut(id, error.reason)
      if (sweep.finished) writer.pace = 'over'
      writer.leftOut(() => sweep.progress)
      observer.leftOut(id, error)
      tell()
    }
    while (!sweep.finished && !signal.aborted) {
      const hindrance = this.#hindrance(signal)
      if (hindrance !== null) {
        await hindrance
        continue
      }
      const id = sweep.next()
      // The last ones are under way, and one of them may come back.
      if (id === null) await changes.next()
      else this.#begin(id, signal, finished, failed)
    }
    await this.#settled()
    return sweep.finished ? sweep.progress : null
  }

  /** The ids that the API names, however long it is away; null once the signal is aborted. */
  async #listAtLast(signal: AbortSignal): Promise<readonly number[] | null> {
    while (!signal.aborted) {
      const hindrance = this.#hindrance(signal)
      const ids = hindrance === null ? await this.#list(signal) : await hindrance
      if (ids) return ids
    }
    return null
  }

  async #list(signal: AbortSignal): Promise<readonly number[] | null> {
    const { api, backoff, now } = this.#options
    const began = now()
    try {
      const ids = await api.list(signal)
      backoff.reset()
      return ids
    } catch (error) {
      if (!signal.aborted) this.#failed(error, began)
      return null
    }
  }

  /**
   * Why no capture may begin now: a promise of the time to look again; null where one may, in this turn of the event loop.
   * @param notBefore ms of the clock
   */
  #hindrance(signal: AbortSignal, notBefore = Number.NEGATIVE_INFINITY): Promise<void> | null {
    const { changes, concurrency, ahead = 0, wait, now } = this.#options
    if (this.#hopeless !== null) throw this.#hopeless
    // An API that has failed is not asked by more than it must be.
    const most = this.#notBefore === Number.NEGATIVE_INFINITY ? concurrency + ahead : concurrency
    if (this.#underWay >= most || !this.#hasRoom()) return changes.next()
    // One look at the clock: between two of them the time may come.
    const ms = Math.max(notBefore, this.#notBefore) - now()
    return ms > 0 ? wait(ms, signal) : null
  }

  /** What is under way takes its place too, so that the bound holds when all of it arrives. */
  #hasRoom(): boolean {
    const { writer, maxEvents, observer } = this.#options
    const { depth } = writer
    const paused = writer.failing || (this.#paused ? depth > maxEvents * 0.8 : depth >= maxEvents)
    if (paused !== this.#paused) {
      this.#paused = paused
      observer.paused(paused)
    }
    return !paused && depth + this.#underWay < maxEvents
  }

  #begin(id: number, signal: AbortSignal, finished: Finished, failed?: Failed): void {
    this.#options.crashPoint('named')
    this.#underWay++
    // Never rejects: what goes wrong is told, or ends capturing at its next step.
    void this.#obtain(id, signal, finished, failed)
  }

  async #obtain(id: number, signal: AbortSignal, finished: Finished, failed?: Failed): Promise<void> {
    const { api, backoff, changes, crashPoint, now } = this.#options
    const began = now()
    try {
      const capture = await api.capture(id, signal)
      crashPoint('obtained')
      backoff.reset()
      this.#notBefore = Number.NEGATIVE_INFINITY
      finished(id, capture)
    } catch (error) {
      // After an abort it is our own doing.
      if (!signal.aborted) {
        this.#failed(error, began)
        if (error instanceof PokeApiError && error.retriable) await failed?.(id, error)
      }
    }
    this.#underWay--
    changes.notify()
  }

  /** Whether the API answers for a Pokémon that it has answered for before. Who fails side by side asks once. */
  async #answersFor(id: number | null, signal: AbortSignal): Promise<boolean> {
    if (id === null) return false
    this.#answering ??= this.#options.api
      .confirm(id, signal)
      .then(
        () => true,
        () => false,
      )
      .finally(() => {
        this.#answering = null
      })
    return await this.#answering
  }

  /** @param began when the attempt began: of attempts that fail side by side only the first lengthens the wait */
  #failed(error: unknown, began: number): void {
    const { observer, backoff, now } = this.#options
    if (!(error instanceof ServiceError && error.retriable)) {
      this.#hopeless ??= error
      return
    }
    observer.captureFailed(error)
    if (began >= this.#notBefore) this.#notBefore = now() + backoff.next()
  }

  async #settled(): Promise<void> {
    while (this.#underWay > 0) await this.#options.changes.next()
    if (this.#hopeless !== null) throw this.#hopeless
  }
}
