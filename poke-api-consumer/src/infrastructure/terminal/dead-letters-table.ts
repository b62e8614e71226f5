/** Dead letters as a table. */
import type { DeadLetterView } from '../dead-letters/dead-letter-view.ts'
import type { TerminalLook } from './type-colours.ts'

/**
 * One line for each, in the given order: id, record, time, reason, and the beginning of the value without control characters.
 * @returns lines without a line feed at the end
 */
export function renderDeadLetters(deadLetters: readonly DeadLetterView[], look: TerminalLook): string {
  if (deadLetters.length === 0) return 'No dead letters.'
  const head = ['id', 'record', 'time', 'reason', 'value']
  const rows = deadLetters.map((deadLetter) => {
    const { value } = deadLetter
    return [
      String(deadLetter.id),
      `${deadLetter.topic}-${deadLetter.partition} at ${deadLetter.offset}`,
      timeOf(deadLetter),
      deadLetter.reason,
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

/** Kafka's value for a record without a timestamp. */
const NO_TIMESTAMP = -1

/** A record may have any number as its timestamp. A number that is not a time is shown unchanged. */
function timeOf({ timestamp, timestampText }: DeadLetterView): string {
  if (timestamp === NO_TIMESTAMP) return 'none'
  const time = new Date(timestamp ?? Number.NaN)
  return Number.isNaN(time.getTime()) ? timestampText : time.toISOString()
}

function cut(line: string, columns: number): string {
  const characters = [...line.trimEnd()]
  return characters.length <= columns ? characters.join('') : `${characters.slice(0, columns - 1).join('')}…`
}
