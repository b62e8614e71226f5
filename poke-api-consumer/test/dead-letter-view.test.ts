import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CutParts } from '../src/entities/dead-letter.ts'
import { viewDeadLetter } from '../src/infrastructure/dead-letters/dead-letter-view.ts'
import { headerBytes } from './header-bytes.ts'
import { deadLetter } from './kept-dead-letter.ts'

test('a value is shown as bytes and as text', () => {
  assert.deepEqual(viewDeadLetter(deadLetter(1)).value, { bytes: 12, base64: 'eyJpZCI6ICJwaWth', preview: '{"id": "pika' })
  assert.equal(viewDeadLetter(deadLetter(1, { value: null })).value, null)
})

test('a number that JSON cannot represent is shown as a text, too', () => {
  const shown = [1_700_000_000_000n, -1n, 2n ** 53n - 1n, 2n ** 53n, -(2n ** 63n), 1_764_353_000_123_456_789n].map((timestamp) => {
    const view = JSON.parse(JSON.stringify(viewDeadLetter(deadLetter(1, { timestamp }))))
    assert.equal(BigInt(view.timestampText), timestamp)
    return view.timestamp
  })
  assert.deepEqual(shown, [1_700_000_000_000, -1, Number.MAX_SAFE_INTEGER, null, null, null])
})

test('a part that is not kept whole is shown with its length and hash, and with the headers that are kept', () => {
  const [value, headers] = [2_000_000, 3_000_000].map((bytes) => ({ bytes, sha256: `${bytes}`.padEnd(64, 'a') }))
  const beginning = headerBytes(['a', '1'], ['b', 'x'.repeat(2000)], ['c', '2']).subarray(0, 1000)
  const view = viewDeadLetter(deadLetter(1, { value: Buffer.alloc(65_536, 'v'), headers: beginning, cut: { value, headers } as CutParts }))
  const { base64: _, preview: __, ...shown } = view.value ?? assert.fail('a value')
  assert.deepEqual(shown, { ...value, kept: 65_536 })
  assert.deepEqual([view.headers.map(({ name }) => name), view.moreHeaders, view.cutHeaders], [['a'], 2, headers])
})

test('the shown part of a dead letter is bounded, whatever it contains', () => {
  const header = [Buffer.alloc(10_000, 'n'), Buffer.alloc(100_000, 'v')] as const
  const view = viewDeadLetter(deadLetter(1, { value: Buffer.alloc(1_000_000, 'x'), headers: headerBytes(...Array(500).fill(header)) }))
  assert.equal(view.value?.bytes, 1_000_000)
  assert.equal(Buffer.from(view.value?.base64 ?? '', 'base64').length, 1024)
  assert.equal(view.moreHeaders, 500 - view.headers.length)
  assert.ok(JSON.stringify(view).length < 100_000)
})

test('the text of keys, values and headers has no characters that move the cursor, hide text or reverse its direction', () => {
  const foreign = Buffer.from('\u001b[2Jred\u202eelgae')
  const view = viewDeadLetter(deadLetter(1, { key: foreign, value: foreign, headers: headerBytes([foreign, foreign]) }))
  const shown = String.raw`\u001b[2Jred\u202eelgae`
  assert.equal(view.key?.preview, shown)
  assert.equal(view.value?.preview, shown)
  assert.deepEqual([view.headers[0]?.name, view.headers[0]?.value?.preview], [shown, shown])
  assert.equal(viewDeadLetter(deadLetter(1, { value: Buffer.from([0x50, 0xff, 0x51]) })).value?.preview, 'P�Q')
})
