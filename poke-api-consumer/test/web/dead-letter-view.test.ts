import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printable, viewDeadLetter } from '../../src/infrastructure/web/dead-letter-view.ts'
import { headerBytes } from '../header-bytes.ts'
import { deadLetter } from './kept-dead-letter.ts'

test('a value is shown as bytes and as text', () => {
  assert.deepEqual(viewDeadLetter(deadLetter(1)).value, { bytes: 12, base64: 'eyJpZCI6ICJwaWth', preview: '{"id": "pika' })
  assert.equal(viewDeadLetter(deadLetter(1, { value: null })).value, null)
})

test('whatever a dead letter holds, what is shown of it is bounded', () => {
  const header = [Buffer.alloc(10_000, 'n'), Buffer.alloc(100_000, 'v')] as const
  const view = viewDeadLetter(deadLetter(1, { value: Buffer.alloc(1_000_000, 'x'), headers: headerBytes(...Array(500).fill(header)) }))
  assert.equal(view.value?.bytes, 1_000_000)
  assert.equal(Buffer.from(view.value?.base64 ?? '', 'base64').length, 1024)
  assert.equal(view.moreHeaders, 500 - view.headers.length)
  assert.ok(JSON.stringify(view).length < 100_000)
})

test('text has nothing in it that moves a cursor, hides, or turns the direction of writing', () => {
  assert.equal(printable(Buffer.from('\u001b[2Jred\u0007\r\nmon\u202eelgae\u200b')), '�[2Jred���mon�elgae�')
  assert.equal(printable(Buffer.from([0x50, 0xff, 0x51])), 'P�Q')
  assert.equal(printable(Buffer.from('Flabébé ポケモン')), 'Flabébé ポケモン')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const text = printable(Buffer.from(bytes))
      return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text) && [...text].length <= 121
    }),
  )
})
