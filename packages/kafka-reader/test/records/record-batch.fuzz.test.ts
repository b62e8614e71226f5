/** Compares the cursor with a simple model on random batches, and damages their bytes at random. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fetchRequest, NEWEST_FETCH } from '../../src/brokers/fetch-response.ts'
import { endOfBatches } from '../../src/records/batch-format.ts'
import { type BuiltBatch, batchOf, CODECS, CONTROL, marker, seal, TEST_IDENTITY, TRANSACTIONAL } from '../../testing/batch-builder.ts'
import { bytesOf, extremeBatch } from '../../testing/extreme-batches.ts'
import { identityOf } from '../identity-of.ts'
import { newCursor, type SeenRecord, walk } from '../walk.ts'

const text = fc.oneof(fc.string({ maxLength: 20 }), fc.constant('x'.repeat(64)), fc.constant('y'.repeat(9000)))
const headerName = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('ev_type', 'ev_source', 'ev_sequence') },
  fc.constantFrom('ev_time', 'ev_region', 'traceparent', 'ev_typ', ''),
  text,
)
const headerValue = fc.oneof(
  fc.constantFrom(TEST_IDENTITY.expectedType, '/source', '/other', '0000000000000001', '9007199254740993'),
  fc.nat(99).map((n) => String(n).padStart(16, '0')),
  text,
  fc.constant(null),
)
const ours = fc.tuple(fc.constantFrom('/a', '/b', '/shop/run'), fc.nat(1e6)).map(([source, sequence]): [string, string | null][] => [
  ['ev_type', TEST_IDENTITY.expectedType],
  ['ev_source', source],
  ['ev_sequence', String(sequence).padStart(16, '0')],
])
/** Headers with the same length in total, as records of one producer have them: most have the same names, and values of the same lengths. */
const alike = fc
  .record({
    identity: ours,
    time: fc.constantFrom('ev_time', 'ev_time', 'ev_time', 'ev_type'),
    sequence: fc.constantFrom('ev_sequence', 'ev_sequence', 'ev_sequence', 'ev_sequencx'),
    region: fc.constantFrom('ev_region', 'ev_region', 'ev_region', 'ev_source'),
    values: fc.constantFrom(
      ['2026-11-24T09:00:00Z', '/a'],
      ['2026-11-24T09:00:07Z', '/b'],
      ['\0\0\0\0-11-24T09:00:00Z', '/a'],
      ['2026-11-24T09:00:0Z', '/ab'],
    ),
  })
  .map(({ identity, time, sequence, region, values: [at = '', place = ''] }): [string, string | null][] => [
    ...identity.slice(0, 2),
    [time, at],
    [sequence, identity[2]?.[1] ?? null],
    [region, place],
  ])
const headers = fc.oneof(
  ours,
  { weight: 4, arbitrary: alike },
  fc.array(fc.tuple(headerName, headerValue), { maxLength: 8 }),
  fc.tuple(ours, fc.array(fc.tuple(headerName, headerValue), { maxLength: 3 })).map(([a, b]) => [...a, ...b]),
)
const record = fc.record({
  key: fc.option(text),
  value: fc.option(text),
  headers,
  step: fc.integer({ min: 1, max: 3 }),
  timestampDelta: fc.integer({ min: -(2 ** 51), max: 2 ** 51 }),
})
const batch = fc.record({
  records: fc.array(record, { maxLength: 12 }),
  codec: fc.constantFrom(...CODECS),
  leaderEpoch: fc.nat(9),
  hole: fc.nat(3),
  rest: fc.nat(3),
  producer: fc.option(fc.constantFrom(1n, 2n, 2n ** 33n)),
})

interface Log {
  readonly bytes: Buffer
  /** Where each batch begins in the bytes. */
  readonly starts: number[]
  readonly records: SeenRecord[]
  readonly nextOffset: number
  /** Each batch with its first offset and the offset after it. */
  readonly parts: readonly { readonly bytes: Buffer; readonly start: number; readonly end: number }[]
  /** Offsets of control batches. */
  readonly markers: readonly number[]
}

