/** The cursor over record batches: what it shows, what it leaves out, and what it refuses (rules C1, F2, F4 and F5). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRecordsBatch } from '@platformatic/kafka'
import { AbortedTransactions } from '../../src/records/aborted-transactions.ts'
import {
  type BuiltRecord,
  batchOf,
  CODECS,
  eventHeaders,
  LOG_APPEND_TIME,
  marker,
  recordBytes,
  seal,
  sized,
  TEST_IDENTITY,
  TRANSACTIONAL,
  varint,
} from '../../testing/batch-builder.ts'
import { newCursor, nothingAborted, walk } from '../walk.ts'

const values = (bytes: Buffer, options = {}) => walk(bytes, options).records.map(({ value }) => value)
const letters = (...names: string[]): BuiltRecord[] => names.map((value) => ({ value }))

describe('record batches', () => {
  for (const codec of CODECS) {
    test(`written by the client library are read with the same content (${codec})`, () => {
      const bytes = createRecordsBatch(
        [
          {
            topic: 't',
            key: Buffer.from('25'),
            value: Buffer.from('widgets'),
            timestamp: 1000n,
            headers: new Map([[Buffer.from('a'), Buffer.from('b')]]),
          },
          { topic: 't', value: Buffer.from('x'.repeat(100_000)), timestamp: 70_000n },
          { topic: 't', key: Buffer.alloc(0), value: Buffer.alloc(0), timestamp: 999n },
        ],
        { compression: codec, producerId: -1n, producerEpoch: -1 },
      ).buffer
      const { records, nextOffset, corrupt } = walk(bytes)
      assert.deepEqual(
        records.map(({ offset, timestamp, key, value, headers }) => [offset, timestamp, key, value?.length, headers]),
        [
          [0, 1000, '25', 7, [['a', 'b']]],
          [1, 70_000, null, 100_000, []],
          [2, 999, '', 0, []],
        ],
      )
      assert.deepEqual([nextOffset, corrupt], [3, null])
    })
  }

  test('each have their own offset and leader epoch', () => {
    const bytes = Buffer.concat([
      batchOf({ baseOffset: 2 ** 40, leaderEpoch: 3, records: letters('a', 'b') }),
      batchOf({ baseOffset: 2 ** 40 + 2, leaderEpoch: 5, records: letters('c') }),
    ])
    const { records, nextOffset, lastLeaderEpoch } = walk(bytes, { fetchOffset: 2 ** 40 })
    assert.deepEqual(
      records.map(({ offset, leaderEpoch, value }) => [offset - 2 ** 40, leaderEpoch, value]),
      [
        [0, 3, 'a'],
        [1, 3, 'b'],
        [2, 5, 'c'],
      ],
    )
    assert.deepEqual([nextOffset, lastLeaderEpoch], [2 ** 40 + 3, 5])
  })

  test('show null keys and values as null', () => {
    const { records } = walk(
      batchOf({
        records: [
          { key: null, value: null },
          { key: '', value: '' },
        ],
      }),
    )
    assert.deepEqual(
      records.map(({ key, value }) => [key, value]),
      [
        [null, null],
        ['', ''],
      ],
    )
  })

  test('have the timestamp of each record, however far apart, or the time of the append', () => {
    const deltas = [0, 63, 64, -1, -64, -65, 8191, 8192, 2 ** 31, -(2 ** 40)]
    const records = deltas.map((timestampDelta) => ({ value: '', timestampDelta }))
    const bytes = batchOf({ baseTimestamp: 1_795_540_067_195, records })
    assert.deepEqual(
      walk(bytes).records.map(({ timestamp }) => timestamp - 1_795_540_067_195),
      deltas,
    )
    const appended = batchOf({ baseTimestamp: 5, maxTimestamp: 77, attributes: LOG_APPEND_TIME, records })
    assert.deepEqual(new Set(walk(appended).records.map(({ timestamp }) => timestamp)), new Set([77]))
  })

  test('can have timestamps that are not a valid date', () => {
    const records = [
      { value: 'a', timestampDelta: 2n ** 63n - 1n },
      { value: 'b', timestampDelta: -(2n ** 63n) },
    ]
    assert.deepEqual(values(batchOf({ records })), ['a', 'b'])
  })

  test('have timestamps exact to 64 bits, with the same overflow as in the Java client', () => {
    const [least, most] = [-(2n ** 63n), 2n ** 63n - 1n]
    const times = [0n, -1n, 1_764_353_000_123_456_789n, -9_000_000_000_000_000_000n, 2n ** 53n + 1n, most, least]
    const seen = walk(batchOf({ records: times.map((timestampDelta) => ({ value: '', timestampDelta })) })).records
    assert.deepEqual(
      seen.map(({ time }) => BigInt(time)),
      times,
    )
    for (const [baseTimestamp, timestampDelta] of [
      [most, 1n],
      [least, -1n],
      [most, most],
    ] as const) {
      const [record] = walk(batchOf({ baseTimestamp, records: [{ value: '', timestampDelta }] })).records
      assert.equal(record?.time, String(BigInt.asIntN(64, baseTimestamp + timestampDelta)))
    }
    for (const maxTimestamp of times) {
      const bytes = batchOf({ baseTimestamp: 5, maxTimestamp, attributes: LOG_APPEND_TIME, records: [{ value: '', timestampDelta: 3 }] })
      assert.equal(walk(bytes).records[0]?.time, String(maxTimestamp))
    }
  })

  test('with more records than there are rows show all of them', () => {
    for (const codec of ['none', 'lz4'] as const) {
      const records = Array.from({ length: 40_000 }, (_, i) => ({ value: String(i), headers: eventHeaders(i) }))
      const { records: seen, nextOffset } = walk(batchOf({ records, codec }), { fetchOffset: 20_000, maxBatchBytes: 1 << 26 })
      assert.equal(seen.length, 20_000)
      for (const [i, { offset, value, sequence }] of seen.entries()) {
        assert.deepEqual([offset, value, sequence], [20_000 + i, String(20_000 + i), 20_000 + i])
      }
      assert.equal(nextOffset, 40_000)
    }
  })

  test('are read from the start after each reset, whatever was read before', () => {
    const cursor = newCursor()
    const good = batchOf({ records: letters('a', 'b') })
    assert.notEqual(walk(good.subarray(0, 70), {}, cursor).corrupt, null)
    assert.deepEqual(walk(good, {}, cursor).records.length, 2)
    assert.deepEqual(walk(Buffer.alloc(0), { fetchOffset: 9 }, cursor), { records: [], nextOffset: 9, lastLeaderEpoch: -1, corrupt: null })
  })
})

describe('rule F2', () => {
  test('records before the requested offset are not shown', () => {
    const bytes = batchOf({ baseOffset: 10, records: letters('a', 'b', 'c') })
    assert.deepEqual(values(bytes, { fetchOffset: 12 }), ['c'])
  })

  test('the position after a batch follows its last offset, even if offsets are missing in it, before it or at its end', () => {
    const bytes = Buffer.concat([
      batchOf({
        baseOffset: 10,
        lastOffsetDelta: 9,
        records: [
          { value: 'a', offsetDelta: 2 },
          { value: 'b', offsetDelta: 5 },
        ],
      }),
      batchOf({ baseOffset: 30, lastOffsetDelta: 4, records: [] }),
    ])
    const first = walk(bytes.subarray(0, bytes.length - 61), { fetchOffset: 8 })
    assert.deepEqual([first.records.map(({ offset }) => offset), first.nextOffset], [[12, 15], 20])
    assert.equal(walk(bytes, { fetchOffset: 8 }).nextOffset, 35)
  })

  test('a batch of which compaction removed all records is skipped, whatever its codec', () => {
    const bytes = batchOf({ lastOffsetDelta: 4, records: [], codec: 'zstd', compressed: Buffer.alloc(0) })
    assert.deepEqual(walk(bytes), { records: [], nextOffset: 5, lastLeaderEpoch: 0, corrupt: null })
  })

  test('without a callback the cursor stops before missing offsets: between batches, within one, at its end and at its start', () => {
    const cursor = newCursor(1 << 20, undefined, null)
    const within = [
      { value: 'a', offsetDelta: 2 },
      { value: 'b', offsetDelta: 5 },
    ]
    const bytes = Buffer.concat([
      batchOf({ baseOffset: 10, leaderEpoch: 3, lastOffsetDelta: 9, records: within }),
      batchOf({ baseOffset: 30, leaderEpoch: 4, records: letters('c') }),
    ])
    const ends = [8, 10, 12, 13, 15, 16, 20, 30].map((fetchOffset) => {
      const from = fetchOffset < 20 ? bytes : bytes.subarray(12 + bytes.readInt32BE(8))
      const { records, nextOffset, lastLeaderEpoch } = walk(from, { fetchOffset }, cursor)
      const hole = cursor.corrupt === null ? null : `${cursor.corruptKind} to ${cursor.corruptEnd}`
      return [fetchOffset, records.map(({ value }) => value).join(''), nextOffset, hole, lastLeaderEpoch]
    })
    assert.deepEqual(ends, [
      [8, '', 8, 'missing to 10', -1],
      [10, '', 10, 'missing to 12', -1],
      [12, 'a', 13, 'missing to 15', 3],
      [13, '', 13, 'missing to 15', -1],
      [15, 'b', 16, 'missing to 20', 3],
      [16, '', 16, 'missing to 20', -1],
      [20, '', 20, 'missing to 30', -1],
      [30, 'c', 31, null, 4],
    ])
  })

  test('the cursor stops before missing offsets in a batch with more records than there are rows, too', () => {
    const records = Array.from({ length: 40_000 }, (_, i) => ({ value: String(i), offsetDelta: i < 30_000 ? i : i + 7 }))
    const cursor = newCursor(1 << 26, undefined, null)
    const first = walk(batchOf({ records }), {}, cursor)
    assert.deepEqual([first.records.length, first.nextOffset, cursor.corruptEnd], [30_000, 30_000, 30_007])
    const rest = walk(batchOf({ records }), { fetchOffset: 30_007 }, cursor)
    assert.deepEqual([rest.records.length, rest.nextOffset, rest.corrupt], [10_000, 40_007, null])
  })

  test('the offsets of aborted transactions and control batches are not missing', () => {
    const bytes = Buffer.concat([
      batchOf({ baseOffset: 0, producerId: 5n, attributes: TRANSACTIONAL, lastOffsetDelta: 4, records: [] }),
      marker('abort', 5n, 5),
      batchOf({ baseOffset: 6, records: letters('a') }),
    ])
    const cursor = newCursor(1 << 20, undefined, null)
    const seen = walk(bytes, { aborted: [{ producerId: 5n, firstOffset: 0 }] }, cursor)
    assert.deepEqual([seen.records.map(({ value }) => value), seen.nextOffset, seen.corrupt], [['a'], 7, null])
  })

  test('a last batch that is cut off is ignored, wherever it is cut', () => {
    const whole = batchOf({ records: letters('a') })
    const next = batchOf({ baseOffset: 1, records: letters('b') })
    for (let length = 0; length < next.length; length++) {
      const { records, nextOffset, corrupt } = walk(Buffer.concat([whole, next.subarray(0, length)]))
      assert.deepEqual([records.length, nextOffset, corrupt], [1, 1, null], `cut off after ${length} bytes`)
    }
  })

  test('a first batch that is cut off is corrupt, because fetching it again would not help', () => {
    const bytes = batchOf({ records: letters('a') })
    assert.match(walk(bytes.subarray(0, 65)).corrupt ?? '', /offset 0 is cut off after 65 bytes/)
  })

  test('the position is before the present batch until the cursor leaves it', () => {
    const cursor = newCursor()
    walk(Buffer.alloc(0), {}, cursor)
    const bytes = Buffer.concat([
      batchOf({ records: letters('a', 'b') }),
      batchOf({ baseOffset: 2, leaderEpoch: 7, records: letters('c', 'd') }),
    ])
    cursor.reset(bytes, 0, bytes.length, 0, nothingAborted)
    const positions: number[][] = []
    while (cursor.next()) positions.push([cursor.nextOffset, cursor.lastLeaderEpoch])
    assert.deepEqual(positions, [
      [0, -1],
      [0, -1],
      [2, 0],
      [2, 0],
    ])
    assert.deepEqual([cursor.nextOffset, cursor.lastLeaderEpoch], [4, 7])
  })
})

describe('pauses', () => {
  /** The position at each pause, with the offsets that were shown until then. */
  function pieces(bytes: Buffer, workBetweenPauses: number, fetchOffset = 0) {
    const cursor = newCursor(1 << 20, workBetweenPauses).reset(bytes, 0, bytes.length, fetchOffset, nothingAborted)
    const found: { readonly offsets: number[]; readonly nextOffset: number; readonly epoch: number; readonly held: number }[] = []
    do {
      const offsets: number[] = []
      while (cursor.next()) offsets.push(cursor.offset)
      found.push({ offsets, nextOffset: cursor.nextOffset, epoch: cursor.lastLeaderEpoch, held: cursor.bytes.length })
    } while (cursor.paused)
    return found
  }

  test('between batches leave the position behind the last batch', () => {
    for (const codec of CODECS) {
      const bytes = Buffer.concat([
        batchOf({ leaderEpoch: 1, records: letters('a', 'b'), lastOffsetDelta: 3, recordCount: 2, codec }),
        batchOf({ leaderEpoch: 2, baseOffset: 4, records: letters('c'), codec }),
        batchOf({ leaderEpoch: 3, baseOffset: 5, records: letters('d', 'e'), codec }).subarray(0, -1),
      ])
      assert.deepEqual(pieces(bytes, 1), [
        { offsets: [0, 1], nextOffset: 4, epoch: 1, held: 0 },
        { offsets: [4], nextOffset: 5, epoch: 2, held: 0 },
        { offsets: [], nextOffset: 5, epoch: 2, held: 0 },
      ])
      assert.deepEqual(pieces(bytes, 1 << 20), [{ offsets: [0, 1, 4], nextOffset: 5, epoch: 2, held: 0 }])
    }
  })

  test('within a batch of very many records leave the position behind the last record shown', () => {
    const count = 40_000
    const batch = batchOf({ leaderEpoch: 7, records: Array.from({ length: count }, () => ({ value: 'v' })), codec: 'zstd' })
    for (const fetchOffset of [0, 5, 16_384, 20_000, count - 1]) {
      const found = pieces(batch, 1, fetchOffset)
      const offsets = found.flatMap((piece) => piece.offsets)
      assert.deepEqual([offsets.length, offsets[0], offsets.at(-1)], [count - fetchOffset, fetchOffset, count - 1])
      for (const piece of found) {
        const last = piece.offsets.at(-1)
        if (last !== undefined) assert.deepEqual([piece.nextOffset, piece.epoch], [last + 1, 7])
      }
      if (fetchOffset === 0) assert.deepEqual(found.map((piece) => piece.offsets.length).slice(0, 2), [16_384, 16_384])
    }
  })

  test('do not happen in a usual response without compression', () => {
    const batch = batchOf({ records: Array.from({ length: 1000 }, () => ({ value: Buffer.alloc(60) })) })
    const many = Math.floor((8 << 20) / batch.length)
    const bytes = Buffer.alloc(many * batch.length)
    for (let i = 0; i < many; i++) {
      batch.writeBigInt64BE(BigInt(i * 1000), 0)
      batch.copy(bytes, i * batch.length)
    }
    const cursor = newCursor().reset(bytes, 0, bytes.length, 0, nothingAborted)
    while (cursor.next());
    assert.deepEqual([cursor.paused, cursor.nextOffset], [false, many * 1000])
  })
})

