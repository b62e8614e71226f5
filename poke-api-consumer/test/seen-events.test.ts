/** The set by which `verify` recognises duplicates (rule V1): exact for any sequences, in memory that depends only on the number of events. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SeenEvents } from '../src/entities/seen-events.ts'

test('tells the first sight of an event from an equal and from a different one, as a plain map does', () => {
  // Some sequences are close together, so that pages fill up, and others far apart.
  const sequence = fc.oneof(fc.nat(600), fc.nat(20_000), fc.maxSafeNat())
  const checksum = fc.constantFrom(0, 1, -1, 0xffff_ffff, 0x8000_0000)
  fc.assert(
    fc.property(fc.array(fc.tuple(sequence, checksum), { maxLength: 2000, size: 'max' }), (seen) => {
      const events = new SeenEvents()
      const model = new Map<number, number>()
      for (const [number, sum] of seen) {
        const known = model.get(number)
        const expected = known === undefined ? 'first' : known === (sum | 0) ? 'equal' : 'different'
        assert.equal(events.see(number, sum), expected)
        if (known === undefined) model.set(number, sum | 0)
      }
    }),
    { numRuns: 50 },
  )
})

test('events that are far apart or of very many sources do not take a page each', () => {
  const before = process.memoryUsage()
  const sources = Array.from({ length: 20_000 }, () => new SeenEvents())
  for (const [i, source] of sources.entries()) for (let page = 0; page < 2; page++) source.see(page * 2 ** 40 + i, i)
  const after = process.memoryUsage()
  const took = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
  assert.ok(took < 100 * 1024 * 1024, `40,000 events took ${took} bytes`)
  assert.equal(sources[7]?.see(2 ** 40 + 7, 7), 'equal')
})
