/** Decompresses the records of a batch with any codec of Kafka, up to a limit. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { CodecOutput, TOO_LARGE } from './codec-output.ts'
import { decodeLz4 } from './lz4.ts'
import { decodeSnappy } from './snappy.ts'

export { TOO_LARGE }

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
/** The first estimate of decompressed size divided by compressed size. */
const FIRST_RATIO = 8

/**
 * gzip and zstd are Node's own. LZ4 and Snappy are decoded here. Of the packages that were tried, the WebAssembly ones are up to 1.5 times
 * faster, but a malformed input breaks them for all later inputs. The native ones are slower, because they cannot write into existing memory.
 * Neither accepts a limit.
 */
export class Decompressor {
  /** The most bytes that the records of a batch may have, compressed or not. */
  readonly maxBytes: number
  readonly #output = new CodecOutput()
  /** gzip and zstd return output in chunks, whose size is chosen beforehand: one chunk is fastest. */
  #ratio = FIRST_RATIO

  /** @param maxBytes more decompressed bytes are refused, so that a small batch cannot use up the memory */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /**
   * @param codec 1 to 7, the low bits of a batch's attributes
   * @returns the records in a buffer of their own, or why there are none: `TOO_LARGE` if they have more bytes than are allowed
   * @throws if this process is out of memory: the bytes may be valid, so no record may be skipped because of it
   */
  decompress(codec: number, bytes: Buffer): Buffer | string {
    if (codec === 2 || codec === 3) {
      const decoded = (codec === 2 ? decodeSnappy : decodeLz4)(bytes, this.#output, this.maxBytes)
      return typeof decoded === 'number' ? this.#output.end(decoded) : decoded
    }
    if (codec !== 1 && codec !== 4) return `records in an unknown compression (${codec})`
    const guess = Math.ceil(bytes.length * this.#ratio)
    const options = { maxOutputLength: this.maxBytes, chunkSize: Math.min(Math.max(guess, 1024), this.maxBytes) }
    try {
      const records = codec === 1 ? gunzipSync(bytes, options) : zstdDecompressSync(bytes, options)
      this.#ratio = Math.max((1.25 * records.length) / Math.max(bytes.length, 1), 1)
      return records
    } catch (error) {
      if (isOutOfMemory(error as NodeJS.ErrnoException)) throw error
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return TOO_LARGE
      return `records that ${CODECS[codec]} cannot decompress: ${(error as Error).message}`
    }
  }
}

/** Codes of failed allocations in zlib, zstd and Node. V8 throws a RangeError without a code; Node's own RangeErrors have one. */
const OUT_OF_MEMORY = new Set([
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ERR_ZLIB_INITIALIZATION_FAILED',
  'Z_MEM_ERROR',
  'ZSTD_error_memory_allocation',
])

function isOutOfMemory(error: NodeJS.ErrnoException): boolean {
  return error.code === undefined ? error instanceof RangeError : OUT_OF_MEMORY.has(error.code)
}
