/** Text from outside (names, record values, headers, words of brokers and databases) as it may be shown: nothing in it moves, hides or turns other text. */

/**
 * Control characters, formatting characters (those that turn the direction of writing among them), private and unassigned ones, line and paragraph
 * separators, and surrogates without their other half: https://www.unicode.org/reports/tr44/#General_Category_Values
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu
/** The same without the line feed. */
const UNPRINTABLE_BUT_LINE_FEED = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu

/**
 * One line of it: characters that cannot be printed are escaped as in JavaScript, as `\u202e`.
 * @param most characters of the result; where there are more, the last one is `…`
 */
export function printable(text: string, most = Number.POSITIVE_INFINITY): string {
  // Each of them gives at least one: of a very long text only the beginning is looked at.
  const beginning = text.length > 2 * most ? text.slice(0, 2 * most + 2) : text
  const whole = beginning.replace(UNPRINTABLE, escaped)
  if (whole.length <= most) return whole
  const characters = [...whole]
  return characters.length <= most ? whole : `${characters.slice(0, Math.max(0, most - 1)).join('')}…`
}

/** The same for text of several lines: line feeds stay. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_BUT_LINE_FEED, escaped)
}

/** JSON that means the same, and is printable. Line feeds stay: in JSON they only stand between values. */
export function printableJson(json: string): string {
  // In JSON these characters stand in strings alone, where JavaScript's escapes of single UTF-16 units are the same.
  return json.replace(UNPRINTABLE_BUT_LINE_FEED, escapeUnits)
}

function escaped(character: string): string {
  const code = character.codePointAt(0) as number
  return code > 0xffff ? `\\u{${code.toString(16)}}` : escapeUnits(character)
}

function escapeUnits(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
}
