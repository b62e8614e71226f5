/** Headers, and the identity that consumers read from them (rule C1). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeHeaders, formatSequence, MAX_SOURCE_BYTES } from '../src/headers.ts'
import { readIdentity } from '../src/identity.ts'

const GIVEN = { source: '/poke-api-producer/1', sequence: 42, time: '2026-11-24T09:00:00.000Z', origin: 'live' } as const

test('the headers are those of CloudEvents 1.0 in binary mode', () => {
  const expected = [
    ['ce_specversion', '1.0'],
    ['ce_type', 'pokemon.captured.v1'],
    ['ce_source', '/poke-api-producer/1'],
    ['ce_id', '0000000000000042'],
    ['ce_time', '2026-11-24T09:00:00.000Z'],
    ['ce_sequence', '0000000000000042'],
    ['ce_origin', 'live'],
    ['content-type', 'application/json'],
  ]
  assert.deepEqual(encodeHeaders(GIVEN), expected)
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  assert.deepEqual(encodeHeaders({ ...GIVEN, traceparent }), [...expected, ['traceparent', traceparent]])
})

test('sequences sort as texts like numbers', () => {
  assert.equal(formatSequence(0), '0000000000000000')
  assert.equal(formatSequence(Number.MAX_SAFE_INTEGER), '9007199254740991')
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
      assert.equal(formatSequence(a) < formatSequence(b), a < b)
    }),
  )
})

test('an invalid sequence is refused', () => {
  for (const sequence of [-1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => formatSequence(sequence), { name: 'RangeError', message: new RegExp(`but is ${sequence}$`) })
  }
})

test('a source that consumers would not recognise is refused', () => {
  for (const source of ['', 's'.repeat(MAX_SOURCE_BYTES + 1), 'é'.repeat(MAX_SOURCE_BYTES / 2 + 1), '/a\0', '/\ud83d']) {
    assert.throws(() => encodeHeaders({ ...GIVEN, source }), { name: 'RangeError', message: /^ce_source must be 1 to 256 bytes/ })
  }
})

test('every event that can be written is read with its identity', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }), fc.maxSafeNat(), (source, sequence) => {
      let headers: [string, string][]
      try {
        headers = encodeHeaders({ ...GIVEN, source, sequence })
      } catch (error) {
        assert.ok(error instanceof RangeError)
        return
      }
      const identity = readIdentity(headers.map(([name, value]) => [Buffer.from(name), Buffer.from(value)]))
      assert.deepEqual(identity, { kind: 'ours', source, sequence })
    }),
    { numRuns: 500 },
  )
})
