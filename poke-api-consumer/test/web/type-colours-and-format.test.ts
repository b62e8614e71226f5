import assert from 'node:assert/strict'
import { test } from 'node:test'
import typeStyles from '../../src/infrastructure/type-colours/types.json' with { type: 'json' }
import { formatAge, formatCount, formatName, formatNumberOf, formatRate } from '../../src/infrastructure/web/public/format.js'
import { contrast, inkOn, styleOf } from '../../src/infrastructure/web/public/type-colours.js'

const TYPES = 'normal fire water electric grass ice fighting poison ground flying psychic bug rock ghost dragon dark steel fairy'.split(' ')

test('every type has a colour, and text on it is readable', () => {
  for (const type of TYPES) {
    assert.ok(type in typeStyles, type)
    const { colour } = styleOf(typeStyles, type)
    assert.ok(contrast(colour, inkOn(colour)) >= 4.5, `${type}: ${contrast(colour, inkOn(colour))}`)
  }
})

test('an unknown type has a colour too, whatever its name', () => {
  for (const type of ['constructor', 'toString', '__proto__', 'sound']) assert.match(styleOf(typeStyles, type).colour, /^#[0-9a-f]{6}$/)
})

test('the contrast is computed as WCAG defines it', () => {
  assert.equal(contrast('#000000', '#ffffff'), 21)
  assert.equal(contrast('#777777', '#777777'), 1)
  assert.equal(contrast('#767676', '#ffffff').toFixed(2), '4.54')
})

test('numbers, rates, ages and names are formatted for people', () => {
  assert.equal(formatCount(1234567), '1,234,567')
  assert.equal(formatNumberOf(1, 'type'), '1 type')
  assert.equal(formatNumberOf(1000, 'type'), '1,000 types')
  assert.deepEqual(formatRate(0), ['0', 'a minute'])
  assert.deepEqual(formatRate(1 / 60), ['1', 'a minute'])
  assert.deepEqual(formatRate(0.983), ['59', 'a minute'])
  assert.deepEqual(formatRate(9.87), ['9.9', 'a second'])
  assert.deepEqual(formatRate(123456.7), ['123,457', 'a second'])
  assert.deepEqual(formatAge(-500), ['now', ''])
  assert.deepEqual(formatAge(59_999), ['59', 's ago'])
  assert.deepEqual(formatAge(3_600_000), ['60', 'min ago'])
  assert.deepEqual(formatAge(86_400_000 * 3), ['3', 'days ago'])
  assert.equal(formatName('mr-mime'), 'Mr Mime')
  assert.equal(formatName('flabébé'), 'Flabébé')
})
