/** Shows the progress of a running sweep. */
import { setTimeout as pause } from 'node:timers/promises'
import type { LiveTerminal } from './live-terminal.ts'
import type { Readings } from './readings.ts'
import { drawSweep, type SweepScene, sweepInALine } from './sweep-picture.ts'

/** In ms. */
const POLL_INTERVAL = 200
/** Time between two lines where there is no terminal to draw in, in ms. */
const LINE_INTERVAL = 5000

/** Draws the progress while a promise is pending. */
export class SweepProgress {
  readonly #readings: Readings
  readonly #terminal: LiveTerminal
  #first: { readonly at: number; readonly done: number } | null = null
  #printed = { at: Number.NEGATIVE_INFINITY, line: '' }

  constructor(readings: Readings, terminal: LiveTerminal) {
    this.#readings = readings
    this.#terminal = terminal
  }

  /** @param captured everything is captured; the producer, which would report that, has ended */
  async during<T>(work: Promise<T>, captured = false): Promise<T> {
    const over = Promise.allSettled([work]).then(() => true)
    do await this.#draw(captured)
    while (!(await Promise.race([over, pause(POLL_INTERVAL, false)])))
    await this.#draw(captured)
    return await work
  }

  async #draw(captured: boolean): Promise<void> {
    const taken = await this.#readings.read()
    const sweep = captured && taken.sweep !== null ? { ...taken.sweep, done: taken.sweep.total } : taken.sweep
    const reading = { ...taken, sweep, waiting: captured ? 0 : taken.waiting }
    if (sweep !== null) this.#first ??= { at: performance.now(), done: sweep.done }
    const { at, done } = this.#first ?? { at: performance.now(), done: 0 }
    const scene: SweepScene = { reading, running: (performance.now() - at) / 1000, doneAtFirst: done }
    const terminal = this.#terminal
    terminal.draw(drawSweep(scene, terminal.look))
    const line = sweepInALine(scene)
    if (terminal.live || line === this.#printed.line || performance.now() - this.#printed.at < LINE_INTERVAL) return
    terminal.say(line)
    this.#printed = { at: performance.now(), line }
  }
}
