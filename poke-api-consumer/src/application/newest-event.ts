/** The event that was counted last, for people to see. */
import type { CountedResponse, NewestEvent } from './ports.ts'

/** The event counted last by these responses; null where none was. */
export function newestOf(responses: readonly Pick<CountedResponse, 'recent' | 'newestTimestamp' | 'newestOrigin'>[]): NewestEvent | null {
  const last = responses.findLast(({ recent }) => recent.length > 0)
  const pokemon = last?.recent.at(-1)
  if (last === undefined || pokemon === undefined) return null
  return { ...pokemon, at: last.newestTimestamp < 0 ? null : last.newestTimestamp, origin: last.newestOrigin }
}
