/** Draws the figures of a pipeline that runs on one machine. */
import { printable } from '@poke-api-pipeline/service-kit'
import type { Reading } from './readings.ts'
import { bold, count, cut, dim, type Look, red, typeBar } from './terminal-look.ts'

export interface Scene {
  readonly reading: Reading
  /** Addresses and files, as `Page` and `http://127.0.0.1:8080`; the most important last. */
  readonly places: readonly (readonly [what: string, where: string])[]
}

/** Where the captures are. Each is in one place: captured = waiting to be sent + lag + counted. */
function figuresOf({ captured, waiting, counted, lag, heldBack, duplicates, deadLetters }: Reading): string[] {
  return [
    `captured ${count(captured)}`,
    `waiting to be sent ${count(waiting)}`,
    `lag ${count(lag)}${heldBack ? ` (${count(heldBack)} held back by open transactions)` : ''}`,
    `counted ${count(counted)}`,
    ...(duplicates ? [`duplicates left out ${count(duplicates)}`] : []),
    ...(deadLetters ? [`dead letters ${count(deadLetters)}`] : []),
  ]
}

/** The figures cover all starts, because the data are kept from one start to the next. */
const SINCE = 'Since the first start'

/** Figures, problems, the counts as bars with the most frequent type on top, and addresses and files. Fits the screen. */
export function drawScene({ reading, places }: Scene, look: Look): string[] {
  const head = ['', ...wrap(`${SINCE}:`, figuresOf(reading), look.columns).map((line) => bold(line, look))]
  const problems = reading.problems.slice(0, 3).map((problem) => red(cut(`! ${problem}`, look.columns), look))
  const width = Math.max(...places.map(([what]) => what.length))
  const foot = ['', ...places.map(([what, where]) => dim(cut(`${what.padEnd(width)}  ${where}`, look.columns), look))]
  const freeLines = Math.max(1, look.rows - 1 - head.length - problems.length - 1 - foot.length)
  // The last printed lines stay visible, if all types are visible too.
  const counts = drawCounts(reading.counts, look, Math.max(Math.min(freeLines, ENOUGH_FOR_ALL_TYPES), freeLines - PRINTED_LINES))
  return [...head, ...problems, '', ...counts, ...foot]
}

/** At most two lines. */
function wrap(title: string, figures: readonly string[], columns: number): string[] {
  const line = (count: number) => `${title} ${figures.slice(0, count).join('  ')}`
  let fit = figures.length
  while (fit > 1 && [...line(fit)].length > columns) fit--
  const lines = fit < figures.length ? [line(fit), figures.slice(fit).join('  ')] : [line(fit)]
  return lines.map((text) => cut(text, columns))
}

const WIDEST_BAR = 50
const PRINTED_LINES = 4
/** The most frequent type first. Names are made printable, because records of anybody have them. */
function byCount(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([type, n]) => [printable(type), n])
}

/** Lines, in two columns. */
const ENOUGH_FOR_ALL_TYPES = 9

/** In two columns where one would be higher than `mostLines`. */
export function drawCounts(counts: ReadonlyMap<string, number>, look: Look, mostLines: number): string[] {
  if (counts.size === 0) return [dim('Nothing is counted yet.', look)]
  const rows = byCount(counts)
  const most = Math.max(...counts.values())
  const name = Math.max(...rows.map(([type]) => type.length))
  const number = count(most).length
  const columns = rows.length > mostLines && look.columns >= 60 ? 2 : 1
  const lines = Math.min(mostLines, Math.ceil(rows.length / columns))
  const columnWidth = Math.floor((look.columns - 3 * (columns - 1)) / columns)
  const barWidth = Math.min(WIDEST_BAR, columnWidth - name - number - 4)
  const cell = ([type, n]: [string, number]) => {
    if (barWidth < 4) return `${cut(type, Math.max(1, columnWidth - number - 1))} ${count(n)}`
    return `${type.padEnd(name)}  ${typeBar(type, n, most, barWidth, look)}  ${count(n).padStart(number)}`
  }
  const shown = rows.slice(0, lines * columns)
  const drawn = Array.from({ length: lines }, (_, line) =>
    Array.from({ length: columns }, (_, column) => shown[column * lines + line])
      .filter((row) => row !== undefined)
      .map(cell)
      .join('   '),
  )
  const hidden = rows.length - shown.length
  return hidden === 0 ? drawn : [...drawn.slice(0, -1), dim(cut(`… and ${hidden + columns} more`, look.columns), look)]
}

/** The same in one line, for logs and pipes. */
export function sceneInALine({ reading }: Scene): string {
  const { problems, counts } = reading
  const most = byCount(counts).slice(0, 5)
  const types = most.map(([type, n]) => `${type} ${n}`).join(', ')
  const inAll = `of ${count(counts.size)} ${counts.size === 1 ? 'type' : 'types'}${types === '' ? '' : `: ${types}${counts.size > most.length ? ', …' : ''}`}`
  return [`${SINCE}: ${figuresOf(reading).join(', ')}`, inAll, ...problems].join('; ')
}
