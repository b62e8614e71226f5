/** Dead letters as a table for people. */
import type { DeadLetterView } from '../dead-letters/dead-letter-view.ts'
import type { TerminalLook } from './type-colours.ts'

/**
 * One line for each, in the order given: id, where it was, when, why, and the beginning of its value with nothing in it that a terminal obeys.
 * @returns lines without a line feed at the end
 */
export function renderDeadLetters(letters: readonly DeadLetterView[], look: TerminalLook): string {
  if (letters.length === 0) return 'No dead letters.'
  const head = ['id', 'record', 'time', 'reason', 'value']
  const rows = letters.map((letter) => {
    const { value } = letter
    return [
      String(letter.id),
      `${letter.topic}-${letter.partition} at ${letter.offset}`,
      timeOf(letter),
      letter.reason,
      value === null ? 'null' : `${value.preview} (${sizeOf(value)})`,
    ]
  })
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  return [head, ...rows].map((row) => cut(row.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  '), look.columns)).join('\n')
}

function sizeOf({ bytes, kept }: NonNullable<DeadLetterView['value']>): string {
  const size = `${bytes.toLocaleString('en')} ${bytes === 1 ? 'byte' : 'bytes'}`
  return kept === undefined ? size : `${size}, the first ${kept.toLocaleString('en')} kept`
}

/** What Kafka writes where a record has no timestamp. */
const NO_TIMESTAMP = -1

/** A record may carry any number as its timestamp: one that is no time is shown as it is. */
function timeOf({ timestamp, timestampText }: DeadLetterView): string {
  if (timestamp === NO_TIMESTAMP) return 'none'
  const time = new Date(timestamp ?? Number.NaN)
  return Number.isNaN(time.getTime()) ? timestampText : time.toISOString()
}

function cut(line: string, columns: number): string {
  const characters = [...line.trimEnd()]
  return characters.length <= columns ? characters.join('') : `${characters.slice(0, columns - 1).join('')}…`
}
