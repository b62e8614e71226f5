/** Compares captured with counted types. */
import { printable } from '@poke-api-pipeline/service-kit'

export type Counts = ReadonlyMap<string, number>

/** A type whose counted number differs from the captured one. */
export interface Difference {
  readonly type: string
  readonly captured: number
  readonly counted: number
}

/** By how much counts rose; unchanged types are left out. */
export function rise(before: Counts, after: Counts): Map<string, number> {
  const types = new Set([...before.keys(), ...after.keys()])
  const rises = [...types].map((type): [string, number] => [type, (after.get(type) ?? 0) - (before.get(type) ?? 0)])
  return new Map(rises.filter(([, by]) => by !== 0))
}

/** The types that differ, sorted by name; empty where all are equal. */
export function differences(captured: Counts, counted: Counts): Difference[] {
  const types = [...new Set([...captured.keys(), ...counted.keys()])].sort()
  return types
    .map((type) => ({ type, captured: captured.get(type) ?? 0, counted: counted.get(type) ?? 0 }))
    .filter((row) => row.captured !== row.counted)
}

export function sum(counts: Counts): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}

/** A table for people. @param counted the heading of the second number */
export function renderDifferences(rows: readonly Difference[], counted = 'counted'): string {
  const width = Math.max(4, ...rows.map(({ type }) => type.length))
  const line = (type: string, first: string, second: string, by: string) =>
    `${type.padEnd(width)}  ${first.padStart(8)}  ${second.padStart(8)}  ${by.padStart(10)}`
  return [
    line('type', 'captured', counted, 'difference'),
    ...rows.map((row) => {
      const by = row.counted - row.captured
      return line(printable(row.type), String(row.captured), String(row.counted), by > 0 ? `+${by}` : String(by))
    }),
  ].join('\n')
}
