/**
 * The code agrees with `vectors.json`. The expected bytes are written there by hand and not derived from the code, so a mistake in the code
 * cannot change them.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type DecodeFailure, decodeValue } from '../src/decode.ts'
import { encodeKey, encodeValue } from '../src/encode.ts'
import type { PokemonEvent } from '../src/event.ts'
import { type EventHeaders, encodeHeaders } from '../src/headers.ts'
import { type Identity, readIdentity } from '../src/identity.ts'
import document from '../vectors.json' with { type: 'json' }

/** Bytes, with their text if they are UTF-8. */
interface Bytes {
  readonly text?: string
  readonly hex: string
  /** The number of spaces (0x20) that follow. */
  readonly spaces?: number
}

interface Header<Value> {
  readonly name: string
  readonly value: Value
}

interface WriteVector extends EventHeaders {
  readonly name: string
  readonly event: PokemonEvent
  readonly record: { readonly key: Bytes; readonly value: Bytes; readonly headers: readonly Header<Bytes>[] }
}

/** `counted` has the counted types; `reason` tells why the record cannot be counted. */
interface ReadVector {
  readonly name: string
  readonly value: Bytes | null
  readonly counted?: readonly string[]
  readonly reason?: DecodeFailure
}

interface IdentityVector extends Identity {
  readonly name: string
  readonly headers: readonly Header<Bytes | null>[]
}

const { write, read, identity } = document as unknown as {
  write: readonly WriteVector[]
  read: readonly ReadVector[]
  identity: readonly IdentityVector[]
}

describe('write vectors', () => {
  for (const { name, event, record, ...headers } of write) {
    test(name, () => {
      assert.equal(encodeKey(event), record.key.text)
      assert.equal(encodeValue(event).toString('hex'), record.value.hex)
      assert.deepEqual(
        encodeHeaders(headers).map(([header, value]) => ({ header, hex: Buffer.from(value).toString('hex') })),
        record.headers.map(({ name: header, value }) => ({ header, hex: value.hex })),
      )
    })

    test(`${name}: is decoded to the same event with the same identity`, () => {
      assert.deepEqual(decodeValue(bytesOf(record.value)), { ok: true, event })
      assert.deepEqual(readIdentity(record.headers.map((header) => [Buffer.from(header.name), bytesOf(header.value)])), {
        kind: 'ours',
        source: headers.source,
        sequence: headers.sequence,
      })
    })
  }
})

describe('read vectors', () => {
  for (const { name, value, counted, reason } of read) {
    test(`${reason ?? 'counted'}: ${name}`, () => {
      const decoded = decodeValue(value === null ? null : bytesOf(value))
      if (decoded.ok) assert.deepEqual([...new Set(decoded.event.types.map(({ type }) => type.name))], counted)
      else assert.equal(decoded.reason, reason)
    })
  }
})

describe('identity vectors', () => {
  for (const { name, headers, kind, source, sequence } of identity) {
    test(`${kind}: ${name}`, () => {
      const found = readIdentity(headers.map((header) => [Buffer.from(header.name), header.value === null ? null : bytesOf(header.value)]))
      assert.deepEqual(found, { kind, source, sequence })
    })
  }
})

test('text and bytes of a value in the vectors are the same, so that either can be used', () => {
  let texts = 0
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const { text, hex } = value as Partial<Bytes>
    if (typeof text === 'string' && typeof hex === 'string') {
      texts++
      assert.equal(Buffer.from(text).toString('hex'), hex)
    }
    for (const member of Object.values(value)) look(member)
  }
  look(document)
  assert.ok(texts > 100, `only ${texts} texts were looked at`)
})

test('names of vectors are unique, so that a name identifies a failure', () => {
  for (const vectors of [write, read, identity]) {
    const names = vectors.map(({ name }) => name)
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    )
  }
})

test('there is a vector for every reason', () => {
  const reasons = new Set(read.map(({ reason }) => reason).filter((reason) => reason !== undefined))
  assert.deepEqual([...reasons].sort(), ['bad-type-name', 'empty-value', 'not-json', 'not-utf8', 'null-value', 'too-large', 'wrong-shape'])
})

function bytesOf({ hex, spaces = 0 }: Bytes): Buffer {
  return Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(spaces, ' ')])
}
