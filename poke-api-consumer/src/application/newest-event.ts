/** The event that was counted last, for the page. */
import type { CountedResponse, NewestEvent } from './ports.ts'

/** @returns the last event that these responses counted; null if they counted none */
export function newestOf(responses: readonly Pick<CountedResponse, 'recent' | 'newestTimestamp' | 'newestOrigin'>[]): NewestEvent | null {
  const last = responses.findLast(({ recent }) => recent.length > 0)
  const pokemon = last?.recent.at(-1)
  if (last === undefined || pokemon === undefined) return null
  return { ...pokemon, at: last.newestTimestamp < 0 ? null : last.newestTimestamp, origin: last.newestOrigin }
}