/** Joins batches to the bytes of a log. @returns them with the records that a reader must see */
function logOf(batches: readonly (typeof batch extends fc.Arbitrary<infer T> ? T : never)[]): Log {
  const parts: Buffer[] = []
  const starts: number[] = []
  const records: SeenRecord[] = []
  const markers: number[] = []
  const ends: number[] = []
  let offset = 0
  let length = 0
  for (const { records: written, codec, leaderEpoch, hole, rest, producer } of batches) {
    let delta = hole - 1
    const built = written.map(({ step, ...fields }) => {
      delta += step
      return { ...fields, offsetDelta: delta }
    })
    const lastOffsetDelta = Math.max(delta, 0) + rest
    const spec: BuiltBatch = {
      baseOffset: offset,
      leaderEpoch,
      codec,
      records: built,
      lastOffsetDelta,
      ...(producer !== null && { producerId: producer, attributes: TRANSACTIONAL }),
    }
    for (const { key, value, headers: fields, offsetDelta, timestampDelta } of built) {
      const identity = identityOf(fields, TEST_IDENTITY)
      const latin1 = (of: string | null) => (of === null ? null : Buffer.from(of).toString('latin1'))
      records.push({
        offset: offset + offsetDelta,
        leaderEpoch,
        timestamp: timestampDelta,
        time: String(timestampDelta),
        key: latin1(key),
        value: latin1(value),
        headers: fields.map(([name, of]) => [latin1(name) ?? '', latin1(of)] as const),
        ...identity,
      })
    }
    offset += lastOffsetDelta + 1
    starts.push(length)
    parts.push(batchOf(spec))
    ends.push(offset)
    length += parts.at(-1)?.length ?? 0
    if (producer !== null) {
      starts.push(length)
      markers.push(offset)
      parts.push(marker('commit', producer, offset++))
      ends.push(offset)
      length += parts.at(-1)?.length ?? 0
    }
  }
  const placed = parts.map((bytes, i) => ({ bytes, start: ends[i - 1] ?? 0, end: ends[i] ?? 0 }))
  return { bytes: Buffer.concat(parts), starts, records, nextOffset: offset, parts: placed, markers }
}

const logs = fc.array(batch, { minLength: 1, maxLength: 5 }).map(logOf)

test('every record that was written is read, with the same content', () => {
  const cursor = newCursor()
  fc.assert(
    fc.property(logs, fc.nat(20), ({ bytes, records, nextOffset }, from) => {
      const fetchOffset = Math.min(from, nextOffset - 1)
      // A response begins with the batch that holds the offset asked for.
      const firstBatch = Buffer.from(bytes)
      const seen = walk(skipTo(firstBatch, fetchOffset), { fetchOffset }, cursor)
      assert.deepEqual(
        seen.records,
        records.filter(({ offset }) => offset >= fetchOffset),
      )
      assert.deepEqual([seen.nextOffset, seen.corrupt], [nextOffset, null])
    }),
    { numRuns: 300 },
  )
})

/** The ranges of missing offsets in [from, to), each within one batch or between two. */
function holesOf(taken: ReadonlySet<number>, ends: ReadonlySet<number>, from: number, to: number): [number, number][] {
  const holes: [number, number][] = []
  for (let offset = from; offset < to; offset++) {
    const last = holes.at(-1)
    if (taken.has(offset)) continue
    if (last?.[1] === offset && !ends.has(offset)) last[1]++
    else holes.push([offset, offset + 1])
  }
  return holes
}

