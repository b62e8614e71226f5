import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { EventStream, type EventStreamOptions } from '../../src/infrastructure/web/event-stream.ts'

/** A stream on a real server, of snapshots `{"version":n}`. */
async function serve(t: TestContext, options: Partial<EventStreamOptions> = {}) {
  const shown = { version: 1, serialised: 0 }
  const stream = new EventStream({
    version: () => shown.version,
    snapshot: () => {
      shown.serialised++
      return JSON.stringify({ version: shown.version })
    },
    now: () => 1234,
    maxClients: 10,
    interval: 5,
    ...options,
  })
  const server = createServer((_request, response: ServerResponse) => {
    if (stream.full) response.writeHead(503).end()
    else stream.open(response, { 'x-kept': 'yes' })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  t.after(async () => {
    stream.close()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return { stream, shown, port }
}

/** A page: resolves with the response once its headers are there, and keeps what came. */
async function open(port: number): Promise<{ response: IncomingMessage; text: () => string; until: (part: string) => Promise<void> }> {
  const request = get({ port, host: '127.0.0.1', agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  response.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  response.on('error', () => {})
  const until = async (part: string) => {
    while (!text.includes(part)) await once(response, 'data')
  }
  return { response, text: () => text, until }
}

test('a page gets the clock and the picture of now at once, and each new picture', async (t) => {
  const { port, shown } = await serve(t)
  const page = await open(port)
  assert.equal(page.response.headers['content-type'], 'text/event-stream')
  assert.equal(page.response.headers['cache-control'], 'no-store')
  assert.equal(page.response.headers['x-kept'], 'yes')
  await page.until('data: {"version":1}\n\n')
  assert.match(page.text(), /^retry: 1000\nevent: beat\ndata: 1234\n\ndata: \{"version":1\}\n\n/)
  shown.version = 2
  await page.until('data: {"version":2}\n\n')
})

test('a picture is serialised once, however many watch', async (t) => {
  const { port, shown } = await serve(t)
  const pages = await Promise.all(Array.from({ length: 8 }, () => open(port)))
  await Promise.all(pages.map((page) => page.until('{"version":1}')))
  assert.equal(shown.serialised, 1)
  shown.version = 2
  await Promise.all(pages.map((page) => page.until('{"version":2}')))
  assert.equal(shown.serialised, 2)
})

test('while nothing changes there is a sign of life now and then', async (t) => {
  const { port } = await serve(t, { heartbeat: 20 })
  const page = await open(port)
  await page.until('{"version":1}')
  await page.until('{"version":1}\n\nevent: beat\ndata: 1234\n\n')
})

test('nothing ticks without a page', async (t) => {
  const { port, stream, shown } = await serve(t)
  const page = await open(port)
  await page.until('{"version":1}')
  page.response.destroy()
  const other = await open(port)
  await other.until('{"version":1}')
  while (stream.clients > 1) await new Promise((resolve) => setImmediate(resolve))
  other.response.destroy()
  while (stream.clients > 0) await new Promise((resolve) => setImmediate(resolve))
  shown.version = 2
  const late = await open(port)
  await late.until('{"version":2}')
  assert.equal(shown.serialised, 2, 'made when the page came, not before')
})

test('more pages than allowed are refused, and one that leaves makes room', async (t) => {
  const { port, stream } = await serve(t, { maxClients: 2 })
  const [first] = [await open(port), await open(port)]
  assert.equal((await open(port)).response.statusCode, 503)
  first?.response.destroy()
  while (stream.full) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await open(port)).response.statusCode, 200)
})

test('a page that stops reading is dropped, and the others go on', async (t) => {
  const noise = 'x'.repeat(50_000)
  const { port, stream, shown } = await serve(t, { snapshot: () => JSON.stringify({ version: shown.version, noise }), interval: 1 })
  const frozen: Socket = connect(port, '127.0.0.1')
  frozen.on('error', () => {})
  frozen.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(frozen, 'readable')
  const page = await open(port)
  assert.equal(stream.clients, 2)
  let received = 0
  page.response.on('data', (part: string) => {
    received += part.length
  })
  // What the kernel buffers for a reader is a matter of the machine; in the end its bound is reached.
  while (stream.clients === 2) {
    shown.version++
    await once(page.response, 'data')
  }
  assert.equal(stream.clients, 1)
  const before = received
  shown.version++
  await once(page.response, 'data')
  assert.ok(received > before)
  frozen.destroy()
})

test('close ends every stream and refuses new ones', async (t) => {
  const { port, stream } = await serve(t)
  const page = await open(port)
  await page.until('{"version":1}')
  stream.close()
  await once(page.response, 'end')
  assert.equal(stream.clients, 0)
  assert.equal((await open(port)).response.statusCode, 503)
})
