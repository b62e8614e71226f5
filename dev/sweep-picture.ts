/** Draws the progress of a sweep. */
import type { Reading } from './readings.ts'
import { sum } from './sweep-check.ts'
import { bar, bold, count, cut, duration, type Look, red } from './terminal-look.ts'

export interface SweepScene {
  readonly reading: Reading
  /** Seconds since the first reading of the sweep, and how many Pokémon were done then. */
  readonly running: number
  readonly doneAtFirst: number
}

const WIDEST_BAR = 40

/** A progress bar with the time left, figures, and problems. */
export function drawSweep(scene: SweepScene, look: Look): string[] {
  const { sweep, lag, waiting, duplicates, problems, counts } = scene.reading
  const share = sweep === null ? 0 : sweep.done / sweep.total
  const words = [
    sweep === null ? 'Requesting the list of Pokémon' : `${Math.floor(share * 100)} %  ${count(sweep.done)} of ${count(sweep.total)}`,
    timeLeft(scene),
  ].filter((part) => part !== null)
  const head = words.join('  ')
  const width = Math.max(4, Math.min(WIDEST_BAR, look.columns - head.length - 4))
  const figures = [
    `captured ${count(sweep === null ? null : sweep.done - sweep.leftOut)}`,
    ...(sweep?.leftOut ? [`left out ${count(sweep.leftOut)}`] : []),
    `waiting to be sent ${count(waiting)}`,
    `lag ${count(lag)}`,
  ].join('  ')
  // The data are kept from one sweep to the next.
  const inAll = `In all sweeps here: types ${count(sum(counts))}${duplicates ? `, duplicates left out ${count(duplicates)}` : ''}`
  return [
    '',
    `▕${bar(share, 1, width)}▏ ${bold(cut(head, look.columns - width - 3), look)}`,
    cut(figures, look.columns),
    cut(inAll, look.columns),
    ...problems.slice(0, 3).map((problem) => red(cut(`! ${problem}`, look.columns), look)),
  ]
}

/** The same in one line, for logs and pipes. */
export function sweepInALine(scene: SweepScene): string {
  const { sweep, lag, problems } = scene.reading
  if (sweep === null) return ['requesting the list of Pokémon', ...problems].join('; ')
  const leftOut = sweep.leftOut > 0 ? `, ${count(sweep.leftOut)} left out` : ''
  return [`${sweep.done - sweep.leftOut} of ${sweep.total} captured${leftOut}, lag ${count(lag)}`, timeLeft(scene), ...problems]
    .filter((part) => part !== null)
    .join('; ')
}

/** By the pace since the first reading; null while there is no pace yet, and at the end. */
function timeLeft({ reading: { sweep }, running, doneAtFirst }: SweepScene): string | null {
  if (sweep === null || running < 1 || sweep.done <= doneAtFirst || sweep.done === sweep.total) return null
  const pace = (sweep.done - doneAtFirst) / running
  return `${duration(Math.ceil((sweep.total - sweep.done) / pace))} left`
}
