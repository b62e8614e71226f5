/** Record batches in which each number of the format is at its extremes, or next to them. */
import fc from 'fast-check'
import { type BuiltBatch, batchOf, sized, varint } from './batch-builder.ts'

const bigs = (bits: bigint) => [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n, 0n, -1n, 1n, -2n]
const int64 = fc.oneof(
  fc.constantFrom(
    ...bigs(64n),
    -9_000_000_000_000_000_000n,
    1_764_353_000_123_456_789n,
    (1n << 53n) + 1n,
    -(1n << 53n) - 1n,
    8_640_000_000_000_001n,
  ),
  fc.bigInt(-(1n << 63n), (1n << 63n) - 1n),
)
const int32 = fc.oneof(fc.constantFrom(...bigs(32n).map(Number)), fc.integer())
const int16 = fc.constantFrom(...bigs(16n).map(Number))
const below0 = fc.constantFrom(-1, -2, -100, -(2 ** 31))
const usually = <T>(value: T, odd: fc.Arbitrary<T>, weight = 5) => fc.oneof({ weight, arbitrary: fc.constant(value) }, odd)

/**
 * A broker would accept some of these batches and refuse others.
 * @param value a content that some of the keys and values have
 */
export function extremeBatch(value: string) {
  // Any negative length means null.
  const part = fc.oneof(fc.constantFrom('', 'k', 'not json', value), below0)
  const record = fc.record({
    attributes: fc.constantFrom(0, 1, 0xff),
    timestampDelta: int64,
    /** The offset delta; null: its place in the batch. */
    offsetDelta: fc.option(int32, { freq: 2 }),
    key: part,
    value: part,
    headers: fc.array(fc.tuple(fc.constantFrom('', 'h', 'ev_time'), part), { maxLength: 3 }),
  })
  return fc.record({
    records: fc.array(record, { minLength: 1, maxLength: 4 }),
    baseOffset: usually(0n, int64, 20),
    leaderEpoch: int32,
    attributes: usually(0, fc.oneof(fc.constantFrom(0x08, 0x40, 0x7fc0, -0x8000, 0x10, 0x20, 5, 7), int16)),
    baseTimestamp: int64,
    maxTimestamp: int64,
    producerId: usually(-1n, int64),
    producerEpoch: usually(-1, int16),
    baseSequence: usually(-1, int32),
    lastOffsetDelta: usually(null, fc.oneof(int32, fc.constant(null)), 20),
    recordCount: usually(null, fc.oneof(int32, fc.constant(null)), 20),
  })
}
export type ExtremeBatch = ReturnType<typeof extremeBatch> extends fc.Arbitrary<infer T> ? T : never

/** The bytes of a batch, with the right checksum and length. */
export function bytesOf({ records, lastOffsetDelta, recordCount, ...head }: ExtremeBatch): Buffer {
  const lengthAndBytes = (of: string | number) => (typeof of === 'number' ? varint(of) : sized(of))
  const bytes = records.map(({ attributes, timestampDelta, offsetDelta, key, value, headers }, place) => {
    const body = Buffer.concat([
      Buffer.from([attributes]),
      varint(timestampDelta),
      varint(offsetDelta ?? place),
      lengthAndBytes(key),
      lengthAndBytes(value),
      varint(headers.length),
      ...headers.flatMap(([name, of]) => [sized(name), lengthAndBytes(of)]),
    ])
    return Buffer.concat([varint(body.length), body])
  })
  const built: BuiltBatch = {
    ...head,
    records: [],
    recordBytes: Buffer.concat(bytes),
    recordCount: recordCount ?? records.length,
    lastOffsetDelta: lastOffsetDelta ?? records.length - 1,
  }
  return batchOf(built)
}
