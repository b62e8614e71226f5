/**
 * Reads a value that was written as `encodeValue` writes it, byte for byte, about four times as fast as JSON.parse: where no two values
 * are equal, each record pays for it. Whatever looks different (spaces, other members, escapes, letters beyond ASCII) is left to
 * JSON.parse, so a value that this function gives is the one that JSON.parse would have given.
 */
import type { PokemonEvent } from './event.ts'
import { MAX_NAME_LENGTH, MAX_TYPES } from './limits.ts'

const ID = Buffer.from('{"id":')
const NAME = Buffer.from(',"name":"')
const TYPES = Buffer.from('","types":[')
const SLOT = Buffer.from('{"slot":')
const TYPE = Buffer.from(',"type":{"name":"')
const TYPE_END = Buffer.from('"}}')
const END = Buffer.from(']}')
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const ZERO = 0x30

/** Digits of an id that is a safe integer whatever the digits are. */
const SAFE_DIGITS = 15
const MAX_TYPE_NAME = 64

/** @returns the event, or null where the bytes are anything but its canonical form */
export function readCanonicalValue(bytes: Buffer): PokemonEvent | null {
  const length = bytes.length
  if (!hasAt(bytes, 0, ID)) return null
  let at = ID.length
  const idStart = at
  let id = 0
  for (let digit = digitAt(bytes, at); digit >= 0; digit = digitAt(bytes, ++at)) id = id * 10 + digit
  // JSON knows no leading zeros, and an id begins at 1.
  if (at === idStart || at - idStart > SAFE_DIGITS || bytes[idStart] === ZERO) return null

  if (!hasAt(bytes, at, NAME)) return null
  at += NAME.length
  const nameStart = at
  for (let byte = bytes[at]; byte !== QUOTE; byte = bytes[++at]) {
    if (byte === undefined || byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return null
  }
  if (at - nameStart > MAX_NAME_LENGTH) return null
  const name = bytes.toString('latin1', nameStart, at)

  if (!hasAt(bytes, at, TYPES)) return null
  at += TYPES.length
  const types: PokemonEvent['types'] = []
  while (types.length < MAX_TYPES) {
    if (!hasAt(bytes, at, SLOT)) return null
    at += SLOT.length
    const slot = digitAt(bytes, at++)
    if (slot < 1 || !hasAt(bytes, at, TYPE)) return null
    at += TYPE.length
    const typeStart = at
    while (isTypeNameByte(bytes[at])) at++
    if (at === typeStart || at - typeStart > MAX_TYPE_NAME || !hasAt(bytes, at, TYPE_END)) return null
    types.push({ slot, type: { name: typeName(bytes, typeStart, at) } })
    at += TYPE_END.length
    if (bytes[at] === COMMA) at++
    else return hasAt(bytes, at, END) && at + END.length === length ? { id, name, types } : null
  }
  return null
}

function hasAt(bytes: Buffer, at: number, part: Buffer): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false
  return true
}

/** −1: no digit, or behind the end. */
function digitAt(bytes: Buffer, at: number): number {
  const byte = bytes[at]
  return byte !== undefined && byte >= ZERO && byte <= 0x39 ? byte - ZERO : -1
}

/** a-z, 0-9 and -, as in `TYPE_NAME`. */
function isTypeNameByte(byte: number | undefined): boolean {
  return byte !== undefined && ((byte >= 0x61 && byte <= 0x7a) || (byte >= ZERO && byte <= 0x39) || byte === 0x2d)
}

/** The types there were in 2026. Nothing depends on the list being complete: a type that is not in it costs a new string for each record. */
const KNOWN_TYPES =
  'bug dark dragon electric fairy fighting fire flying ghost grass ground ice normal poison psychic rock shadow steel stellar unknown water'.split(
    ' ',
  )
const BUCKETS = 64
const knownTypes: readonly (readonly string[])[] = Array.from({ length: BUCKETS }, (_, bucket) =>
  KNOWN_TYPES.filter((name) => bucketOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 1)) === bucket),
)

function bucketOf(length: number, first: number, last: number): number {
  return (length * 5 + first * 3 + last) % BUCKETS
}

/** The type name in bytes[start, end), not empty; the same string each time for the known ones, so that it is hashed once. */
function typeName(bytes: Buffer, start: number, end: number): string {
  const length = end - start
  for (const name of knownTypes[bucketOf(length, bytes[start] as number, bytes[end - 1] as number)] as readonly string[]) {
    if (name.length !== length) continue
    let i = 0
    while (i < length && name.charCodeAt(i) === bytes[start + i]) i++
    if (i === length) return name
  }
  return bytes.toString('latin1', start, end)
}
