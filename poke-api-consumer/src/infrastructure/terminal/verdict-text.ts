/** The verdict of `verify` as text. */
import { printable } from '@poke-api-pipeline/service-kit'
import type { Verdict } from '../../application/verify.ts'
import { inTypeColour, type TerminalLook } from './type-colours.ts'

const LONGEST_NAME = 100

/**
 * A sentence with the verdict, a table of the types whose counts differ, and a line for each remark.
 * @returns lines without a line feed at the end
 */
export function renderVerdict({ outcome, types, records, remarks }: Verdict, topic: string, look: TerminalLook): string {
  const differing = types.filter(({ store, recount }) => store !== recount)
  const agreeing = types.length - differing.length
  const read = `${formatted(records)} ${records === 1 ? 'record' : 'records'} of ${topic} ${records === 1 ? 'was' : 'were'} counted again`
  const agree = `${formatted(agreeing)} ${agreeing === 1 ? 'type agrees' : 'types agree'}`
  const verdicts = {
    equal: `verify: equal. ${records === 0 ? `No record of ${topic} has been counted yet.` : `${read}, and ${agree}.`}`,
    different: `verify: different. ${read}.`,
    unknown: `verify: inconclusive. ${topic} no longer contains everything that was counted, or should have been.`,
    unread: `verify: unread. This group has not read every record of ${topic} yet.`,
  }
  const lines = [verdicts[outcome]]
  if (outcome === 'unread' && records > 0) lines.push(`The counts so far are right: ${read}, and ${agree}.`)
  if (outcome === 'unknown' && records > 0) lines.push(`The remaining records are equal: ${read}, and ${agree}.`)
  if (differing.length > 0) {
    const head = ['type', 'store', 'topic', 'difference']
    const rows = differing.map(({ type, store, recount }) => [
      printable(type, LONGEST_NAME),
      formatted(store),
      formatted(recount),
      signed(store - recount),
    ])
    const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
    const line = (row: readonly string[]) =>
      row.map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0))).join('  ')
    lines.push('', line(head), ...rows.map((row) => inTypeColour(row[0] ?? '', line(row), look)))
    if (agreeing > 0) lines.push(`${agree}.`)
  }
  if (remarks.length > 0) lines.push('', ...remarks.map((remark) => printable(remark)))
  return lines.join('\n')
}

function formatted(count: number): string {
  return count.toLocaleString('en')
}

function signed(difference: number): string {
  return difference > 0 ? `+${formatted(difference)}` : formatted(difference)
}
