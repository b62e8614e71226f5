/** Formats numbers and names for people. */

const whole = new Intl.NumberFormat('en')
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

/** @param {number} n */
export const formatCount = (n) => whole.format(n)

/**
 * `1 duplicate`, `2 duplicates`.
 * @param {number} n
 * @param {string} thing
 */
export const formatNumberOf = (n, thing) => `${whole.format(n)} ${thing}${n === 1 ? '' : 's'}`

/**
 * A part of a whole as a percentage, at most 100 %. The part can be newer than the whole, and larger for a moment.
 * @param {number} part
 * @param {number} whole
 */
export const formatShare = (part, whole) => `${(whole === 0 ? 0 : Math.min(100, (part * 100) / whole)).toFixed(1)} %`

/**
 * A rate in the unit that is easiest to read.
 * @param {number} perSecond
 * @returns {[figure: string, unit: string]}
 */
export function formatRate(perSecond) {
  if (perSecond >= 100) return [whole.format(Math.round(perSecond)), 'a second']
  // The usual pace is one capture a second. The limit is far enough from it that the unit does not change all the time.
  if (perSecond >= 2) return [tenths.format(perSecond), 'a second']
  return [perSecond * 60 >= 10 ? whole.format(Math.round(perSecond * 60)) : tenths.format(perSecond * 60), 'a minute']
}

/**
 * @param {number} ms can be slightly negative, because two clocks differ
 * @returns {[figure: string, unit: string]}
 */
export function formatAge(ms) {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 2) return ['now', '']
  if (seconds < 100) return [String(Math.floor(seconds)), 's ago']
  if (seconds < 100 * 60) return [String(Math.floor(seconds / 60)), 'min ago']
  if (seconds < 48 * 3600) return [String(Math.floor(seconds / 3600)), 'h ago']
  return [whole.format(Math.floor(seconds / 86400)), 'days ago']
}

/**
 * `mr-mime` as `Mr Mime`.
 * @param {string} name
 */
export function formatName(name) {
  return name
    .split('-')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(' ')
}
