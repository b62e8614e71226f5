/** The list of a partition's dead letters, which takes few bytes for each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeadLetterList, type ListedDeadLetter } from '../src/entities/dead-letter-list.ts'

const letter: fc.Arbitrary<ListedDeadLetter<'kept' | 'counted'>> = fc
  .record({
    offset: fc.oneof(fc.nat({ max: 20 }), fc.maxSafeNat()),
    leaderEpoch: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
    reason: fc.constantFrom('not-json' as const, 'too-large' as const),
    state: fc.constantFrom('kept' as const, 'counted' as const),
    cut: fc.constantFrom({}, { value: { bytes: 2_000_000, sha256: 'ab'.repeat(32) } }),
  })
  .map((each) => ({ ...each }))

test('gives the added dead letters in order, and finds the last one of an offset', () => {
  fc.assert(
    fc.property(fc.array(letter, { maxLength: 200 }), fc.nat({ max: 20 }), (given, wanted) => {
      const sorted = given.toSorted((a, b) => a.offset - b.offset)
      const list = new DeadLetterList<'kept' | 'counted'>()
      for (const each of sorted) list.add(each)
      assert.deepEqual([...list], sorted)
      assert.equal(list.length, sorted.length)
      for (const offset of [wanted, ...sorted.map((each) => each.offset)]) {
        assert.equal(
          list.find(offset),
          sorted.findLastIndex((each) => each.offset === offset),
        )
      }
    }),
  )
})

test('takes less than 40 bytes for each', () => {
  const before = process.memoryUsage().arrayBuffers
  const list = new DeadLetterList<'kept'>()
  for (let offset = 0; offset < 1_000_000; offset++) list.add({ offset, leaderEpoch: 0, reason: 'not-json', state: 'kept', cut: {} })
  assert.ok(process.memoryUsage().arrayBuffers - before < 40_000_000)
  assert.equal(list.find(999_999), 999_999)
})
