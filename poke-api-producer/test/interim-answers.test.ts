/** HTTP's interim answers before a final one, whatever their number and wherever the bytes are cut: the final one is what the client gets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { buildConnector, Pool } from 'undici'
import { withoutInterimAnswers } from '../src/infrastructure/poke-api/interim-answers.ts'

/** What the server sends for the next request: one write for each piece. */
let pieces: Buffer[] = []
const server = createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('data', () => void send())
  async function send(): Promise<void> {
    for (const piece of pieces) await new Promise<void>((sent) => socket.write(piece, () => setImmediate(sent)))
  }
})
let pool: Pool

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1, connect: withoutInterimAnswers(buildConnector({})) })
})
after(async () => {
  await pool.destroy()
  server.close()
})

const INTERIMS = [
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 100 \r\n\r\n',
  'HTTP/1.1 102 Processing\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nx: HTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 199 Something\r\na: b\r\n\r\n',
]

function final(body: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

async function ask(): Promise<{ status: number; body: string }> {
  const { statusCode, body } = await pool.request({ path: '/', method: 'GET' })
  return { status: statusCode, body: await body.text() }
}

describe('interim answers', () => {
  for (const interim of INTERIMS) {
    test(`${interim.split('\r\n')[0]} is dropped, and the connection stays`, async () => {
      pieces = [Buffer.from(interim), Buffer.from(final('first'))]
      assert.deepEqual(await ask(), { status: 200, body: 'first' })
      pieces = [Buffer.from(final('second'))]
      assert.deepEqual(await ask(), { status: 200, body: 'second' })
    })
  }

  test('are dropped in any number, however they are split, and bodies that look like them are kept', async () => {
    const body = fc.oneof(fc.string({ maxLength: 40 }), fc.constantFrom(...INTERIMS, final('x')))
    const answers = fc.record({
      interims: fc.array(fc.constantFrom(...INTERIMS), { maxLength: 4 }),
      body,
      cuts: fc.array(fc.nat(400), { maxLength: 8 }),
    })
    await fc.assert(
      fc.asyncProperty(answers, async ({ interims, body, cuts }) => {
        const bytes = Buffer.from(interims.join('') + final(body))
        const places = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort((a, b) => a - b)
        pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
        assert.deepEqual(await ask(), { status: 200, body })
      }),
      { numRuns: 200 },
    )
  })

  test('a head without end is refused before all of it is stored', { timeout: 30_000 }, async () => {
    pieces = [Buffer.from(`HTTP/1.1 100 Continue\r\nx: ${'a'.repeat(64 * 1024)}`)]
    await assert.rejects(ask(), /overflow|bad response/i)
    pieces = [Buffer.from(final('after'))]
    assert.deepEqual(await ask(), { status: 200, body: 'after' })
  })
})
