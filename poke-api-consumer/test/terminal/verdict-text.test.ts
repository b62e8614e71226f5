/** The text of a verdict. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderVerdict } from '../../src/infrastructure/terminal/verdict-text.ts'

const look = { columns: 80, colours: false }
const types = [
  { type: 'bug', store: 1234, recount: 1234 },
  { type: 'electric', store: 11, recount: 12 },
  { type: 'fire', store: 1300, recount: 7 },
]

test('equal counts are reported in a sentence', () => {
  assert.equal(
    renderVerdict({ outcome: 'equal', types: types.slice(0, 1), records: 1234, remarks: [] }, 'poke-topic', look),
    'verify: equal. 1,234 records of poke-topic were counted again, and 1 type agrees.',
  )
  assert.equal(
    renderVerdict({ outcome: 'equal', types: [], records: 0, remarks: [] }, 'poke-topic', look),
    'verify: equal. No record of poke-topic has been counted yet.',
  )
})

test('different counts are reported as a table of the differences, with remarks', () => {
  assert.equal(
    renderVerdict({ outcome: 'different', types, records: 2000, remarks: ['partition 0: something'] }, 'poke-topic', look),
    [
      'verify: different. 2,000 records of poke-topic were counted again.',
      '',
      'type      store  topic  difference',
      'electric     11     12          -1',
      'fire      1,300      7      +1,293',
      '1 type agrees.',
      '',
      'partition 0: something',
    ].join('\n'),
  )
})

test('an inconclusive verdict says why, and which counts are equal nevertheless', () => {
  assert.equal(
    renderVerdict({ outcome: 'unknown', types: [], records: 0, remarks: ['partition 0: gone'] }, 'poke-topic', look),
    ['verify: inconclusive. poke-topic no longer contains everything that was counted, or should have been.', '', 'partition 0: gone'].join(
      '\n',
    ),
  )
  assert.equal(
    renderVerdict({ outcome: 'unknown', types: types.slice(0, 1), records: 1234, remarks: ['partition 0: gone'] }, 'poke-topic', look),
    [
      'verify: inconclusive. poke-topic no longer contains everything that was counted, or should have been.',
      'The remaining records are equal: 1,234 records of poke-topic were counted again, and 1 type agrees.',
      '',
      'partition 0: gone',
    ].join('\n'),
  )
})

test('a verdict before the end says that records are unread, and that the counted ones are right', () => {
  assert.equal(
    renderVerdict({ outcome: 'unread', types: types.slice(0, 1), records: 1234, remarks: ['partition 2: unread'] }, 'poke-topic', look),
    [
      'verify: unread. This group has not read every record of poke-topic yet.',
      'The counts so far are right: 1,234 records of poke-topic were counted again, and 1 type agrees.',
      '',
      'partition 2: unread',
    ].join('\n'),
  )
})
