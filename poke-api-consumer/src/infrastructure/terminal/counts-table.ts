/** The counts as a table with bars, and as JSON. */
import { printable } from 'service-kit'
import type { TypeCounts } from '../../entities/type-counts.ts'
import { inTypeColour, type TerminalLook } from './look.ts'

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const LONGEST_BAR = 50
const SHORTEST_BAR = 8
const LONGEST_NAME = 100

/**
 * One line for each type, the most frequent first, and one with the sum.
 * @returns lines without a line feed at the end
 */
export function renderCounts(counts: TypeCounts, look: TerminalLook): string {
  if (counts.size === 0) return 'Nothing was counted yet.'
  const rows = [...counts]
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .map(([type, count]): [string, number] => [printable(type, LONGEST_NAME), count])
  const total = rows.reduce((sum, [, count]) => sum + count, 0)
  const most = Math.max(1, rows[0]?.[1] ?? 0)
  const name = Math.max('in all'.length, ...rows.map(([type]) => type.length))
  const number = formatted(total).length
  // Two spaces between columns, and nine characters for the share.
  const bar = Math.min(LONGEST_BAR, Math.max(SHORTEST_BAR, look.columns - name - number - 13))
  const lines = rows.map(([type, count]) => {
    const length = inTypeColour(type, barOf((count / most) * bar).padEnd(bar), look)
    return `${type.padEnd(name)}  ${formatted(count).padStart(number)}  ${length}  ${share(count / total)}`
  })
  return [...lines, `${'in all'.padEnd(name)}  ${formatted(total).padStart(number)}`].join('\n')
}

/** A bar so many characters long, to an eighth of one; never nothing for something. */
function barOf(length: number): string {
  const eighths = length === 0 ? 0 : Math.max(1, Math.round(length * 8))
  return '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]
}

function share(part: number): string {
  return `${(part * 100).toFixed(1)} %`.padStart(7)
}

function formatted(count: number): string {
  return count.toLocaleString('en')
}