describe('a cursor that is stopped at a record', () => {
  const bytes = Buffer.concat([
    batchOf({ leaderEpoch: 1, records: letters('a', 'b'), lastOffsetDelta: 4, recordCount: 2 }),
    batchOf({ leaderEpoch: 2, baseOffset: 7, records: letters('c', 'd', 'e') }),
  ])
  const endedAt = (offset: number, how: 'endBefore' | 'endBehind') => {
    const cursor = newCursor().reset(bytes, 0, bytes.length, 0, nothingAborted)
    while (cursor.next() && cursor.offset < offset);
    cursor[how]()
    return [cursor.nextOffset, cursor.lastLeaderEpoch]
  }

  test('has the position behind or before that record; before the first record of a batch, with the epoch of the batch before', () => {
    assert.deepEqual(
      [0, 1, 7, 8, 9].map((offset) => endedAt(offset, 'endBehind')),
      [
        [1, 1],
        [2, 1],
        [8, 2],
        [9, 2],
        [10, 2],
      ],
    )
    assert.deepEqual(
      [0, 1, 7, 8, 9].map((offset) => endedAt(offset, 'endBefore')),
      [
        [0, -1],
        [1, 1],
        [5, 1],
        [8, 2],
        [9, 2],
      ],
    )
    const behind = bytes.subarray(bytes.length - batchOf({ records: letters('c', 'd', 'e') }).length)
    const cursor = newCursor().reset(behind, 0, behind.length, 8, nothingAborted)
    cursor.next()
    cursor.endBefore()
    assert.deepEqual(
      [cursor.offset, cursor.nextOffset, cursor.lastLeaderEpoch],
      [8, 8, -1],
      'asked for from there, nothing is known of what is before',
    )
  })
})

