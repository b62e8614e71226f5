/** Decodes a record's value. It accepts every value that can be counted, also ones that this project's producer would not write. */
import { isUtf8 } from 'node:buffer'
import { isName, isObject, isPositiveInteger, type PokemonEvent } from './event.ts'
import { MAX_TYPES, MAX_VALUE_BYTES, TYPE_NAME } from './limits.ts'

/** Why a value cannot be counted, in the order in which the reasons are checked. */
export type DecodeFailure = 'null-value' | 'empty-value' | 'too-large' | 'not-utf8' | 'not-json' | 'wrong-shape' | 'bad-type-name'

export type DecodeResult = { readonly ok: true; readonly event: PokemonEvent } | { readonly ok: false; readonly reason: DecodeFailure }

/**
 * Never throws. Only the names of the types are required. An id that does not match the schema becomes 0, a name the empty string, and a slot the
 * position of the type in the list. Members that the schema does not have are left out.
 * @param bytes the value, or null if the record has none; not kept
 */
export function decodeValue(bytes: Buffer | null): DecodeResult {
  if (bytes === null) return failure('null-value')
  if (bytes.length === 0) return failure('empty-value')
  if (bytes.length > MAX_VALUE_BYTES) return failure('too-large')
  // Buffer.toString would replace invalid bytes by U+FFFD, so that two different names could become the same.
  if (!isUtf8(bytes)) return failure('not-utf8')
  const text = bytes.toString()
  let value: unknown
  try {
    // RFC 8259 (8.1) lets a parser ignore a byte order mark, and JSON.parse does not.
    value = JSON.parse(text.startsWith('\ufeff') ? text.slice(1) : text)
  } catch {
    return failure('not-json')
  }
  return readEvent(value)
}

/** Copies the known members, so that other members of the JSON (nested deeply, large or named `__proto__`) are dropped. */
function readEvent(value: unknown): DecodeResult {
  if (!isObject(value)) return failure('wrong-shape')
  const { id, name, types } = value
  if (!Array.isArray(types) || types.length === 0 || types.length > MAX_TYPES) return failure('wrong-shape')
  const read: PokemonEvent['types'] = []
  let badName = false
  for (const entry of types) {
    if (!isObject(entry) || !isObject(entry.type) || typeof entry.type.name !== 'string') return failure('wrong-shape')
    badName ||= !TYPE_NAME.test(entry.type.name)
    const slot = isPositiveInteger(entry.slot) ? entry.slot : read.length + 1
    read.push({ slot, type: { name: entry.type.name } })
  }
  if (badName) return failure('bad-type-name')
  return { ok: true, event: { id: isPositiveInteger(id) ? id : 0, name: isName(name) ? name : '', types: read } }
}

function failure(reason: DecodeFailure): DecodeResult {
  return { ok: false, reason }
}
