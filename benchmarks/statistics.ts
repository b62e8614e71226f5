/** Statistics of several runs of the same case. */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @param values at least one */
export function spreadOf(values: readonly number[]): Spread {
  return { median: percentile(values, 50), min: Math.min(...values), max: Math.max(...values) }
}

/**
 * The percentile, linearly interpolated between two values (R's type 7).
 * @param values at least one, in any order
 */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) throw new RangeError('a percentile of no values')
  const sorted = [...values].sort((a, b) => a - b)
  const place = ((sorted.length - 1) * percent) / 100
  const below = sorted[Math.floor(place)] as number
  const above = sorted[Math.ceil(place)] as number
  return below + (above - below) * (place - Math.floor(place))
}

/** The median and, in brackets, the smallest and the largest value. @param write formats a value */
export function formatSpread({ median, min, max }: Spread, write: (value: number) => string): string {
  return min === max ? write(median) : `${write(median)} (${write(min)}–${write(max)})`
}