describe('rule F4', () => {
  const transactional = (producerId: bigint, baseOffset: number, ...names: string[]) =>
    batchOf({ producerId, baseOffset, attributes: TRANSACTIONAL, records: letters(...names) })

  test('control batches have offsets, but show no records', () => {
    const bytes = Buffer.concat([transactional(7n, 0, 'a'), marker('commit', 7n, 1), marker('abort', 8n, 2), transactional(7n, 3, 'b')])
    const { records, nextOffset } = walk(bytes)
    assert.deepEqual([records.map(({ value }) => value), nextOffset], [['a', 'b'], 4])
  })

  test('records of aborted transactions are not shown, not even of two in a row by the same producer', () => {
    const bytes = Buffer.concat([
      transactional(7n, 0, 'no', 'no'),
      marker('abort', 7n, 2),
      transactional(7n, 3, 'no'),
      marker('abort', 7n, 4),
      transactional(7n, 5, 'yes'),
      marker('commit', 7n, 6),
    ])
    const aborted = [
      { producerId: 7n, firstOffset: 3 },
      { producerId: 7n, firstOffset: 0 },
    ]
    assert.deepEqual(values(bytes, { aborted }), ['yes'])
  })

  test('transactions of several producers can be interleaved', () => {
    const huge = 2n ** 40n + 7n
    const bytes = Buffer.concat([
      transactional(7n, 0, 'a'),
      transactional(huge, 1, 'no'),
      batchOf({ producerId: huge, baseOffset: 2, records: letters('not of the transaction') }),
      transactional(7n, 3, 'b'),
      marker('commit', 7n, 4),
      transactional(huge, 5, 'no'),
      marker('abort', huge, 6),
      transactional(huge, 7, 'c'),
    ])
    assert.deepEqual(values(bytes, { aborted: [{ producerId: huge, firstOffset: 1 }] }), ['a', 'not of the transaction', 'b', 'c'])
  })

  test('the broker’s list names an aborted transaction that began before the response', () => {
    const bytes = Buffer.concat([transactional(7n, 50, 'no'), marker('abort', 7n, 51), transactional(7n, 52, 'yes')])
    assert.deepEqual(values(bytes, { fetchOffset: 50, aborted: [{ producerId: 7n, firstOffset: 3 }] }), ['yes'])
  })

  test('very many producers with an aborted transaction each do not make reading slow', () => {
    const producers = 200_000
    const transactions = Array.from({ length: producers }, (_, i) => ({ producerHigh: i % 3, producerLow: i, firstOffset: producers - i }))
    const aborted = new AbortedTransactions(transactions).restart()
    for (let i = 0; i < producers; i++) {
      assert.equal(aborted.covers(i % 3, i, producers), true)
      assert.equal(aborted.covers((i + 1) % 3, i, producers), false)
      if (i % 2 === 0) aborted.end(i % 3, i)
    }
    for (let i = 0; i < producers; i += 1001) assert.equal(aborted.covers(i % 3, i, producers), i % 2 === 1)
  })

  test('an aborted transaction does not hide records that its producer committed before it', () => {
    const bytes = Buffer.concat([transactional(7n, 0, 'yes'), marker('commit', 7n, 1), transactional(7n, 2, 'no'), marker('abort', 7n, 3)])
    assert.deepEqual(values(bytes, { aborted: [{ producerId: 7n, firstOffset: 2 }] }), ['yes'])
  })
})

