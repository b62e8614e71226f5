/** Decompresses the records of a batch, with every codec of Kafka, to at most so many bytes. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { CodecOutput, TOO_LARGE } from './codec-output.ts'
import { decodeLz4 } from './lz4.ts'
import { decodeSnappy } from './snappy.ts'

export { TOO_LARGE }

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
/** The first guess at how many times larger records are than their compressed bytes. */
const FIRST_RATIO = 8

/**
 * gzip and zstd are Node's own. LZ4 and Snappy are decoded here: of the packages that were tried, the WebAssembly ones are up to 1.5 times
 * faster, but one malformed input leaves them broken for all later ones, and the native ones are slower, having no way to write into
 * memory that is there already; neither can be told a bound.
 */
export class Decompressor {
  /** What the records of a batch may have at most, compressed or not. */
  readonly maxBytes: number
  readonly #output = new CodecOutput()
  /** Output of gzip and zstd comes in pieces of a size that must be chosen beforehand: one piece is fastest. */
  #ratio = FIRST_RATIO

  /** @param maxBytes what a batch may decompress to at most: more is refused, so that a bomb cannot take the memory */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /**
   * @throws where this process has no memory left: that says nothing of the bytes, and no record may be skipped for it
   * @param codec 1 to 7, the low bits of a batch's attributes
   * @returns the records in a buffer of their own, or what is wrong: `TOO_LARGE` where they are more than is allowed
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

/** Codes of zlib, zstd and Node for an allocation that failed; V8 has a RangeError without any, while Node's own bounds have one. */
const OUT_OF_MEMORY = new Set([
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ERR_ZLIB_INITIALIZATION_FAILED',
  'Z_MEM_ERROR',
  'ZSTD_error_memory_allocation',
])

function isOutOfMemory(error: NodeJS.ErrnoException): boolean {
  return error.code === undefined ? error instanceof RangeError : OUT_OF_MEMORY.has(error.code)
}
