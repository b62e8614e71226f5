/** A progress bar: one line of a terminal, drawn again and again. */
import { bar } from './bar.ts'
import type { Terminal } from './terminal.ts'

export interface Progress {
  readonly done: number
  readonly total: number
}

const CLEAR_LINE = '\r\u001b[K'
/** The shortest time between two drawings, in ms. */
const INTERVAL = 100
const LONGEST_BAR = 40

/** @returns one line that is shorter than `columns`; where there is no space for the bar, only the text */
export function renderProgress({ done, total }: Progress, what: string, columns: number): string {
  const part = total === 0 ? 1 : Math.min(1, done / total)
  const all = total.toLocaleString('en')
  const text = `${(part * 100).toFixed(1).padStart(5)} %  ${done.toLocaleString('en').padStart(all.length)} of ${all} ${what}`
  // Two spaces are between bar and text. The last column stays empty, because some terminals wrap when it is written.
  const length = Math.min(LONGEST_BAR, columns - text.length - 3)
  if (length < 4) return text.slice(0, Math.max(0, columns - 1))
  return `${bar(Math.round(part * length * 8)).padEnd(length, '░')}  ${text}`
}

export class ProgressBar {
  readonly #terminal: Terminal
  readonly #what: string
  readonly #now: () => number
  #drawn = Number.NEGATIVE_INFINITY

  /**
   * @param what the unit of the progress, for example `offsets`
   * @param now ms of a clock that never goes backwards
   */
  constructor(terminal: Terminal, what: string, now: () => number) {
    this.#terminal = terminal
    this.#what = what
    this.#now = now
  }

  /** Draws the bar, unless the error output is not a terminal. */
  show(progress: Progress): void {
    if (!this.#terminal.watched || this.#now() - this.#drawn < INTERVAL) return
    this.#drawn = this.#now()
    this.#terminal.error(`${CLEAR_LINE}${renderProgress(progress, this.#what, this.#terminal.errorColumns)}`)
  }

  /** Removes the bar, so that the next text begins in an empty line. */
  clear(): void {
    if (this.#drawn !== Number.NEGATIVE_INFINITY) this.#terminal.error(CLEAR_LINE)
  }
}
