/** Shows how far a sweep is while it goes on. */
import { setTimeout as pause } from 'node:timers/promises'
import type { LiveTerminal } from './live-terminal.ts'
import type { Readings } from './readings.ts'
import { drawSweep, type SweepScene, sweepInALine } from './sweep-picture.ts'

/** Between two looks at the services, in ms. */
const LOOK_EVERY = 200
/** Between two lines where there is no terminal to draw in, in ms. */
const LINE_EVERY = 5000

/** Draws how far a sweep is, for as long as something takes. */
export class SweepProgress {
  readonly #readings: Readings
  readonly #terminal: LiveTerminal
  #first: { readonly at: number; readonly done: number } | null = null
  #told = { at: Number.NEGATIVE_INFINITY, line: '' }

  constructor(readings: Readings, terminal: LiveTerminal) {
    this.#readings = readings
    this.#terminal = terminal
  }

  /** @param captured everything is captured, though the producer that would say so has ended */
  async during<T>(work: Promise<T>, captured = false): Promise<T> {
    const over = work.then(
      () => true,
      () => true,
    )
    do await this.#draw(captured)
    while (!(await Promise.race([over, pause(LOOK_EVERY, false)])))
    await this.#draw(captured)
    return await work
  }

  async #draw(captured: boolean): Promise<void> {
    const taken = await this.#readings.take()
    const sweep = captured && taken.sweep !== null ? { ...taken.sweep, done: taken.sweep.total } : taken.sweep
    const reading = { ...taken, sweep, waiting: captured ? 0 : taken.waiting }
    if (sweep !== null) this.#first ??= { at: performance.now(), done: sweep.done }
    const { at, done } = this.#first ?? { at: performance.now(), done: 0 }
    const scene: SweepScene = { reading, running: (performance.now() - at) / 1000, doneAtFirst: done }
    const terminal = this.#terminal
    terminal.draw(drawSweep(scene, terminal.look))
    const line = sweepInALine(scene)
    if (terminal.live || line === this.#told.line || performance.now() - this.#told.at < LINE_EVERY) return
    terminal.say(line)
    this.#told = { at: performance.now(), line }
  }
}
