/** The head of a value: its types do not depend on it, so equal rests of values have equal types. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeValue } from '../src/decode.ts'
import { endOfHead } from '../src/value-head.ts'
import { nearlyCanonical } from './arbitrary-events.ts'

function headEnd(bytes: Buffer, start = 0, end = bytes.length): number {
  return endOfHead(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), start, end)
}

/** The part of a value that counting needs. */
function typesOf(bytes: Buffer): string[] | string {
  const decoded = decodeValue(bytes)
  return decoded.ok ? decoded.event.types.map(({ type }) => type.name) : decoded.reason
}

test('the rest of a value has the same types, or the same reason of refusal, behind any head', () => {
  let heads = 0
  fc.assert(
    fc.property(nearlyCanonical, fc.constantFrom('{"id":7,"name":"', '{"id":123456,"name":"types:[{}]'), (bytes, head) => {
      const end = headEnd(bytes)
      if (end < 0) return
      heads++
      assert.deepEqual(typesOf(Buffer.concat([Buffer.from(head), bytes.subarray(end)])), typesOf(bytes))
    }),
    { numRuns: 20_000 },
  )
  assert.ok(heads > 1000, `only ${heads} had a head`)
})

test('a head ends at the quotation mark behind the name, wherever the value lies', () => {
  for (const [id, name] of [
    [1, 'x'],
    [25, 'pikachu'],
    [999_999_999_999_999, 'x'.repeat(100)],
    [7, ' !#$%&~'],
    [7, ''],
  ] as const) {
    const value = Buffer.from(`{"id":${id},"name":"${name}","types":[{"slot":1,"type":{"name":"fire"}}]}`)
    const padded = Buffer.concat([Buffer.from('...'), value, Buffer.from('...')])
    assert.equal(padded.toString('latin1', 3, headEnd(padded, 3, 3 + value.length)), `{"id":${id},"name":"${name}`)
  }
})

test('any other beginning of a value is not a head', () => {
  const rest = '","types":[{"slot":1,"type":{"name":"fire"}}]}'
  for (const head of [
    ...['', '{', '{"id":', '{"id":,"name":"x', '{"id":01,"name":"x', '{"id":0,"name":"x', '{"id":-1,"name":"x', '{"id":1.5,"name":"x'],
    ...['{"id":1e2,"name":"x', '{"id":1000000000000000,"name":"x', '{"id": 1,"name":"x', '{"id":1, "name":"x', '{"id":1,"nome":"x'],
    ...['{"id":1,"name":x', '{"Id":1,"name":"x', '{"id";1,"name":"x', ' {"id":1,"name":"x', '[{"id":1,"name":"x'],
    ...['{"id":1,"name":"\\u0041', '{"id":1,"name":"\n', '{"id":1,"name":"\x7f', '{"id":1,"name":"é', `{"id":1,"name":"${'x'.repeat(101)}`],
  ]) {
    assert.equal(headEnd(Buffer.from(head + rest)), -1, head)
  }
  const whole = Buffer.from(`{"id":25,"name":"pikachu${rest}`)
  const end = whole.length - rest.length
  for (let cut = 0; cut <= end; cut++) assert.equal(headEnd(whole, 0, cut), -1, `cut at ${cut}`)
})