describe('rule C1', () => {
  const of = (headers: BuiltRecord['headers']) => {
    const [record] = walk(batchOf({ records: [{ value: 'v', ...(headers && { headers }) }] })).records
    assert.ok(record)
    return [record.eventType, record.source, record.sequence]
  }
  const TYPE = TEST_IDENTITY.expectedType
  const type = ['ev_type', TYPE] as const
  const source = ['ev_source', '/s'] as const
  const sequence = ['ev_sequence', '0000000000000042'] as const

  test('an identity is the expected type, a source and a sequence, each exactly once, in any order', () => {
    assert.deepEqual(of([type, source, sequence]), ['expected', '/s', 42])
    assert.deepEqual(of([sequence, ['x', null], source, ['ev_time', 'now'], ['ev_region', 'o'], ['traceparent', 't'], type]), [
      'expected',
      '/s',
      42,
    ])
    assert.deepEqual(of(eventHeaders(7)), ['expected', '/shop/test-run', 7])
  })

  test('the type of a record without a type header is absent', () => {
    assert.deepEqual(of([]), ['absent', null, -1])
    assert.deepEqual(of([source, sequence]), ['absent', null, -1])
    assert.deepEqual(of([['ev_typo', TYPE], source, sequence]), ['absent', null, -1])
  })

  test('a record with another type is foreign, even if it has the expected type as well', () => {
    for (const strange of ['order.placed.v2', `${TYPE} `, '', null]) {
      assert.deepEqual(of([['ev_type', strange], source, sequence]), ['foreign', null, -1])
      assert.deepEqual(of([type, source, sequence, ['ev_type', strange]]), ['foreign', null, -1])
      assert.deepEqual(of([['ev_type', strange], type, source, sequence]), ['foreign', null, -1])
    }
  })

  test('a header that occurs twice, is missing or is null gives no identity', () => {
    for (const headers of [
      [type],
      [type, source],
      [type, sequence],
      [type, type, source, sequence],
      [type, source, source, sequence],
      [type, source, sequence, sequence],
      [type, source, sequence, source],
      [type, ['ev_source', null], sequence],
      [type, source, ['ev_sequence', null]],
    ] as const) {
      assert.deepEqual(of(headers), ['expected', null, -1], JSON.stringify(headers))
    }
  })

  test('a source is 1 to 256 bytes of text without NUL', () => {
    const sourceOf = (value: string | Buffer) => of([type, ['ev_source', value], sequence])[1]
    for (const good of ['a', 'ab', 'abc', 'abcd', 'abcde', 'x'.repeat(256), 'é'.repeat(128), '\ufeffbom'])
      assert.equal(sourceOf(good), good)
    for (const bad of [
      '',
      'x'.repeat(257),
      'é'.repeat(129),
      'a\0b',
      '\0'.repeat(8),
      Buffer.from([0xff]),
      Buffer.from('abcdefg\xe9', 'latin1'),
    ]) {
      assert.equal(sourceOf(bad), null)
    }
  })

  test('a sequence has 16 digits and is at most 2^53 − 1', () => {
    const sequenceOf = (value: string) => of([type, source, ['ev_sequence', value]])[2]
    assert.equal(sequenceOf('0000000000000000'), 0)
    assert.equal(sequenceOf('1234567890123456'), 1234567890123456)
    assert.equal(sequenceOf('9007199254740991'), Number.MAX_SAFE_INTEGER)
    for (const bad of [
      '9007199254740992',
      '9007199254740993',
      '9999999999999999',
      '000000000000001',
      '00000000000000001',
      '000000000000000:',
      '/000000000000000',
      '00000000-0000001',
      '000000000000000 ',
      '٠٠٠٠٠٠٠٠',
      '00000000000000é',
    ]) {
      assert.equal(sequenceOf(bad), -1, bad)
    }
  })

  test('records whose headers begin with the same bytes have their own identities', () => {
    const records: BuiltRecord[] = [
      { headers: eventHeaders(1, '/one') },
      { headers: eventHeaders(2, '/one') },
      { headers: eventHeaders(3, '/two') },
      { headers: [...eventHeaders(4, '/two'), ['ev_source', '/two']] },
      { headers: eventHeaders(5, '/two').slice(0, 4) },
      { headers: [...eventHeaders(6, '/two'), ['ev_type', 'x']] },
      { headers: eventHeaders(7, '/one') },
      { headers: eventHeaders(8, '/two').toReversed() },
      { headers: eventHeaders(9, '/two') },
    ]
    assert.deepEqual(
      walk(batchOf({ records })).records.map(({ eventType, source: of, sequence: number }) => [eventType, of, number]),
      [
        ['expected', '/one', 1],
        ['expected', '/one', 2],
        ['expected', '/two', 3],
        ['expected', null, -1],
        ['expected', null, -1],
        ['foreign', null, -1],
        ['expected', '/one', 7],
        ['expected', '/two', 8],
        ['expected', '/two', 9],
      ],
    )
  })

  test('an identity does not depend on the record before, however similar it is', () => {
    // Bytes that are +0 and −0 as floating-point numbers: these compare as equal although their bits differ.
    const empty = ['', ''] as const
    const headers = [...Array<typeof empty>(12).fill(empty), ...eventHeaders(42), empty]
    const before = recordBytes({ key: 'k', value: 'v', headers })
    const alike = recordBytes({ key: 'k', value: 'v', headers, offsetDelta: 1 })
    const of = (recordCount: number, ...records: Buffer[]) => {
      const { records: seen, corrupt } = walk(
        batchOf({ records: [], recordBytes: Buffer.concat(records), recordCount, lastOffsetDelta: 1 }),
      )
      return corrupt === null ? seen.at(-1) : null
    }
    assert.equal(of(2, before, alike)?.sequence, 42)
    const offset = alike.indexOf(varint(1), 3)
    for (let bit = 0; bit < alike.length * 8; bit++) {
      if (bit >> 3 === offset) continue
      const changed = Buffer.from(alike)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.deepEqual(of(2, before, changed), of(1, changed), `bit ${bit}`)
    }
  })

  test('a source is the same object for as long as it is in use', () => {
    const cursor = newCursor()
    const seen = new Set<unknown>()
    for (const names of [
      ['/a', '/b'],
      ['/b', '/a'],
    ]) {
      const bytes = batchOf({ records: names.map((name, i) => ({ headers: eventHeaders(i, name) })) })
      cursor.reset(bytes, 0, bytes.length, 0, nothingAborted)
      while (cursor.next()) seen.add(cursor.source)
    }
    assert.equal(seen.size, 2)
  })

  test('more sources than are cached are still distinguished', () => {
    const records = Array.from({ length: 9000 }, (_, i) => ({ headers: eventHeaders(i, `/source-${i % 4500}`) }))
    for (const [i, { source: name, sequence: number }] of walk(batchOf({ records })).records.entries()) {
      assert.deepEqual([name, number], [`/source-${i % 4500}`, i])
    }
  })
})

