/** Reads how long an answer asks the client to wait. */

/**
 * @param header of RFC 9110, 10.2.3: seconds, or a date
 * @param now ms since the epoch
 * @returns ms from now on, never negative; null where the header is missing or cannot be read
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null
  const text = header.trim()
  if (/^\d+$/.test(text)) return Number(text) * 1000
  // An HTTP date has its weekday and zone; Date.parse also accepts texts that are no dates ("5", "-1").
  const date = /^[A-Z][a-z]+,? .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}
