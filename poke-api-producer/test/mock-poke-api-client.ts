/** Simulates PokeAPI: a list of Pokémon, each answered at once, after a while, with 404 or with a failure, as its test says. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PokeApi } from '../src/application/ports.ts'
import type { Capture } from '../src/entities/pokemon.ts'
import { PokeApiError } from '../src/errors.ts'
import type { ManualClock } from './manual-clock.ts'
import { capture } from './pokemon.ts'

export interface MockPokeApiOptions {
  /** The Pokémon that there are; 1 to 3 where not given. */
  readonly ids?: readonly number[]
  /** Listed, and 404 when asked for. */
  readonly missing?: readonly number[]
  /** How long each answer takes, in ms of the clock; no time at all where not given. */
  readonly latency?: number
  readonly clock?: ManualClock
  /** Away from the start. */
  readonly down?: Error
}

export class MockPokeApiClient implements PokeApi {
  readonly #ids: readonly number[]
  readonly #missing: ReadonlySet<number>
  readonly #latency: number
  readonly #clock: ManualClock | null
  /** Every answer fails with it while it is set. */
  down: Error | null
  /** These fail each time they are asked for. */
  readonly failing = new Map<number, Error>()
  /** Every id that was asked for, and when, in order. */
  readonly asked: { readonly id: number; readonly at: number }[] = []
  /** Every id that was asked for in place of others, whether the API answers at all. */
  readonly confirmed: number[] = []
  underWay = 0
  /** Most captures that were under way at once. */
  busiest = 0

  constructor({ ids = [1, 2, 3], missing = [], latency = 0, clock, down }: MockPokeApiOptions = {}) {
    this.#ids = ids
    this.#missing = new Set(missing)
    this.#latency = latency
    this.#clock = clock ?? null
    this.down = down ?? null
  }

  async list(): Promise<readonly number[]> {
    if (this.down !== null) throw this.down
    return this.#ids
  }

  async capture(id: number, signal: AbortSignal): Promise<Capture | null> {
    this.asked.push({ id, at: this.#clock?.now() ?? 0 })
    this.busiest = Math.max(this.busiest, ++this.underWay)
    try {
      if (this.#latency > 0) await this.#clock?.wait(this.#latency, signal)
      // Each answer comes by itself, as from a socket of its own, if many come at the same time.
      await nextTurn()
      signal.throwIfAborted()
      const failure = this.down ?? this.failing.get(id)
      if (failure) throw failure
      return this.#missing.has(id) ? null : capture(id)
    } finally {
      this.underWay--
    }
  }

  async confirm(id: number, signal: AbortSignal): Promise<void> {
    this.confirmed.push(id)
    await nextTurn()
    signal.throwIfAborted()
    const failure = this.down ?? this.failing.get(id)
    if (failure) throw failure
  }
}

export function apiIsDown(): PokeApiError {
  return new PokeApiError('unreachable', 'PokeAPI cannot be reached')
}
