/** Every codec decompresses to the original bytes, and refuses bytes that are malformed, endless or larger than allowed. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Decompressor, TOO_LARGE } from '../../src/records/decompress.ts'
import { CODECS, compress } from '../../testing/batch-builder.ts'

const BOUND = 1 << 20
const decompressor = new Decompressor(BOUND)

/** Bytes that use every kind of compression: literals, repeats near and far, runs. */
const compressible = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.nat(400))
        .map(([bytes, times]) => Buffer.concat(Array(times).fill(bytes))),
      fc.constantFrom('widgets', '{"slot":1,"type":{"name":"electric"}}').map((text) => Buffer.from(text)),
    ),
    { maxLength: 60 },
  )
  .map((parts): Buffer => Buffer.concat(parts))

/** The block format of snappy-java, which the Java client writes. */
function xerial(bytes: Buffer, blockSize: number): Buffer {
  const parts: Buffer[] = [Buffer.from('82534e41505059000000000100000001', 'hex')]
  for (let at = 0; at < bytes.length; at += blockSize) {
    const block = compress('snappy', bytes.subarray(at, at + blockSize))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

describe('decompression', () => {
  for (const codec of CODECS.slice(1)) {
    const number = CODECS.indexOf(codec)

    test(`${codec}: compressed bytes are decompressed to the original ones`, () => {
      fc.assert(
        fc.property(compressible, (bytes) => {
          const back = decompressor.decompress(number, compress(codec, bytes))
          assert.ok(typeof back === 'object', String(back))
          assert.ok(back.equals(bytes), 'other bytes came back')
        }),
      )
    })

    test(`${codec}: malformed bytes are reported, never thrown, and later batches are decompressed as before`, () => {
      const text = Buffer.from('electric, poison, grass, electric, fire; '.repeat(200))
      const good = compress(codec, text)
      const change = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) })
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(good.length), (changes, length) => {
          const bad = Buffer.from(good.subarray(0, length))
          for (const { at, byte } of changes) if (at < length) bad[at] = byte
          const back = decompressor.decompress(number, bad)
          assert.ok(typeof back === 'string' ? back.length > 0 : back.length <= BOUND)
          assert.deepEqual(decompressor.decompress(number, good), text)
        }),
        { numRuns: 500 },
      )
    })

    test(`${codec}: a small batch that decompresses to very many bytes is refused`, () => {
      const bomb = compress(codec, Buffer.alloc(64 << 20))
      assert.equal(decompressor.decompress(number, bomb), TOO_LARGE)
    })
  }

  for (const codec of CODECS.slice(1)) {
    test(`${codec}: records of exactly the limit are read, and one byte more is refused`, () => {
      fc.assert(
        fc.property(compressible, fc.integer({ min: -3, max: 3 }), (bytes, more) => {
          const bound = Math.max(bytes.length - more, 64)
          const back = new Decompressor(bound).decompress(CODECS.indexOf(codec), compress(codec, bytes))
          if (bytes.length > bound) assert.equal(back, TOO_LARGE)
          else assert.deepEqual(back, bytes)
        }),
      )
    })
  }

  test('the limit applies to the bytes that an lz4 frame decodes to, not to the size of its blocks', () => {
    const text = Buffer.from('a snorlax is in the way')
    // A producer that flushes after each record, under the largest size of a block.
    const block = Buffer.alloc(4)
    block.writeUInt32LE(text.length + 0x8000_0000)
    const blocks = 40
    const frame = Buffer.concat([
      Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0]),
      ...Array.from({ length: blocks }, () => [block, text]).flat(),
      Buffer.alloc(4),
    ])
    const whole = Buffer.concat(Array(blocks).fill(text))
    assert.deepEqual(decompressor.decompress(3, frame), whole)
    assert.deepEqual(new Decompressor(whole.length).decompress(3, frame), whole)
    assert.equal(new Decompressor(whole.length - 1).decompress(3, frame), TOO_LARGE)
  })

  test('snappy in the blocks of the Java client is read', () => {
    fc.assert(
      fc.property(compressible, fc.integer({ min: 1, max: 40_000 }), (bytes, blockSize) => {
        assert.deepEqual(decompressor.decompress(2, xerial(bytes, blockSize)), Buffer.from(bytes))
      }),
    )
  })

  test('snappy blocks that do not fit into the bytes are refused', () => {
    const good = xerial(Buffer.from('a snorlax is in the way'), 10)
    for (let length = 17; length < good.length; length++) {
      const back = decompressor.decompress(2, good.subarray(0, length))
      if (typeof back === 'object') assert.ok('a snorlax is in the way'.startsWith(back.toString()))
    }
    assert.match(String(decompressor.decompress(2, good.subarray(0, 18))), /ends in the middle of a block/)
  })

  test('lz4 blocks that are stored, have checksums, or depend on each other are read', () => {
    const frame = (flags: number, ...blocks: [stored: boolean, block: Buffer][]) => {
      const parts: Buffer[] = [Buffer.from([0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0])]
      for (const [stored, block] of blocks) {
        const length = Buffer.alloc(4)
        length.writeUInt32LE(block.length + (stored ? 0x8000_0000 : 0))
        parts.push(length, block)
        if ((flags & 0x10) !== 0) parts.push(Buffer.alloc(4))
      }
      return Buffer.concat([...parts, Buffer.alloc(4)])
    }
    // Eleven bytes back, nine bytes: "widgets, " again, then a full stop.
    const again = Buffer.from([0x05, 9, 0, 0x10, 0x2e])
    const text = Buffer.from('widgets, ')
    for (const flags of [0x40, 0x50, 0x60]) {
      assert.equal(decompressor.decompress(3, frame(flags, [true, text], [false, again]))?.toString(), 'widgets, widgets, .')
    }
    assert.match(String(decompressor.decompress(3, frame(0x41, [true, text]))), /dictionary/)
    assert.match(String(decompressor.decompress(3, frame(0x80, [true, text]))), /version/)
    assert.match(String(decompressor.decompress(3, frame(0x40, [true, Buffer.alloc(70_000)]))), /malformed/)
    assert.match(String(decompressor.decompress(3, frame(0x40, [false, again]))), /malformed/)
  })
})
