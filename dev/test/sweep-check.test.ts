/** The comparison of captured and counted types at the end of a sweep. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { differences, renderDifferences, rise, sum } from '../sweep-check.ts'

const counts = (types: Record<string, number>) => new Map(Object.entries(types))

test('the rise of each type is its new count minus its old one, also where that is negative', () => {
  assert.deepEqual(rise(counts({ bug: 1, ice: 2, rock: 1 }), counts({ bug: 4, ice: 2, fire: 1 })), counts({ bug: 3, rock: -1, fire: 1 }))
})

test('equal counts have no differences, whatever their order', () => {
  assert.deepEqual(differences(counts({ bug: 1, ice: 2 }), counts({ ice: 2, bug: 1 })), [])
})

test('each type that differs is named with both numbers', () => {
  const rows = differences(counts({ bug: 3, ice: 2, fire: 10 }), counts({ bug: 3, ice: 3, water: 1, fire: 8 }))
  assert.deepEqual(rows, [
    { type: 'fire', captured: 10, counted: 8 },
    { type: 'ice', captured: 2, counted: 3 },
    { type: 'water', captured: 0, counted: 1 },
  ])
  assert.equal(
    renderDifferences(rows),
    [
      'type   captured   counted  difference',
      'fire         10         8          -2',
      'ice           2         3          +1',
      'water         0         1          +1',
    ].join('\n'),
  )
})

test('the sum includes all types', () => {
  assert.equal(sum(counts({ bug: 3, ice: 2 })), 5)
  assert.equal(sum(new Map()), 0)
})
