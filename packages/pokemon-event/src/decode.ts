/** Reads a record's value, whoever wrote it: what can be counted is counted. */
import { isUtf8 } from 'node:buffer'
import { isName, isObject, isPositiveInteger, type PokemonEvent } from './event.ts'
import { MAX_TYPES, MAX_VALUE_BYTES, TYPE_NAME } from './limits.ts'

/** Why a value cannot be counted, each looked for in this order. */
export type DecodeFailure = 'null-value' | 'empty-value' | 'too-large' | 'not-utf8' | 'not-json' | 'wrong-shape' | 'bad-type-name'

export type DecodeResult = { readonly ok: true; readonly event: PokemonEvent } | { readonly ok: false; readonly reason: DecodeFailure }

/**
 * Never throws. Counting needs the names of the types alone: where the value does not say the rest as the schema asks,
 * the id is 0, the name empty, and a slot the type's place in the list. Members that the event does not have are left out.
 * @param bytes the value, or null where the record has none; not kept
 */
export function decodeValue(bytes: Buffer | null): DecodeResult {
  if (bytes === null) return failure('null-value')
  if (bytes.length === 0) return failure('empty-value')
  if (bytes.length > MAX_VALUE_BYTES) return failure('too-large')
  // Buffer.toString would turn bad bytes into U+FFFD, and two different names into one.
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

/** Built anew rather than passed on, so that what else was in the JSON (deep, large or named `__proto__`) goes no further. */
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
