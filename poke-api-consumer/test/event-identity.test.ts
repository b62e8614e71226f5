/** Rule C1: the reader finds the identities that the contract of the event describes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf } from '@poke-api-pipeline/kafka-reader/testing/batch-builder'
import { cursorOver } from '@poke-api-pipeline/kafka-reader/testing/cursor-over'
import { CE_TYPE, EVENT_IDENTITY, encodeHeaders, readIdentity } from '@poke-api-pipeline/pokemon-event'
import fc from 'fast-check'

/** The reader's names for the kinds of the contract. */
const EVENT_TYPES = { ours: 'expected', other: 'absent', unknown: 'foreign' } as const

type Header = readonly [name: string, value: string | null]

const event = fc
  .tuple(fc.constantFrom('/a', '/b', 's'.repeat(256)), fc.maxSafeNat())
  .map(([source, sequence]): Header[] => encodeHeaders({ source, sequence, time: '2026-11-29T09:00:00.000Z', origin: 'live' }))
const name = fc.constantFrom('ce_type', 'ce_source', 'ce_sequence', 'ce_time', 'ce_typo', 'content-type', '')
const value = fc.option(
  fc.oneof(fc.constantFrom(CE_TYPE, 'pokemon.captured.v2', '/a', '0000000000000001', '9007199254740992'), fc.string()),
)
const others = fc.array(fc.tuple(name, value), { maxLength: 3 })
const headers = fc.oneof(
  event,
  fc.tuple(others, event, others).map((parts) => parts.flat()),
  others,
)

test('a record is identified by its headers as the contract of the event says', () => {
  let identified = 0
  fc.assert(
    fc.property(fc.array(headers, { minLength: 1, maxLength: 10 }), (records) => {
      const cursor = cursorOver(batchOf({ records: records.map((each) => ({ headers: each })) }), EVENT_IDENTITY)
      for (const each of records) {
        assert.ok(cursor.next())
        const { kind, ...expected } = readIdentity(each.map(([key, of]) => [Buffer.from(key), of === null ? null : Buffer.from(of)]))
        assert.equal(cursor.eventType, EVENT_TYPES[kind])
        assert.deepEqual({ source: cursor.source?.name ?? null, sequence: cursor.sequence }, expected)
        if (expected.source !== null) identified++
      }
      assert.equal(cursor.next(), false)
    }),
    { numRuns: 1000 },
  )
  assert.ok(identified > 1000, `${identified} records had an identity`)
})
