/**
 * Finds a few members of a large JSON object without parsing the rest. PokeAPI's bodies have 105 kB on average, of which 150 bytes are kept;
 * parsing all of it costs five times as much as walking over it.
 *
 * It walks the whole text by the grammar of RFC 8259, restricted to what PokeAPI writes: no white space between tokens, no escapes, no
 * fractions, no deep nesting. Where it finds members, JSON.parse accepts the text too and finds the same ones. In every other case the result is
 * null, and the caller has to parse the text.
 */

/** The position of a value in the bytes. */
export interface Span {
  readonly start: number
  readonly end: number
}

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const ZERO = 0x30
const ONE = 0x31
const NINE = 0x39
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const DEEPEST = 32
/** The text is not within the restricted grammar. */
const UNKNOWN = -1

/**
 * @param json one JSON object in UTF-8
 * @param names of members of the object itself, without anything that JSON would escape
 * @returns the spans of those that are there; null: the text has to be parsed
 */
export function skimMembers<Name extends string>(json: Buffer, names: readonly Name[]): Partial<Record<Name, Span>> | null {
  const spans: Partial<Record<Name, Span>> = {}
  if (json[0] !== OPEN_BRACE) return null
  for (let at = 1; ; at++) {
    if (json[at] !== QUOTE) return null
    const keyEnd = skipString(json, at + 1)
    if (keyEnd === UNKNOWN || json[keyEnd] !== COLON) return null
    const start = keyEnd + 1
    const end = skipValue(json, start, DEEPEST)
    if (end === UNKNOWN) return null
    const name = json.toString('latin1', at + 1, keyEnd - 1) as Name
    if (names.includes(name)) {
      // A repeated name: parsers differ in which value they use.
      if (spans[name] !== undefined) return null
      spans[name] = { start, end }
    }
    at = end
    if (json[at] === CLOSE_BRACE) return at + 1 === json.length ? spans : null
    if (json[at] !== COMMA) return null
  }
}

/**
 * Whether brackets and braces nest deeper than so many levels. For each level, which is one byte of text, JSON.parse takes a hundred bytes of memory,
 * so a body of 4 MB would take hundreds of megabytes.
 */
export function nestsDeeperThan(levels: number, json: Buffer): boolean {
  let depth = 0
  let isText = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (byte === QUOTE) isText = !isText
    else if (isText) at += byte === BACKSLASH ? 1 : 0
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      if (++depth > levels) return true
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--
  }
  return false
}

/** @returns the place after the value that begins at `at`, or UNKNOWN. Reading past the end gives undefined, which is no token. */
function skipValue(json: Buffer, at: number, depth: number): number {
  switch (json[at]) {
    case QUOTE:
      return skipString(json, at + 1)
    case OPEN_BRACE:
      return depth === 0 ? UNKNOWN : skipObject(json, at + 1, depth - 1)
    case OPEN_BRACKET:
      return depth === 0 ? UNKNOWN : skipArray(json, at + 1, depth - 1)
    case 0x6e: // null
      return json[at + 1] === 0x75 && json[at + 2] === 0x6c && json[at + 3] === 0x6c ? at + 4 : UNKNOWN
    case 0x74: // true
      return json[at + 1] === 0x72 && json[at + 2] === 0x75 && json[at + 3] === 0x65 ? at + 4 : UNKNOWN
    case 0x66: // false
      return json[at + 1] === 0x61 && json[at + 2] === 0x6c && json[at + 3] === 0x73 && json[at + 4] === 0x65 ? at + 5 : UNKNOWN
    default:
      return skipInteger(json, at)
  }
}

/** @param at after the quote */
function skipString(json: Buffer, at: number): number {
  for (;;) {
    const byte = json[at++] as number
    // Most bytes are small letters: one comparison is enough for them.
    if (byte > BACKSLASH) continue
    if (byte === QUOTE) return at
    // Control characters are not allowed; undefined, past the end, is not >= 0x20 either.
    if (byte === BACKSLASH || !(byte >= 0x20)) return UNKNOWN
  }
}

/** @param at after the brace */
function skipObject(json: Buffer, at: number, depth: number): number {
  if (json[at] === CLOSE_BRACE) return at + 1
  for (;;) {
    if (json[at] !== QUOTE) return UNKNOWN
    const keyEnd = skipString(json, at + 1)
    if (keyEnd === UNKNOWN || json[keyEnd] !== COLON) return UNKNOWN
    const end = skipValue(json, keyEnd + 1, depth)
    if (end === UNKNOWN) return UNKNOWN
    const byte = json[end]
    at = end + 1
    if (byte === CLOSE_BRACE) return at
    if (byte !== COMMA) return UNKNOWN
  }
}

/** @param at after the bracket */
function skipArray(json: Buffer, at: number, depth: number): number {
  if (json[at] === CLOSE_BRACKET) return at + 1
  for (;;) {
    const end = skipValue(json, at, depth)
    if (end === UNKNOWN) return UNKNOWN
    const byte = json[end]
    at = end + 1
    if (byte === CLOSE_BRACKET) return at
    if (byte !== COMMA) return UNKNOWN
  }
}

function skipInteger(json: Buffer, at: number): number {
  if (json[at] === MINUS) at++
  let byte = json[at] as number
  if (byte === ZERO) byte = json[++at] as number
  else if (byte >= ONE && byte <= NINE) {
    do byte = json[++at] as number
    while (byte >= ZERO && byte <= NINE)
  } else return UNKNOWN
  // A fraction or an exponent is no comma and no end, so the caller returns UNKNOWN.
  return at
}
