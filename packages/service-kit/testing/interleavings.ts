/**
 * Interleavings of a service: its real controller under fast-check's scheduler, which decides at every await which process continues and which one is
 * killed there. `INTERLEAVINGS` sets how many schedules are tried (250), and `INTERLEAVINGS_SEED` repeats one run.
 */
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'

export const SCHEDULES = Number(process.env.INTERLEAVINGS ?? 250)
export const SCHEDULES_SEED = Number(process.env.INTERLEAVINGS_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** With this many schedules, every fault almost certainly happens at least once. */
const LONG_RUN = 2000

/** The longest time of a schedule, in ms. One that takes longer waits for something that never happens. Generous, for a busy machine. */
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

/** Gives each call its fault. */
export class Faults<K extends string> {
  #left: (K | 'none')[]

  constructor(faults: readonly (K | 'none')[]) {
    this.#left = [...faults]
  }

  next(): K | 'none' {
    return this.#left.shift() ?? 'none'
  }

  /** Ends all faults. */
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

  /** Fails if a fault never happened in a long run. A short run need not have all of them. */
  assertAll(): void {
    const never = [...this.#times].filter(([, times]) => times === 0).map(([what]) => what)
    if (never.length > 0 && SCHEDULES >= LONG_RUN) throw new Error(`${SCHEDULES} schedules never reached: ${never.join(', ')}`)
  }

  toString(): string {
    return [...this.#times].map(([what, times]) => `${what} ${times}`).join(', ')
  }
}

/** A process in a schedule. When it is killed, all its code stops for ever at its present `await`. */
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

  /**
   * Resolves when the signal is aborted, unless the process was killed. Its listener is removed when the process is killed: Node.js keeps a combined
   * signal in memory for as long as it has listeners, and thousands of processes are killed here.
   */
  async aborted(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true, signal: this.#dying.signal }))
  }

  /** Waits until the scheduler continues the process; for ever if it was killed meanwhile. */
  async point(label: string): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), label)
    if (this.dead) await new Promise(() => {})
  }

  /** A call to another process. Request and answer take as long as the scheduler decides. */
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
  /** Ends the schedule without further faults. */
  finish(): Promise<void>
  /** @throws the first broken invariant that could not be thrown at once */
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
  // A schedule runs within one turn of the event loop, and objects read through a weak reference are kept until the turn ends.
  await nextTurn()
  world.assertNothingBroke()
}

/** A folder for the files of many schedules, in memory if the system has such a folder. Other tests are about disks. */
export function scheduleFolder(name: string): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `${name}-`))
}
