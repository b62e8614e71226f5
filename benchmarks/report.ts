/** The results of a measurement for people: tables, and notes that explain them. */
import type { Kafka } from '@poke-api-pipeline/dev'

export interface Section {
  readonly title: string
  /** Notes: what was measured, and what is durable at which point. */
  readonly notes: readonly string[]
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The options of all measurements. */
export interface Bench {
  readonly kafka: Kafka
  /** The folder for data of this run; removed at its end. */
  readonly folder: string
  /** How often each thing is measured. */
  readonly runs: number
  /** How many records a topic has. */
  readonly records: number
  /** A run that is so small that it ends in a minute and its figures mean nothing. */
  readonly smoke: boolean
  readonly say: (line: string) => void
}

/** A section as Markdown, its table aligned. */
export function sectionAsMarkdown({ title, notes, columns, rows }: Section): string {
  const widths = columns.map((column, index) =>
    Math.max(3, ...[column, ...rows.map((row) => row[index] ?? '')].map(({ length }) => length)),
  )
  const line = (cells: readonly string[]) => `| ${cells.map((cell, index) => pad(cell, widths[index] as number, index)).join(' | ')} |`
  const rule = `|${widths.map((width, index) => (index === 0 ? `${'-'.repeat(width + 2)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [`### ${title}`, '', ...notes, '', line(columns), rule, ...rows.map(line), ''].join('\n')
}

/** Words to the left, numbers to the right. */
function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

export const thousands = (value: number) => Math.round(value).toLocaleString('en')
export const twoDigits = (value: number) => value.toFixed(2)
