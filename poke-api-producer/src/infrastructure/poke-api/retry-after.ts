/** Reads how long an answer asks to be left alone. */

/**
 * @param header of RFC 9110, 10.2.3: seconds, or a date
 * @param now ms since the epoch
 * @returns ms from now on, never negative; null where nothing is asked, or nothing that can be read
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null
  const text = header.trim()
  if (/^\d+$/.test(text)) return Number(text) * 1000
  // An HTTP date names its day and its zone; what Date.parse takes beyond that ("5", "-1") is no date.
  const date = /^[A-Z][a-z]+,? .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}
