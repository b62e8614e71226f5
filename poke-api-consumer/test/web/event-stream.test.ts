import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { EventStream, type EventStreamOptions } from '../../src/infrastructure/web/event-stream.ts'

const LARGE = 50_000

/** A stream on a real server, of snapshots `{"version":n}`, with `noise` bytes of noise. */
async function serve(t: TestContext, { noise = 0, ...options }: Partial<EventStreamOptions> & { noise?: number } = {}) {
  const shown = { version: 1, serialised: 0 }
  const stream = new EventStream({
    version: () => shown.version,
    snapshot: () => {
      shown.serialised++
      return JSON.stringify({ version: shown.version, ...(noise > 0 && { noise: 'x'.repeat(noise) }) })
    },
    now: () => 1234,
    maxClients: 10,
    interval: 5,
    ...options,
  })
  const responses = new Set<ServerResponse>()
  const server = createServer((_request, response: ServerResponse) => {
    responses.add(response)
    response.on('close', () => responses.delete(response))
    if (stream.closed) response.writeHead(503).end()
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
  const unread = () => [...responses].reduce((sum, { writableLength }) => sum + writableLength, 0)
  return { stream, shown, port, unread }
}

const onlyLinux = process.platform === 'linux' ? false : 'only Linux has addresses beside 127.0.0.1 without being told'

/** A page: resolves with the response when its headers have arrived, and keeps all received bytes. */
async function open(
  port: number,
  localAddress = '127.0.0.1',
): Promise<{ response: IncomingMessage; text: () => string; until: (part: string) => Promise<void> }> {
  const request = get({ port, host: '127.0.0.1', localAddress, agent: false })
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

test('a page gets the time and the current snapshot at once, and then each new snapshot', async (t) => {
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

test('a snapshot is serialised once for all pages', async (t) => {
  const { port, shown } = await serve(t)
  const pages = await Promise.all(Array.from({ length: 8 }, () => open(port)))
  await Promise.all(pages.map((page) => page.until('{"version":1}')))
  assert.equal(shown.serialised, 1)
  shown.version = 2
  await Promise.all(pages.map((page) => page.until('{"version":2}')))
  assert.equal(shown.serialised, 2)
})

test('a heartbeat is sent while nothing changes', async (t) => {
  const { port } = await serve(t, { heartbeat: 20 })
  const page = await open(port)
  await page.until('{"version":1}')
  await page.until('{"version":1}\n\nevent: beat\ndata: 1234\n\n')
})

test('no timer runs without a page', async (t) => {
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

/** A page whose browser has stopped: it has the first bytes of the stream, and reads no more. */
async function freeze(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'readable')
  return socket
}

/** The answer to a page that gets no stream. */
const PICTURE = /^retry: 5000\nevent: full\ndata: 5\n\nevent: beat\ndata: 1234\n\ndata: \{"version":1\}\n\n$/

test('when all streams are taken, a page gets one snapshot and is asked to retry; a page that disconnects frees its stream', async (t) => {
  const { port, stream } = await serve(t, { maxClients: 2 })
  const [first] = [await open(port), await open(port)]
  const late = await open(port)
  await once(late.response, 'end')
  assert.match(late.text(), PICTURE)
  first?.response.destroy()
  while (stream.clients === 2) await new Promise((resolve) => setImmediate(resolve))
  await (await open(port)).until('{"version":1}')
  assert.equal(stream.clients, 2)
})

test('streams are shared among clients: a client that has all of them loses some, and no two clients evict each other in turns', {
  skip: onlyLinux,
}, async (t) => {
  const { port, stream } = await serve(t, { maxClients: 4 })
  const many = []
  for (let i = 0; i < 4; i++) many.push(await open(port, '127.0.0.2'))
  const [oldest, older] = many
  const others = [await open(port, '127.0.0.3')]
  assert.ok(oldest !== undefined && older !== undefined)
  while (!oldest.response.closed) await new Promise((resolve) => setImmediate(resolve))
  others.push(await open(port, '127.0.0.3'))
  while (!older.response.closed) await new Promise((resolve) => setImmediate(resolve))
  for (const client of ['127.0.0.2', '127.0.0.3']) {
    const late = await open(port, client)
    await once(late.response, 'end')
    assert.match(late.text(), PICTURE)
  }
  assert.equal(stream.clients, 4)
  assert.ok([...many.slice(2), ...others].every(({ response }) => !response.closed))
})

test('a page that stops reading is disconnected, and the others continue', async (t) => {
  const { port, stream, shown } = await serve(t, { noise: LARGE, interval: 1, patience: 50 })
  const frozen = await freeze(port)
  const page = await open(port)
  assert.equal(stream.clients, 2)
  let received = 0
  page.response.on('data', (part: string) => {
    received += part.length
  })
  // The size of the kernel's buffers depends on the machine, but they are bounded.
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

test('a slow page stays connected, skips outdated snapshots, and gets the newest one', async (t) => {
  const { port, stream, shown } = await serve(t, { noise: LARGE, interval: 1, patience: 60_000 })
  const slow = await freeze(port)
  const page = await open(port)
  let text = ''
  slow.setEncoding('latin1').on('data', (part: string) => {
    text += part
  })
  slow.pause()
  while (shown.version < 400) {
    shown.version++
    await once(page.response, 'data')
  }
  assert.equal(stream.clients, 2)
  slow.resume()
  while (!text.includes('{"version":400')) await once(slow, 'data')
  assert.ok(text.split('data: {"version":').length < 300, 'not every picture')
})

test('pages that read nothing use a bounded part of memory, however many connect', async (t) => {
  const { port, stream, shown, unread } = await serve(t, { noise: LARGE, interval: 1, maxClients: 50, patience: 60_000 })
  const frozen = await Promise.all(Array.from({ length: 400 }, () => freeze(port)))
  assert.equal(stream.clients, 50)
  const mostEach = LARGE + 128 * 1024
  // Far more snapshots than the kernel buffers for all pages.
  for (let i = 0; i < 300; i++) {
    const { serialised } = shown
    shown.version++
    while (shown.serialised === serialised) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.ok(unread() <= 50 * mostEach, `${unread()} bytes`)
  }
  assert.equal(stream.clients, 50)
  for (const socket of frozen) socket.destroy()
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
