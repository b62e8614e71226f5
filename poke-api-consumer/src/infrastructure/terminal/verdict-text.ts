/** What `verify` found, for people. */
import { printable } from '@poke-api-pipeline/service-kit'
import type { Verdict } from '../../application/verify.ts'
import { inTypeColour, type TerminalLook } from './type-colours.ts'

const LONGEST_NAME = 100

/**
 * The verdict in a sentence; where counts differ, a table of these types; then what was remarked, a line each.
 * @returns lines without a line feed at the end
 */
export function renderVerdict({ outcome, types, records, remarks }: Verdict, topic: string, look: TerminalLook): string {
  const differing = types.filter(({ store, recount }) => store !== recount)
  const agreeing = types.length - differing.length
  const read = `${formatted(records)} ${records === 1 ? 'record' : 'records'} of ${topic} read anew`
  const agree = `${formatted(agreeing)} ${agreeing === 1 ? 'type agrees' : 'types agree'}`
  const verdicts = {
    equal: `verify: equal. ${records === 0 ? `Nothing of ${topic} was counted yet.` : `${read}, ${agree}.`}`,
    different: `verify: different. ${read}.`,
    unknown: `verify: unknown. ${topic} does not show all that was counted or was to be counted.`,
    unread: `verify: unread. ${topic} has records that this group has not read.`,
  }
  const lines = [verdicts[outcome]]
  if (outcome === 'unread' && records > 0) lines.push(`What was counted is right: ${read}, ${agree}.`)
  if (outcome === 'unknown' && records > 0) lines.push(`The rest is equal: ${read}, ${agree}.`)
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
