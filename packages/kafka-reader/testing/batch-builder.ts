/** Builds record batches byte by byte, valid and invalid ones (https://kafka.apache.org/documentation/#recordbatch). */
import { crc32c } from '@node-rs/crc32'
import { compressionsAlgorithms } from '@platformatic/kafka'
import type { EventIdentity } from '../src/ports.ts'

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
/** The codecs by their numbers. */
export const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export interface BuiltRecord {
  readonly key?: string | Buffer | null
  readonly value?: string | Buffer | null
  readonly headers?: readonly (readonly [string | Buffer, string | Buffer | null])[]
  /** Relative to the batch's base offset; by default one more than that of the record before. */
  readonly offsetDelta?: number
  readonly timestampDelta?: number | bigint
}

export interface BuiltBatch {
  readonly baseOffset?: number | bigint
  readonly leaderEpoch?: number
  readonly records: readonly BuiltRecord[]
  readonly codec?: Codec
  /** Bits to set in addition to those of the codec. */
  readonly attributes?: number
  readonly lastOffsetDelta?: number
  readonly baseTimestamp?: number | bigint
  readonly maxTimestamp?: number | bigint
  readonly producerId?: bigint
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly magic?: number
  readonly recordCount?: number
  /** In place of the bytes of the records, before they are compressed. */
  readonly recordBytes?: Buffer
  /** In place of the compressed bytes. */
  readonly compressed?: Buffer
}

export const TRANSACTIONAL = 0b1_0000
export const CONTROL = 0b10_0000
export const LOG_APPEND_TIME = 0b1000

/** A batch with a right checksum, whatever else is wrong with it. */
export function batchOf(batch: BuiltBatch): Buffer {
  let last = -1
  const records = batch.records.map((record) => {
    last = record.offsetDelta ?? last + 1
    return recordBytes({ ...record, offsetDelta: last })
  })
  const codec = batch.codec ?? 'none'
  const plain = batch.recordBytes ?? Buffer.concat(records)
  const body = batch.compressed ?? compress(codec, plain)
  const head = Buffer.alloc(61)
  head.writeBigInt64BE(BigInt(batch.baseOffset ?? 0), 0)
  head.writeInt32BE(49 + body.length, 8)
  head.writeInt32BE(batch.leaderEpoch ?? 0, 12)
  head.writeInt8(batch.magic ?? 2, 16)
  head.writeInt16BE((batch.attributes ?? 0) | CODECS.indexOf(codec), 21)
  head.writeInt32BE(batch.lastOffsetDelta ?? Math.max(last, 0), 23)
  head.writeBigInt64BE(BigInt(batch.baseTimestamp ?? 0), 27)
  head.writeBigInt64BE(BigInt(batch.maxTimestamp ?? batch.baseTimestamp ?? 0), 35)
  head.writeBigInt64BE(batch.producerId ?? -1n, 43)
  head.writeInt16BE(batch.producerEpoch ?? 0, 51)
  head.writeInt32BE(batch.baseSequence ?? -1, 53)
  head.writeInt32BE(batch.recordCount ?? batch.records.length, 57)
  return seal(Buffer.concat([head, body]))
}

/** Compresses with the client library's codecs, of which two cannot compress zero bytes. */
export function compress(codec: Codec, bytes: Buffer): Buffer {
  if (codec === 'none') return bytes
  if (bytes.length === 0 && codec === 'snappy') return Buffer.from([0])
  if (bytes.length === 0 && codec === 'lz4') return Buffer.from('04224d1860408200000000', 'hex')
  return compressionsAlgorithms[codec].compressSync(bytes)
}

/** Writes the right checksum. */
export function seal(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

/** A control batch: one record whose key has the type of the marker. */
export function marker(type: 'abort' | 'commit', producerId: bigint, baseOffset: number): Buffer {
  const key = Buffer.alloc(4)
  key.writeInt16BE(type === 'abort' ? 0 : 1, 2)
  return batchOf({ baseOffset, producerId, attributes: CONTROL | TRANSACTIONAL, records: [{ key, value: Buffer.alloc(6) }] })
}

export function recordBytes(record: BuiltRecord): Buffer {
  const headers = record.headers ?? []
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(record.timestampDelta ?? 0),
    varint(record.offsetDelta ?? 0),
    sized(record.key ?? null),
    sized(record.value ?? null),
    varint(headers.length),
    ...headers.flatMap(([name, value]) => [sized(name), sized(value)]),
  ])
  return Buffer.concat([varint(body.length), body])
}

export function sized(bytes: string | Buffer | null): Buffer {
  if (bytes === null) return varint(-1)
  const buffer = Buffer.from(bytes)
  return Buffer.concat([varint(buffer.length), buffer])
}

/** A zigzag varint. */
export function varint(value: number | bigint): Buffer {
  const wide = BigInt(value)
  let rest = BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n))
  const bytes: number[] = []
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Buffer.from(bytes)
}

/** The headers that identify events in tests. */
export const TEST_IDENTITY: EventIdentity = {
  typeHeader: 'ev_type',
  expectedType: 'order.placed.v1',
  sourceHeader: 'ev_source',
  maxSourceBytes: 256,
  sequenceHeader: 'ev_sequence',
  sequenceDigits: 16,
}

/** Headers of an event of the expected type, among others that have names of the same lengths. */
export function eventHeaders(sequence: number, source = '/shop/test-run'): [string, string][] {
  const { typeHeader, expectedType, sourceHeader, sequenceHeader, sequenceDigits } = TEST_IDENTITY
  const number = String(sequence).padStart(sequenceDigits, '0')
  return [
    ['ev_specversion', '1.0'],
    [typeHeader, expectedType],
    [sourceHeader, source],
    ['ev_id', number],
    ['ev_time', '2026-11-24T09:00:00.000Z'],
    [sequenceHeader, number],
    ['ev_region', 'eu'],
    ['content-type', 'application/json'],
  ]
}
