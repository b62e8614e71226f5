/**
 * Interleavings of a service: its real controller under fast-check's scheduler, which decides at every await which process continues and which one is
 * killed there. `INTERLEAVINGS` sets how many schedules are tried (500), and `INTERLEAVINGS_SEED` repeats one run.
 */
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'

export const SCHEDULES = Number(process.env.INTERLEAVINGS ?? 500)
export const SCHEDULES_SEED = Number(process.env.INTERLEAVINGS_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** With this many schedules, every fault almost certainly happens at least once. */
const LONG_RUN = 2000

/** In ms: a schedule that takes longer waits for something that never comes. Generous, for a busy machine. */
const LONGEST_SCHEDULE = 60_000

/** Fails with the first schedule that breaks the property, shrunk as far as possible. */
export async function assertEverySchedule<Ts>(property: fc.IAsyncProperty<Ts>): Promise<void> {
  await fc.assert(property, { numRuns: SCHEDULES, seed: SCHEDULES_SEED, timeout: LONGEST_SCHEDULE })
}

/** A scheduler under which a turn of the event loop passes after each step, for code that waits for one. */
export function schedulerWithTurns(): fc.Arbitrary<fc.Scheduler> {
  return fc.scheduler({
    act: async (step) => {
      await step()
      await nextTurn()
    },
  })
}

/** The faults of the first calls of a kind, in their order; `none` is twice as likely as each other one. */
export function arbitraryFaults<K extends string>(...kinds: readonly K[]): fc.Arbitrary<(K | 'none')[]> {
  return fc.array(fc.constantFrom<K | 'none'>('none', 'none', ...kinds), { maxLength: 12 })
}

/** Faults as they are met. */
export class Faults<K extends string> {
  #left: (K | 'none')[]

  constructor(faults: readonly (K | 'none')[]) {
    this.#left = [...faults]
  }

  next(): K | 'none' {
    return this.#left.shift() ?? 'none'
  }

  /** From now on everything works. */
  end(): void {
    this.#left = []
  }
}

/** Counts the faults of all schedules, because a fault that never happened proves nothing. */
export class Reached {
  readonly #times: Map<string, number>

  constructor(...what: readonly string[]) {
    this.#times = new Map(what.map((each) => [each, 0]))
  }

  note(what: string): void {
    const times = this.#times.get(what)
    if (times === undefined) throw new RangeError(`'${what}' is not among what is to be reached`)
    this.#times.set(what, times + 1)
  }

  /** Fails where something never happened in a long run; a short one may leave something out. */
  assertAll(): void {
    const never = [...this.#times].filter(([, times]) => times === 0).map(([what]) => what)
    if (never.length > 0 && SCHEDULES >= LONG_RUN) throw new Error(`${SCHEDULES} schedules never reached: ${never.join(', ')}`)
  }

  toString(): string {
    return [...this.#times].map(([what, times]) => `${what} ${times}`).join(', ')
  }
}

/** A process in a schedule. When it dies, everything of it stops for ever at the await where it is. */
export class Mortal {
  readonly scheduler: fc.Scheduler
  readonly #death = Promise.withResolvers<void>()
  readonly #dying = new AbortController()

  constructor(scheduler: fc.Scheduler) {
    this.scheduler = scheduler
  }

  get dead(): boolean {
    return this.#dying.signal.aborted
  }

  /** Resolves when the process is killed. */
  get death(): Promise<void> {
    return this.#death.promise
  }

  kill(): void {
    this.#dying.abort()
    this.#death.resolve()
  }

  /** Resolves when the signal is aborted, for the living: Node.js keeps signals made of others as long as anybody listens, and thousands die here. */
  async aborted(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true, signal: this.#dying.signal }))
  }

  /** Waits until the scheduler lets it go on; for ever if it has died meanwhile. */
  async point(label: string): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), label)
    if (this.dead) await new Promise(() => {})
  }

  /** A call to the outside: there and back take as long as the scheduler wants. */
  async call<T>(label: string, work: () => Promise<T> | T): Promise<T> {
    await this.point(`${label} sent`)
    const result = await work()
    await this.point(`${label} answered`)
    return result
  }
}

/** The steps of a schedule. */
export interface Played<Step> {
  play(step: Step): void
  /** No more faults: everything comes to its end. */
  finish(): Promise<void>
  /** @throws the first invariant that was broken where nobody could be told at once */
  assertNothingBroke(): void
}

/** Runs all steps of one schedule, in the order that the scheduler decides. */
export async function playOut<Step extends { readonly kind: string }>(
  scheduler: fc.Scheduler,
  steps: readonly Step[],
  world: Played<Step>,
): Promise<void> {
  const script = async () => {
    for (const next of steps) {
      await scheduler.schedule(Promise.resolve(), `world: ${next.kind}`)
      world.play(next)
    }
    await world.finish()
  }
  await scheduler.waitFor(script())
  // Schedules have no turn of the event loop of their own, and until one ends nothing is let go of that was looked at through a weak reference.
  await nextTurn()
  world.assertNothingBroke()
}

/** A folder for the files of many schedules; in memory where the system has such a place, because what a disk does is tested elsewhere. */
export function scheduleFolder(name: string): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `${name}-`))
}
