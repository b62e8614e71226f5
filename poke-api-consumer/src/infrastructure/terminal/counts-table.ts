/** The counts as a table with bars. */
import { printable } from '@poke-api-pipeline/service-kit'
import type { TypeCounts } from '../../entities/tally.ts'
import { bar } from './bar.ts'
import { inTypeColour, type TerminalLook } from './type-colours.ts'

const LONGEST_BAR = 50
const SHORTEST_BAR = 8
/** The characters of a name that even a narrow terminal shows. */
const SHORTEST_NAME = 8

/**
 * One line for each type, the most frequent first, with its number of Pokémon and their share. The last line has the totals.
 * @param pokemon how many were counted
 * @returns lines without a line feed at the end
 */
export function renderCounts(counts: TypeCounts, pokemon: number, look: TerminalLook): string {
  if (counts.size === 0) return 'No Pokémon has been counted yet.'
  const sorted = [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  const most = Math.max(1, sorted[0]?.[1] ?? 0)
  const number = formatted(most).length
  // Two spaces between columns, and seven characters for the share.
  const room = look.columns - number - 13
  const rows = sorted.map(([type, count]): [string, number] => [printable(type, Math.max(SHORTEST_NAME, room - SHORTEST_BAR)), count])
  const name = Math.max(...rows.map(([type]) => type.length))
  const longest = Math.min(LONGEST_BAR, Math.max(SHORTEST_BAR, room - name))
  const lines = rows.map(([type, count]) => {
    const length = inTypeColour(type, barOf((count / most) * longest).padEnd(longest), look)
    return `${type.padEnd(name)}  ${formatted(count).padStart(number)}  ${length}  ${share(count, pokemon)}`
  })
  return [...lines, `${formatted(pokemon)} Pokémon, of ${formatted(rows.length)} ${rows.length === 1 ? 'type' : 'types'}`].join('\n')
}

/** A bar that many characters long; a count above 0 gets at least an eighth of a character. */
function barOf(length: number): string {
  return bar(length === 0 ? 0 : Math.max(1, Math.round(length * 8)))
}

/** The counts and their total are read one after the other, so a part may be greater than its whole: at most 100 % is shown. */
function share(part: number, whole: number): string {
  return `${(whole === 0 ? 0 : Math.min(100, (part * 100) / whole)).toFixed(1)} %`.padStart(7)
}

function formatted(count: number): string {
  return count.toLocaleString('en')
}
