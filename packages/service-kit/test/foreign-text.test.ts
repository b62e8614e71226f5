/** Text from outside is shown without characters that move, hide or turn other text, and is cut to the requested length. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { printable, printableJson, printableLines } from '../src/foreign-text.ts'

/** Random text, with many lone surrogates, control characters, bidirectional marks and separators. */
const foreign = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\u001b[2J', '\u009b31m', '\u202e', '\u2066', '\u2028', '\ud800', '\udc00', '\n', '\0'),
    ),
  )
  .map((parts) => parts.join(''))
const HARMFUL = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

suite('text from outside', () => {
  test('keeps letters of every script, and escapes unprintable characters', () => {
    assert.equal(printable('Flabébé ポケモン 🐉'), 'Flabébé ポケモン 🐉')
    assert.equal(printable('\u001b[2Jred\r\n\u202emon\ud800'), String.raw`\u001b[2Jred\u000d\u000a\u202emon\ud800`)
    assert.equal(printable('\u{e0001}'), ['\\', 'u{e0001}'].join(''))
  })

  test('is cut to the given length, and ends with an ellipsis then', () => {
    assert.equal(printable('abcdef', 4), 'abc…')
    assert.equal(printable('abcd', 4), 'abcd')
    assert.equal(printable('🐉🐉🐉', 3), '🐉🐉🐉')
    assert.equal(printable('x'.repeat(1_000_000), 10), 'xxxxxxxxx…')
  })

  test('contains nothing harmful, whatever it was, and is not longer than asked', () => {
    fc.assert(
      fc.property(foreign, fc.integer({ min: 1, max: 200 }), (text, most) => {
        assert.ok(!HARMFUL.test(printable(text)))
        assert.ok([...printable(text, most)].length <= most)
        assert.ok(!HARMFUL.test(printable(text, most)))
        assert.ok(!HARMFUL.test(printableLines(text).replaceAll('\n', '')))
      }),
    )
  })

  test('in JSON keeps its meaning', () => {
    fc.assert(
      fc.property(foreign, (text) => {
        const json = printableJson(`${JSON.stringify([text])}\n`)
        assert.deepEqual(JSON.parse(json), [text])
        assert.ok(!HARMFUL.test(json.trimEnd()))
      }),
    )
  })
})
