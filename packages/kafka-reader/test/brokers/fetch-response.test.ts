/** Encoding Fetch requests and decoding Fetch responses, without a broker. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fetchRequest, NEWEST_FETCH, OLDEST_FETCH, readFetchResponse } from '../../src/brokers/fetch-response.ts'
import { fetchBody } from '../fake-broker.ts'

const id = '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d'

test('a response is decoded with all its fields, and its records are not copied', () => {
  const records = Buffer.from('records, as they are')
  const bytes = fetchBody(id, [
    { partition: 7, highWatermark: 2 ** 40, lastStableOffset: 12, logStartOffset: 3, records, preferredReadReplica: 4 },
    { partition: 8, errorCode: 74, diverging: { epoch: 5, endOffset: 2 ** 41 }, aborted: [{ producerId: 2n ** 33n + 1n, firstOffset: 9 }] },
  ])
  const { errorCode, topics } = readFetchResponse(bytes)
  assert.equal(errorCode, 0)
  const [first, second] = topics.get(id) ?? []
  assert.ok(first && second)
  assert.deepEqual(
    [
      first.partition,
      first.errorCode,
      first.highWatermark,
      first.lastStableOffset,
      first.logStartOffset,
      first.preferredReadReplica,
      first.diverging,
    ],
    [7, 0, 2 ** 40, 12, 3, 4, null],
  )
  assert.deepEqual(bytes.subarray(first.recordsStart, first.recordsEnd), records)
  assert.deepEqual([second.partition, second.errorCode, second.diverging], [8, 74, { leaderEpoch: 5, endOffset: 2 ** 41 }])
  assert.equal(second.recordsEnd, second.recordsStart)
  assert.equal(second.aborted.restart().covers(2, 1, 9), true)
  assert.equal(second.aborted.restart().covers(0, 1, 9), false)
})

test('an error of the whole response is returned', () => {
  assert.equal(readFetchResponse(fetchBody(id, [], 70)).errorCode, 70)
})

test('a truncated response throws a RangeError; a damaged one throws it or decodes to other values, and never hangs', () => {
  const bytes = fetchBody(id, [
    { partition: 0, records: Buffer.from('abc'), aborted: [{ producerId: 1n, firstOffset: 2 }] },
    { partition: 1, diverging: { epoch: 1, endOffset: 1 } },
  ])
  for (let length = 0; length < bytes.length; length++) assert.throws(() => readFetchResponse(bytes.subarray(0, length)), RangeError)
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const damaged = Buffer.from(bytes)
      damaged[at] = byte
      try {
        readFetchResponse(damaged)
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('a response of which the connection kept only the beginning has the records up to there', () => {
  const records = Buffer.from('records, as they are')
  const bytes = fetchBody(id, [{ partition: 7 }, { partition: 8, records }, { partition: 9 }])
  const [, whole] = readFetchResponse(bytes).topics.get(id) ?? []
  assert.ok(whole)
  for (let kept = whole.recordsStart; kept < whole.recordsEnd; kept++) {
    const parts = readFetchResponse(bytes.subarray(0, kept), bytes.length - kept).topics.get(id) ?? []
    assert.deepEqual(
      parts.map(({ partition, recordsStart, recordsEnd, recordsMissing }) => [partition, recordsEnd - recordsStart, recordsMissing]),
      [
        [7, 0, 0],
        [8, kept - whole.recordsStart, whole.recordsEnd - kept],
      ],
    )
  }
})

test('a request is encoded in every supported version, with replica −1 in those that have the field', () => {
  const requested = [{ partition: 3, currentLeaderEpoch: 2, offset: 2 ** 40, lastEpoch: 1 }]
  const sizes = new Map<number, number>()
  for (let version = OLDEST_FETCH; version <= NEWEST_FETCH; version++) {
    const request = fetchRequest(version, id, requested, { maxBytes: 1 << 20, maxWait: 500 }).buffer
    sizes.set(version, request.length)
    assert.equal(request.readInt32BE(0), version < 15 ? -1 : 500, `version ${version}`)
  }
  assert.equal((sizes.get(13) ?? 0) - (sizes.get(15) ?? 0), 4)
  assert.throws(() => fetchRequest(18, id, requested, { maxBytes: 1, maxWait: 1 }), /no version 18/)
})
