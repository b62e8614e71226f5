/** Makes text from outside (names, record values, headers, messages of brokers and databases) safe to show: it cannot move, hide or reverse other text. */

/**
 * Control characters, formatting characters (among them those that reverse the direction of writing), private and unassigned ones, line and paragraph
 * separators, and single surrogates: https://www.unicode.org/reports/tr44/#General_Category_Values
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu
/** The same without the line feed. */
const UNPRINTABLE_BUT_LINE_FEED = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu

/**
 * The text on one line: unprintable characters are escaped as in JavaScript, as `\u202e`.
 * @param most characters of the result; a longer text is cut and ends with `…`
 */
export function printable(text: string, most = Number.POSITIVE_INFINITY): string {
  // Each character becomes at least one, so the beginning of a very long text is enough.
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

/** Makes JSON printable without changing its meaning. Line feeds stay: in JSON they only occur between values. */
export function printableJson(json: string): string {
  // In JSON these characters only occur in strings, and JSON escapes UTF-16 units like JavaScript.
  return json.replace(UNPRINTABLE_BUT_LINE_FEED, escapeUnits)
}

function escaped(character: string): string {
  const code = character.codePointAt(0) as number
  return code > 0xffff ? `\\u{${code.toString(16)}}` : escapeUnits(character)
}

function escapeUnits(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
}
