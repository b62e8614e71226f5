/** Properties of decoding any value. The vectors have the single cases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeValue } from '../src/decode.ts'
import { encodeValue } from '../src/encode.ts'
import type { PokemonEvent } from '../src/event.ts'
import { MAX_VALUE_BYTES } from '../src/limits.ts'
import { pokemonEvents } from './arbitrary-events.ts'

const PIKACHU: PokemonEvent = { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] }

test('a nearly valid event is decoded, or refused for the right reason', () => {
  const value = (id: string, name: string, ...types: [slot: string, name: string][]) =>
    `{"id":${id},"name":"${name}","types":[${types.map(([slot, type]) => `{"slot":${slot},"type":{"name":"${type}"}}`).join()}]}`
  const fire: [string, string] = ['1', 'fire']
  const good = value('25', 'pikachu', fire)
  const cases: [text: string, outcome: PokemonEvent['id'] | string][] = [
    [good, 25],
    [value('999999999999999', 'x', fire), 999_999_999_999_999],
    [value('9007199254740991', 'x', fire), Number.MAX_SAFE_INTEGER],
    [value('9007199254740992', 'x', fire), 0],
    [value('0', 'x', fire), 0],
    [value('-1', 'x', fire), 0],
    [value('1.0', 'x', fire), 1],
    [value('1e2', 'x', fire), 100],
    [value('025', 'x', fire), 'not-json'],
    [value('', 'x', fire), 'not-json'],
    [value('1', '', fire), 1],
    [value('1', 'x'.repeat(100), fire), 1],
    [value('1', 'x'.repeat(101), fire), 1],
    [value('1', '\\u0041', fire), 1],
    [value('1', '\\', fire), 'not-json'],
    [value('1', '\n', fire), 'not-json'],
    [value('1', '\x7f', fire), 1],
    [value('1', 'é', fire), 1],
    [value('1', 'x', ['0', 'fire']), 1],
    [value('1', 'x', ['10', 'fire']), 1],
    [value('1', 'x', ['01', 'fire']), 'not-json'],
    [value('1', 'x', ['', 'fire']), 'not-json'],
    [value('1', 'x', ['1', '']), 'bad-type-name'],
    [value('1', 'x', ['1', 'a'.repeat(64)]), 1],
    [value('1', 'x', ['1', 'a'.repeat(65)]), 'bad-type-name'],
    [value('1', 'x', ['1', 'Fire']), 'bad-type-name'],
    [value('1', 'x', ['1', '_']), 'bad-type-name'],
    [value('1', 'x', ...Array(64).fill(fire)), 1],
    [value('1', 'x', ...Array(65).fill(fire)), 'wrong-shape'],
    [value('1', 'x'), 'wrong-shape'],
    [good.replace(']', ',]'), 'not-json'],
    [`${good} `, 25],
    [`${good}}`, 'not-json'],
    [`${good}\0`, 'not-json'],
    ...Array.from({ length: good.length - 1 }, (_, end): [string, string] => [good.slice(0, end + 1), 'not-json']),
  ]
  for (const [text, outcome] of cases) {
    const decoded = decodeValue(Buffer.from(text))
    assert.equal(decoded.ok ? decoded.event.id : decoded.reason, outcome, text)
  }
})

test('decoding never throws, whatever the bytes are', () => {
  const pieces = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '\\u0000',
    '\ufeff',
    '\0',
    '1e999',
    '__proto__',
    'types',
    'type',
    'name',
    'null',
    ' ',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        fc.array(pieces, { maxLength: 60 }).map((parts) => Buffer.from(parts.join(''))),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        assert.equal(typeof decodeValue(bytes).ok, 'boolean')
      },
    ),
    { numRuns: 5000 },
  )
})

test('the deepest nesting that fits is decoded or refused, without a stack overflow', () => {
  const depth = MAX_VALUE_BYTES / 2 - 50
  const types = '"types":[{"type":{"name":"fire"}}]'
  assert.deepEqual(decodeValue(Buffer.from(`{"deep":${'['.repeat(depth)}${']'.repeat(depth)},${types}}`)).ok, true)
  assert.deepEqual(decodeValue(Buffer.from('['.repeat(MAX_VALUE_BYTES))), { ok: false, reason: 'not-json' })
  assert.deepEqual(decodeValue(Buffer.from('{"a":'.repeat(MAX_VALUE_BYTES / 5))), { ok: false, reason: 'not-json' })
})

test('a decoded event contains only the members of the schema', () => {
  const text =
    '{"__proto__":{"polluted":1},"id":25,"constructor":{"prototype":{"polluted":1}},"name":"pikachu","types":[{"slot":1,"__proto__":{"polluted":1},"type":{"name":"electric","url":"x"}}]}'
  const decoded = decodeValue(Buffer.from(text))
  assert.deepEqual(decoded, { ok: true, event: PIKACHU })
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})

test('a missing id becomes 0, a missing name the empty string, and missing slots the positions in the list', () => {
  const expected = {
    ok: true,
    event: {
      id: 0,
      name: '',
      types: [
        { slot: 1, type: { name: 'fire' } },
        { slot: 2, type: { name: 'flying' } },
      ],
    },
  }
  const types = '[{"type":{"name":"fire"}},{"slot":"2","type":{"name":"flying"}}]'
  for (const text of [`{"types":${types}}`, `{"id":0,"name":"","types":${types}}`, `{"id":9007199254740993,"name":5,"types":${types}}`]) {
    assert.deepEqual(decodeValue(Buffer.from(text)), expected, text)
  }
  assert.deepEqual(decodeValue(Buffer.from(JSON.stringify({ name: 'x'.repeat(101), types: JSON.parse(types) }))), expected)
})

test('the bytes are not kept, so overwriting them does not change an event', () => {
  fc.assert(
    fc.property(pokemonEvents, (event) => {
      const bytes = encodeValue(event)
      const decoded = decodeValue(bytes)
      bytes.fill(0)
      assert.deepEqual(decoded, { ok: true, event })
    }),
  )
})