test('exactly the offsets without records are reported', () => {
  const passed: [number, number][] = []
  const stopping = newCursor(1 << 20, 64, null)
  const passing = newCursor(1 << 20, 64, (from, to) => passed.push([from, to]))
  fc.assert(
    fc.property(logs, fc.nat(20), fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), ({ parts, records, markers }, from, left) => {
      // Whole batches are missing, too, as after compaction. Compaction never removes the last one.
      const kept = parts.filter((_, i) => left[i % left.length] || i === parts.length - 1)
      const inKept = ({ offset }: { readonly offset: number }) => kept.some(({ start, end }) => offset >= start && offset < end)
      const there = records.filter(inKept)
      const end = kept.at(-1)?.end ?? 0
      const fetchOffset = Math.min(from, end - 1)
      const seen = there.filter(({ offset }) => offset >= fetchOffset)
      const bytes = Buffer.concat(kept.map((part) => part.bytes))
      const taken = new Set([...there, ...markers.map((offset) => ({ offset })).filter(inKept)].map(({ offset }) => offset))
      // Missing offsets between batches and at the start of the next batch are two ranges.
      const ends = new Set(kept.flatMap((part) => [part.start, part.end]))
      const holes = holesOf(taken, ends, fetchOffset, end)

      passed.length = 0
      const passedBy = walk(skipTo(Buffer.from(bytes), fetchOffset), { fetchOffset }, passing)
      assert.deepEqual([passedBy.records, passedBy.nextOffset, passed], [seen, end, holes])

      const stopped: [number, number][] = []
      const shown: SeenRecord[] = []
      for (let offset = fetchOffset; offset < end; ) {
        const { records: next, nextOffset, corrupt } = walk(skipTo(Buffer.from(bytes), offset), { fetchOffset: offset }, stopping)
        shown.push(...next)
        offset = nextOffset
        if (corrupt === null) continue
        assert.equal(stopping.corruptKind, 'missing')
        stopped.push([offset, stopping.corruptEnd])
        offset = stopping.corruptEnd
      }
      assert.deepEqual([shown, stopped], [seen, holes])
    }),
    { numRuns: 500 },
  )
})

test('an identity is found by header names of any length, types, sources and digits of any length', () => {
  const short = fc.string({ maxLength: 20, unit: fc.constantFrom('a', 'b', 'é', '\0') })
  const identities = fc
    .record({
      names: fc.uniqueArray(short, { minLength: 3, maxLength: 3 }),
      expectedType: short,
      maxSourceBytes: fc.integer({ min: 1, max: 20 }),
      sequenceDigits: fc.oneof(fc.constant(16), fc.integer({ min: 1, max: 20 })),
    })
    .map(({ names: [typeHeader = '', sourceHeader = '', sequenceHeader = ''], ...rest }) => ({
      typeHeader,
      sourceHeader,
      sequenceHeader,
      ...rest,
    }))
  const cases = identities.chain((identity) => {
    const { typeHeader, sourceHeader, sequenceHeader, expectedType, sequenceDigits } = identity
    const digits = fc.bigInt(0n, 10n ** BigInt(sequenceDigits) - 1n).map((number) => String(number).padStart(sequenceDigits, '0'))
    const event = fc.tuple(fc.constantFrom('x', 'xy', 'x'.repeat(20)), digits).map(([source, sequence]): [string, string | null][] => [
      [typeHeader, expectedType],
      [sourceHeader, source],
      [sequenceHeader, sequence],
    ])
    const other = fc.tuple(
      fc.oneof(fc.constantFrom(typeHeader, sourceHeader, sequenceHeader), short),
      fc.oneof(short, digits, fc.constant(null)),
    )
    const fields = fc.tuple(fc.array(other, { maxLength: 2 }), event, fc.array(other, { maxLength: 2 })).map((parts) => parts.flat())
    return fc.record({ identity: fc.constant(identity), records: fc.array(fc.oneof(event, fields), { minLength: 1, maxLength: 6 }) })
  })
  let identified = 0
  fc.assert(
    fc.property(cases, ({ identity, records }) => {
      const bytes = batchOf({ records: records.map((fields) => ({ headers: fields })) })
      const seen = walk(bytes, {}, newCursor(1 << 20, undefined, null, identity)).records
      const found = seen.map(({ eventType, source, sequence }) => ({ eventType, source, sequence }))
      const expected = records.map((fields) => identityOf(fields, identity))
      assert.deepEqual(found, expected)
      identified += expected.filter(({ source }) => source !== null).length
    }),
    { numRuns: 2000 },
  )
  assert.ok(identified > 1000, `${identified} records had an identity`)
})