describe('rule F5', () => {
  test('a flipped bit under the checksum is always found, and no record of the batch is shown', () => {
    const before = batchOf({ records: letters('before') })
    const batch = batchOf({ baseOffset: 1, records: [{ key: 'k', value: 'v', headers: eventHeaders(1) }] })
    for (let bit = 17 * 8; bit < batch.length * 8; bit++) {
      const damaged = Buffer.from(batch)
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
      const { records, nextOffset, corrupt } = walk(Buffer.concat([before, damaged]))
      assert.deepEqual([records.length, nextOffset], [1, 1], `bit ${bit}`)
      assert.match(corrupt ?? '', /checksum of the batch at offset 1 does not match/)
    }
  })

  test('a damaged length, format or offset is found', () => {
    const good = batchOf({ baseOffset: 5, records: letters('a') })
    const damage = (change: (batch: Buffer) => void) => {
      const batch = Buffer.from(good)
      change(batch)
      return walk(batch, { fetchOffset: 5 }).corrupt ?? ''
    }
    assert.match(
      damage((batch) => batch.writeInt32BE(-1, 8)),
      /says that it has -1 bytes/,
    )
    assert.match(
      damage((batch) => batch.writeInt32BE(48, 8)),
      /says that it has 48 bytes/,
    )
    assert.match(
      damage((batch) => batch.writeInt32BE(0x7fffffff, 8)),
      /cut off/,
    )
    assert.match(
      damage((batch) => batch.writeInt8(1, 16)),
      /format 1/,
    )
    assert.match(
      damage((batch) => batch.writeBigInt64BE(-9n, 0)),
      /stands where 5 is expected/,
    )
    assert.match(
      damage((batch) => batch.writeBigInt64BE(4n, 0)),
      /offsets 4 to 4 stands where 5 is expected/,
    )
    assert.match(
      damage((batch) => batch.writeBigInt64BE(2n ** 60n, 0)),
      /stands where 5 is expected/,
    )
  })

  test('batches with overlapping offsets are refused', () => {
    const bytes = Buffer.concat([batchOf({ records: letters('a', 'b') }), batchOf({ baseOffset: 1, records: letters('b', 'c') })])
    const { records, nextOffset, corrupt } = walk(bytes)
    assert.deepEqual([records.length, nextOffset], [2, 2])
    assert.match(corrupt ?? '', /offsets 1 to 2 stands where 2 is expected/)
  })

  test('a batch with a malformed record is refused as a whole, although its checksum is right', () => {
    const good = recordBytes({ key: 'k', value: 'v', headers: [['h', 'x']] })
    const body = (...parts: Buffer[]) => {
      const bytes = Buffer.concat([Buffer.from([0]), ...parts])
      return Buffer.concat([varint(bytes.length), bytes])
    }
    const delta = [varint(0), varint(1)]
    const malformed: Record<string, Buffer> = {
      'no length': Buffer.alloc(0),
      'negative length': varint(-5),
      'length 0': varint(0),
      'length too small': body(varint(0)),
      'longer than the batch': Buffer.concat([varint(1000), good.subarray(1)]),
      'shorter than its contents': Buffer.concat([varint(good.length - 2), good.subarray(1)]),
      'longer than its contents': body(...delta, sized('k'), sized('v'), varint(0), Buffer.from([0])),
      'key beyond its end': body(...delta, varint(50), Buffer.alloc(5)),
      'value beyond its end': body(...delta, sized('k'), varint(50), varint(0)),
      'negative header count': body(...delta, sized('k'), sized('v'), varint(-1)),
      'too many headers': body(...delta, sized('k'), sized('v'), varint(2), sized('h'), sized('x')),
      'a billion headers': body(...delta, sized('k'), sized('v'), varint(1e9), Buffer.alloc(20)),
      'null header name': body(...delta, sized('k'), sized('v'), varint(1), varint(-1), sized('x')),
      'header name beyond its end': body(...delta, sized('k'), sized('v'), varint(1), varint(9), Buffer.alloc(3)),
      'header value beyond its end': body(...delta, sized('k'), sized('v'), varint(1), sized('h'), varint(9), Buffer.alloc(3)),
      'header without a value': body(...delta, sized('k'), sized('v'), varint(1), sized('h')),
      'a number of six bytes': body(...delta, sized('k'), Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), varint(0)),
      'a number that does not end': Buffer.alloc(30, 0xff),
      'a time of eleven bytes': body(Buffer.alloc(10, 0x80), Buffer.from([0]), varint(1), sized('k'), sized('v'), varint(0)),
    }
    for (const [what, bytes] of Object.entries(malformed)) {
      for (const codec of ['none', 'gzip'] as const) {
        const batch = batchOf({ records: [], recordBytes: Buffer.concat([good, bytes]), recordCount: 2, lastOffsetDelta: 1, codec })
        const { records, nextOffset, corrupt } = walk(batch)
        assert.deepEqual([records, nextOffset], [[], 0], what)
        assert.match(corrupt ?? '', /intact by its checksum, but has a malformed record/, what)
      }
    }
  })

  test('a batch with missing offsets is refused if a record’s offset is outside of it or does not rise', () => {
    for (const offsetDelta of [0, -1, -(2 ** 31), 5, 2 ** 31 - 1]) {
      const records = [
        { value: 'a', offsetDelta: 0 },
        { value: 'b', offsetDelta },
      ]
      assert.match(walk(batchOf({ records, lastOffsetDelta: 4 })).corrupt ?? '', /a malformed record among its 2/, String(offsetDelta))
    }
  })

  test('a batch with a record behind its last offset is refused, so that no offset is shown twice', () => {
    for (const [lastOffsetDelta, offsetDelta] of [
      [0, 0],
      [2, 2],
    ] as const) {
      const seen = walk(batchOf({ records: [{ value: 'a', offsetDelta }, { value: 'b' }], lastOffsetDelta }))
      assert.deepEqual(seen.records, [])
      assert.match(seen.corrupt ?? '', /a malformed record among its 2/)
    }
  })

  test('values that brokers do not check are read as by the Java client: negative lengths are null, and offsets follow from places', () => {
    const body = (...parts: Buffer[]) => {
      const bytes = Buffer.concat([Buffer.from([0xff]), varint(0), ...parts])
      return Buffer.concat([varint(bytes.length), bytes])
    }
    for (const odd of [-2, -100, -(2 ** 31)]) {
      const recordBytes = Buffer.concat([
        body(varint(0), varint(odd), sized('v'), varint(0)),
        body(varint(0), sized('k'), varint(odd), varint(0)),
        body(varint(odd), sized('k'), sized('v'), varint(1), sized('h'), varint(odd)),
        body(varint(2 ** 31 - 1), varint(-1), sized('w'), varint(0)),
      ])
      const { records, corrupt, nextOffset } = walk(
        batchOf({ baseOffset: 7, records: [], recordBytes, recordCount: 4, lastOffsetDelta: 3 }),
      )
      assert.deepEqual([corrupt, nextOffset], [null, 11])
      assert.deepEqual(
        records.map(({ offset, key, value, headers }) => [offset, key, value, headers]),
        [
          [7, null, 'v', []],
          [8, 'k', null, []],
          [9, 'k', 'v', [['h', null]]],
          [10, null, 'w', []],
        ],
      )
      const again = walk(batchOf({ baseOffset: 7, records: [], recordBytes, recordCount: 4, lastOffsetDelta: 3 }), { fetchOffset: 9 })
      assert.deepEqual(
        again.records.map(({ offset }) => offset),
        [9, 10],
      )
    }
  })

  test('bytes behind the last record and wrong numbers of records are refused', () => {
    const two = Buffer.concat([recordBytes({ value: 'a' }), recordBytes({ value: 'b', offsetDelta: 1 })])
    const has = (recordCount: number) => walk(batchOf({ records: [], recordBytes: two, recordCount, lastOffsetDelta: 1 })).corrupt
    assert.equal(has(2), null)
    assert.match(has(1) ?? '', /bytes behind its last record/)
    assert.match(has(3) ?? '', /malformed record/)
    assert.match(has(-1) ?? '', /-1 records/)
    assert.match(has(0x7fffffff) ?? '', /malformed record/)
  })

  test('numbers in more bytes than needed are read, as by the Java client', () => {
    const bytes = Buffer.concat([
      Buffer.from([0, 0x80, 0x00, 0x80, 0x80, 0x00, 0x82, 0x00]),
      Buffer.from('k'),
      sized('v'),
      Buffer.from([0x80, 0x80, 0x80, 0x80, 0]),
    ])
    const record = Buffer.concat([varint(bytes.length), bytes])
    const { records, corrupt } = walk(batchOf({ records: [], recordBytes: record, recordCount: 1 }))
    assert.deepEqual([records[0]?.key, records[0]?.value, corrupt], ['k', 'v', null])
  })

  test('an unknown codec and bytes that do not decompress are refused', () => {
    for (const codec of [5, 6, 7]) {
      const batch = batchOf({ records: letters('a') })
      batch.writeInt16BE(codec, 21)
      assert.match(walk(seal(batch)).corrupt ?? '', /unknown compression/)
    }
    for (const codec of CODECS.slice(1)) {
      const batch = batchOf({ records: letters('a'), codec, compressed: Buffer.from('no bytes of any codec') })
      const { records, nextOffset, corrupt } = walk(batch)
      assert.deepEqual([records, nextOffset], [[], 0])
      assert.match(corrupt ?? '', /intact by its checksum/, codec)
    }
  })

  test('a batch above the limit, compressed or decompressed, is refused, and the offset after it is known', () => {
    const value = Buffer.alloc(2 << 20)
    for (const codec of CODECS) {
      const bytes = Buffer.concat([batchOf({ records: letters('a') }), batchOf({ baseOffset: 1, records: [{ value }, { value }], codec })])
      const cursor = newCursor(3 << 20)
      const { records, nextOffset, corrupt } = walk(bytes, {}, cursor)
      assert.deepEqual([records.length, nextOffset, cursor.corruptKind, cursor.corruptEnd], [1, 1, 'batch-too-large', 3], codec)
      assert.match(
        corrupt ?? '',
        codec === 'none'
          ? /^the batch at offset 1 has 41943\d\d bytes, more than BATCH_MAX_BYTES allows, which is 3145728$/
          : /^the batch at offset 1 decompresses to more bytes than BATCH_MAX_BYTES allows, which is 3145728$/,
        codec,
      )
      assert.equal(walk(bytes, {}, newCursor(5 << 20)).corrupt, null, codec)
    }
  })

  test('a batch that the connection did not keep whole is too large; one that only claims such a length is cut off', () => {
    const bytes = batchOf({ baseOffset: 4, records: [{ value: Buffer.alloc(2 << 20) }] })
    const kept = 1 << 20
    const cursorOf = (missing: number) => {
      const cursor = newCursor().reset(bytes, 0, kept, 4, nothingAborted, missing)
      assert.equal(cursor.next(), false)
      return [cursor.corruptKind, cursor.corruptEnd, cursor.corrupt]
    }
    assert.deepEqual(cursorOf(bytes.length - kept), [
      'batch-too-large',
      5,
      `the batch at offset 4 has ${bytes.length} bytes, more than BATCH_MAX_BYTES allows, which is 1048576`,
    ])
    assert.deepEqual(cursorOf(0), ['corrupt', -1, `the batch at offset 4 is cut off after ${kept} bytes`])
  })

  test('a batch that is damaged and too large is reported as damaged', () => {
    const bytes = batchOf({ records: [{ value: Buffer.alloc(2 << 20) }] })
    bytes.writeUInt8(1, bytes.length - 9)
    const cursor = newCursor()
    assert.match(walk(bytes, {}, cursor).corrupt ?? '', /checksum/)
    assert.equal(cursor.corruptKind, 'corrupt')
  })

  test('batches before an unreadable one are shown', () => {
    const bad = batchOf({ baseOffset: 1, records: letters('b') })
    bad.writeUInt32BE(0, 17)
    const { records, nextOffset, corrupt } = walk(
      Buffer.concat([batchOf({ records: letters('a') }), bad, batchOf({ baseOffset: 2, records: letters('c') })]),
    )
    assert.deepEqual([records.map(({ value }) => value), nextOffset], [['a'], 1])
    assert.match(corrupt ?? '', /checksum/)
  })

  test('the offset after an unreadable batch is known if its head is consistent', () => {
    const before = batchOf({ records: letters('a') })
    const bad = batchOf({ baseOffset: 1, records: letters('b', 'c', 'd') })
    bad.writeUInt8((bad.at(-2) as number) ^ 1, bad.length - 2)
    const after = batchOf({ baseOffset: 4, records: letters('e') })
    const endOf = (batch: Buffer, behind: Buffer = after, from = 0) => {
      const cursor = newCursor()
      const { corrupt } = walk(Buffer.concat([from === 0 ? before : Buffer.alloc(0), batch, behind]), { fetchOffset: from }, cursor)
      assert.notEqual(corrupt, null)
      return cursor.corruptEnd
    }
    const changed = (change: (batch: Buffer) => void) => {
      const batch = Buffer.from(bad)
      change(batch)
      return batch
    }
    assert.equal(endOf(bad), 4)
    assert.equal(endOf(bad, Buffer.alloc(0)), 4, 'nothing behind it')
    assert.equal(endOf(bad, after, 2), 4, 'asked for from its middle')
    const malformed = batchOf({ baseOffset: 1, records: [], recordBytes: Buffer.from('x'), recordCount: 3, lastOffsetDelta: 2 })
    assert.equal(endOf(malformed), 4, 'a whole batch with malformed records')
    for (const [what, batch] of [
      ['last offset', changed((bytes) => bytes.writeInt32BE(1, 23))],
      ['number of records', changed((bytes) => bytes.writeInt32BE(2, 57))],
      ['both of them', changed((bytes) => bytes.writeInt32BE(1, 23) && bytes.writeInt32BE(2, 57))],
      ['base offset', changed((bytes) => bytes.writeBigInt64BE(0n, 0))],
      ['length', changed((bytes) => bytes.writeInt32BE(0x7fffffff, 8))],
    ] as const) {
      assert.equal(endOf(batch, after, 1), -1, what)
    }
    assert.equal(
      endOf(
        changed((bytes) => bytes.writeBigInt64BE(2n, 0)),
        Buffer.alloc(0),
      ),
      -1,
      'a hole before it',
    )
    assert.equal(endOf(bad, batchOf({ baseOffset: 5, records: letters('f') })), -1, 'a hole behind it')
  })
})
