/** What answers ask for in Retry-After, and what they cannot ask for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRetryAfter } from '../src/infrastructure/poke-api/retry-after.ts'

const NOW = Date.parse('2026-01-02T03:04:05Z')

for (const [header, ms] of [
  ['0', 0],
  ['120', 120_000],
  [' 7 ', 7000],
  ['Fri, 02 Jan 2026 03:04:35 GMT', 30_000],
  ['Fri, 02 Jan 2026 03:00:00 GMT', 0],
  ['Friday, 02-Jan-26 03:04:35 GMT', 30_000],
  [undefined, null],
  ['', null],
  ['-1', null],
  ['1.5', null],
  ['soon', null],
  ['2026-01-02T03:04:35Z', null],
  ['Fri, 99 Jan 2026 03:04:35 GMT', null],
] as const) {
  test(`${header === undefined ? 'no header' : `'${header}'`} asks for ${ms === null ? 'nothing' : `${ms} ms`}`, () => {
    assert.equal(parseRetryAfter(header, NOW), ms)
  })
}