test('damage never shows a record that was not written, never throws and never hangs', () => {
  const cursor = newCursor()
  const change = fc.record({ at: fc.nat(), byte: fc.nat(255) })
  fc.assert(
    fc.property(logs, fc.array(change, { minLength: 1, maxLength: 3 }), fc.option(fc.nat()), ({ bytes, records }, changes, cut) => {
      const damaged = Buffer.from(cut === null ? bytes : bytes.subarray(0, cut % bytes.length))
      for (const { at, byte } of changes) if (damaged.length > 0) damaged[at % damaged.length] = byte
      const seen = walk(damaged, {}, cursor)
      assert.ok(seen.nextOffset >= 0)
      // The checksum does not cover offset and epoch. Everything else must be as it was written, in the same order.
      const contents = ({ offset: _, leaderEpoch: __, ...rest }: SeenRecord) => JSON.stringify(rest)
      const written = records.map(contents)
      let from = 0
      for (const content of seen.records.map(contents)) {
        const at = written.indexOf(content, from)
        assert.ok(at >= from, `seen, but not written: ${content}`)
        from = at + 1
      }
    }),
    { numRuns: 1000 },
  )
})

test('damage under a valid checksum is found, or read as a record, but never throws and never hangs', () => {
  const cursor = newCursor()
  const change = fc.record({ at: fc.nat(), byte: fc.nat(255) })
  fc.assert(
    fc.property(batch, fc.array(change, { minLength: 1, maxLength: 4 }), (one, changes) => {
      const { bytes } = logOf([{ ...one, producer: null }])
      for (const { at, byte } of changes) bytes[21 + (at % (bytes.length - 21))] = byte
      // Control batches show no records, so there is nothing to compare.
      bytes.writeInt16BE(bytes.readInt16BE(21) & ~CONTROL, 21)
      const seen = walk(seal(bytes), {}, cursor)
      if (seen.corrupt !== null) assert.deepEqual([seen.records, seen.nextOffset], [[], 0])
    }),
    { numRuns: 1000 },
  )
})

/** The batches that do not end before an offset. */
function skipTo(bytes: Buffer, offset: number): Buffer {
  let at = 0
  while (Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23) < offset) at += 12 + bytes.readInt32BE(at + 8)
  return bytes.subarray(at)
}

test('numbers at their extremes are read or reported as damage, and the next fetch offset is valid', () => {
  const cursor = newCursor()
  const head = fc.constantFrom(...[8, 12, 17].map((at) => ({ at, bytes: 4 })), { at: 0, bytes: 8 }, { at: 16, bytes: 1 })
  const nonsense = fc.option(fc.record({ head, value: fc.constantFrom(0x00, 0x7f, 0x80, 0xff) }))
  let read = 0
  fc.assert(
    fc.property(fc.array(extremeBatch('v'), { minLength: 1, maxLength: 3 }), nonsense, fc.nat(3), (batches, beside, fetchOffset) => {
      let offset = 0n
      const laid = batches.map((one) => {
        const bytes = bytesOf(one.baseOffset === 0n ? { ...one, baseOffset: offset } : one)
        offset += BigInt(one.records.length)
        return bytes
      })
      const bytes = Buffer.concat(laid)
      // Outside the checksum, or the checksum itself.
      if (beside !== null) bytes.fill(beside.value, beside.head.at, beside.head.at + beside.head.bytes)
      const seen = walk(bytes, { fetchOffset }, cursor)
      assert.ok(Number.isSafeInteger(seen.nextOffset) && seen.nextOffset >= fetchOffset, String(seen.nextOffset))
      let last = fetchOffset - 1
      for (const { offset, time } of seen.records) {
        assert.ok(offset > last && offset < seen.nextOffset, `offset ${offset} behind ${last}, before ${seen.nextOffset}`)
        assert.equal(BigInt.asIntN(64, BigInt(time)), BigInt(time))
        last = offset
        read++
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      const end = endOfBatches(view, 0, bytes.length, fetchOffset, -1)
      const question = { partition: 0, currentLeaderEpoch: -1, offset: end.offset, lastEpoch: end.leaderEpoch }
      fetchRequest(NEWEST_FETCH, '00000000-0000-4000-8000-000000000001', [question], { maxBytes: 1, maxWait: 1 })
    }),
    { numRuns: 2000 },
  )
  assert.ok(read > 1000, `${read} records were read`)
})
