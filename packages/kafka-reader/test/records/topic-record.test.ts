/** Records as objects: their content, which stays the same while the cursor moves on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordsOf } from '../../src/records/topic-record.ts'
import { batchOf, CODECS, recordBytes } from '../../testing/batch-builder.ts'
import { cursorOver } from '../../testing/cursor-over.ts'

for (const codec of CODECS) {
  test(`each record has the key, value, headers and time that were written (${codec})`, () => {
    const headers = [
      ['a', 'first'],
      ['b', null],
      ['a', 'last'],
      ['é', ''],
    ] as const
    const batches = Buffer.concat([
      batchOf({
        codec,
        baseTimestamp: 1000,
        records: [
          { key: 'k', value: 'v', headers, timestampDelta: 5 },
          { key: '', value: '' },
        ],
      }),
      batchOf({ codec, baseOffset: 2, records: [{ key: null, value: null }] }),
    ])
    const [full, empty, missing, ...others] = [...recordsOf(cursorOver(batches))]
    assert.ok(full && empty && missing)
    assert.equal(others.length, 0)
    assert.deepEqual([full.offset, full.timestamp, full.exactTimestamp], [0, 1005, 1005n])
    assert.deepEqual([String(full.key), String(full.value)], ['k', 'v'])
    assert.deepEqual(
      full.headers.map(([name, value]) => [name, value === null ? null : String(value)]),
      headers.map((header) => [...header]),
    )
    assert.deepEqual([String(full.header('a')), full.header('b'), full.header('c')], ['last', null, undefined])
    assert.deepEqual([empty.offset, empty.key?.length, empty.value?.length, empty.headers], [1, 0, 0, []])
    assert.deepEqual([missing.offset, missing.key, missing.value], [2, null, null])
  })
}

test('a timestamp beyond 2^53 is exact as a bigint', () => {
  const times = [(1n << 63n) - 1n, -(1n << 63n), (1n << 53n) + 1n, -5n]
  for (const time of times) {
    const [record] = recordsOf(cursorOver(batchOf({ baseTimestamp: time, records: [{ value: 'v' }] })))
    assert.deepEqual([record?.timestamp, record?.exactTimestamp], [Number(time), time])
  }
})

test('a timestamp below 2^53 is exact, even if it is the sum of numbers beyond 2^53', () => {
  const sums = [
    [(1n << 53n) + 1n, -2n],
    [(1n << 53n) + 1n, -(1n << 53n)],
    [-(1n << 60n) - 3n, (1n << 60n) + 8n],
  ] as const
  for (const [baseTimestamp, timestampDelta] of sums) {
    const [record] = recordsOf(cursorOver(batchOf({ baseTimestamp, records: [{ value: 'v', timestampDelta }] })))
    const time = baseTimestamp + timestampDelta
    assert.deepEqual([record?.timestamp, record?.exactTimestamp], [Number(time), time])
  }
})

test('a record with more than 10,000 headers has a value, and throws if its headers are read', () => {
  const headers = Array.from({ length: 10_001 }, () => ['', ''] as const)
  const [record] = recordsOf(cursorOver(batchOf({ records: [], recordBytes: recordBytes({ value: 'v', headers }), recordCount: 1 })))
  assert.equal(String(record?.value), 'v')
  assert.throws(() => record?.headers, { name: 'RangeError', message: 'the record at offset 0 has 10001 headers, more than 10000' })
})

test('records before a damaged one are returned, and the cursor has the reason why there are no more', () => {
  const damaged = batchOf({ baseOffset: 1, records: [{ value: 'two' }] })
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 2) ^ 1, damaged.length - 2)
  const cursor = cursorOver(Buffer.concat([batchOf({ records: [{ value: 'one' }] }), damaged]))
  assert.deepEqual(
    [...recordsOf(cursor)].map(({ value }) => String(value)),
    ['one'],
  )
  assert.match(cursor.corrupt ?? '', /checksum of the batch at offset 1/)
  assert.equal(cursor.nextOffset, 1)
})
