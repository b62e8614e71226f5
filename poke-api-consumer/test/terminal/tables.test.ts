import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { viewDeadLetter } from '../../src/infrastructure/dead-letters/dead-letter-view.ts'
import { renderCounts } from '../../src/infrastructure/terminal/counts-table.ts'
import { renderDeadLetters } from '../../src/infrastructure/terminal/dead-letters-table.ts'
import { deadLetter } from '../kept-dead-letter.ts'

const plain = { columns: 40, colours: false }

test('counts are a table with bars, ordered by count and then by name', () => {
  const counts = new Map([
    ['bug', 500],
    ['water', 1000],
    ['fire', 500],
    ['ice', 1],
  ])
  assert.equal(
    renderCounts(counts, 1600, plain),
    [
      'water  1,000  █████████████████   62.5 %',
      'bug      500  ████████▌           31.3 %',
      'fire     500  ████████▌           31.3 %',
      'ice        1  ▏                    0.1 %',
      '1,600 Pokémon, of 4 types',
    ].join('\n'),
  )
})

test('no line is longer than the terminal, and colours do not change the text', () => {
  const counts = new Map([
    ['electric', 123_456],
    ['a-type-nobody-knows', 7],
    ['w'.repeat(64), 2_000_000_000],
  ])
  for (const columns of [50, 80, 200]) {
    const text = renderCounts(counts, 2_000_000_000, { columns, colours: false })
    assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= columns)
    const coloured = renderCounts(counts, 2_000_000_000, { columns, colours: true })
    assert.notEqual(coloured, text)
    assert.equal(stripVTControlCharacters(coloured), text)
  }
})

test('a sentence says that there are no counts, or no dead letters', () => {
  assert.equal(renderCounts(new Map(), 0, plain), 'No Pokémon has been counted yet.')
  assert.equal(renderDeadLetters([], plain), 'No dead letters.')
})

test('a record without a timestamp shows none', () => {
  const shown = deadLetter(1, { timestamp: -1n })
  assert.match(renderDeadLetters([viewDeadLetter(shown)], { columns: 1000, colours: false }), /at 10 +none +not-json/)
})

test('a truncated value says how many of its bytes are kept', () => {
  const value = { bytes: 2_000_000, sha256: 'ab'.repeat(32) }
  const shown = deadLetter(1, { reason: 'too-large', value: Buffer.alloc(65_536, 'v'), cut: { value } })
  assert.match(
    renderDeadLetters([viewDeadLetter(shown)], { columns: 1000, colours: false }),
    /v… \(2,000,000 bytes, the first 65,536 kept\)$/,
  )
})

test('dead letters are a table, cut at the edge of the terminal, without control characters', () => {
  const deadLetters = [
    deadLetter(12, { value: Buffer.from('\u001b[2Jnot json at all, and long enough to be cut somewhere along the line') }),
    deadLetter(3, { reason: 'null-value', value: null, timestamp: 2n ** 63n - 1n }),
  ].map((deadLetter) => viewDeadLetter(deadLetter))
  assert.equal(
    renderDeadLetters(deadLetters, { columns: 100, colours: true }),
    [
      'id  record               time                      reason      value',
      '12  poke-topic-0 at 120  2023-11-14T22:13:20.000Z  not-json    \\u001b[2Jnot json at all, and long e…',
      '3   poke-topic-0 at 30   9223372036854775807       null-value  null',
    ].join('\n'),
  )
})
