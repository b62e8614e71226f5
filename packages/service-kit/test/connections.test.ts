/** Clients that hold connections do not block other clients. The tests use real sockets; on Linux all of 127.0.0.0/8 belongs to this machine. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Server } from 'node:net'
import { Writable } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { clientOf } from '../src/connections.ts'
import { Health } from '../src/health.ts'
import { type HttpServer, startHttpServer } from '../src/http.ts'
import { createLogger } from '../src/logger.ts'
import { createRegistry } from '../src/metrics.ts'
import { ask, type HeldConnections, type Holding, holdConnections, median } from '../testing/index.ts'

const HALF = 'GET /health/live HTTP/1.1\r\nHost: '
const HALF_BODY = `POST /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`
const UNREAD = 'GET /api/large HTTP/1.1\r\nHost: localhost\r\n\r\n'
const LARGE = Buffer.alloc(4 * 1024 * 1024)
const skip = process.platform === 'linux' ? false : 'only Linux has addresses beside 127.0.0.1 without being told'

async function start(t: TestContext): Promise<{ server: HttpServer; lines: string[]; sockets: () => Promise<number> }> {
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const logger = await createLogger({ service: 'test', level: 'info', format: 'json', stream })
  let listener: Server | undefined
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    health: new Health(),
    registry: createRegistry(),
    logger,
    plugins: [
      async (app) => {
        listener = app.server
        app.get('/api/large', (_, reply) => reply.send(LARGE))
        app.post('/api/echo', async ({ body }) => body)
      },
    ],
  })
  t.after(() => server.close())
  const sockets = () => new Promise<number>((resolve, reject) => listener?.getConnections((e, n) => (e ? reject(e) : resolve(n))))
  return { server, lines, sockets }
}

function hold(t: TestContext, holding: Holding): HeldConnections {
  const held = holdConnections(holding)
  t.after(() => held[Symbol.asyncDispose]())
  return held
}

/** Requests health while the connections are opened and for a while after. */
async function probeWhile(server: HttpServer, from: string, opened: Promise<unknown>): Promise<void> {
  const ms: number[] = []
  let rounds = 10
  void opened.then(() => rounds--)
  while (rounds > 0) {
    for (const path of ['/health/live', '/health/ready', '/metrics']) {
      const answer = await ask(server.port, from, path)
      assert.equal(answer.status, 200)
      ms.push(answer.ms)
    }
    if (rounds < 10) rounds--
  }
  assert.ok(median(ms) < 1000, `half of the answers took more than ${median(ms).toFixed(0)} ms`)
}

// At the same time, because most of their time passes until the server's own limits end.
describe('connections of which nothing comes', { concurrency: true }, () => {
  test('5,000 half-open requests of one client leave health to others; the log names it once, and says when it is over', {
    skip,
  }, async (t) => {
    const { server, lines, sockets } = await start(t)
    const held = hold(t, { port: server.port, from: '127.0.0.2', count: 5000, text: HALF })
    await probeWhile(server, '127.0.0.1', held.opened(5000))
    assert.ok((await sockets()) <= 301)
    const warnings = lines.filter((line) => line.includes('http/crowded'))
    assert.equal(warnings.length, 1, warnings.join(''))
    assert.match(warnings[0] ?? '', /127\.0\.0\.2 holds 300 of at most 300 connections without a complete request/)
    await held[Symbol.asyncDispose]()
    const deadline = performance.now() + 30_000
    while (!lines.some((line) => line.includes('every connection is accepted again'))) {
      assert.ok(performance.now() < deadline, lines.join(''))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })

  test('connections without a complete request are closed in time', async (t) => {
    const { server, sockets } = await start(t)
    for (const text of ['', HALF, HALF_BODY]) {
      const socket = connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      socket.on('error', () => {})
      socket.write(text)
      socket.resume()
    }
    while ((await sockets()) < 3) await new Promise((resolve) => setImmediate(resolve))
    const deadline = performance.now() + 30_000
    while ((await sockets()) > 0) {
      assert.ok(performance.now() < deadline, 'half a minute later')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })
})

for (const [what, text] of Object.entries({
  'that never send a byte': '',
  'with half a body': HALF_BODY,
  'whose answers nobody reads': UNREAD,
})) {
  test(`1,000 connections ${what} leave health to others, and to their own address`, { skip }, async (t) => {
    const { server, sockets } = await start(t)
    const held = hold(t, { port: server.port, from: '127.0.0.2', count: 1000, text })
    await Promise.all([probeWhile(server, '127.0.0.1', held.opened(1000)), probeWhile(server, '127.0.0.2', held.opened(1000))])
    assert.ok((await sockets()) <= 452)
  })
}

test('a client that reopens each closed connection does not keep its own address from health', async (t) => {
  const { server } = await start(t)
  const held = hold(t, { port: server.port, from: '127.0.0.1', count: 400, text: HALF, again: true })
  await probeWhile(server, '127.0.0.1', held.opened(4000))
})

test('five thousand clients of one connection each leave health to others', { skip }, async (t) => {
  const { server, sockets } = await start(t)
  const open = (i: number) => connect({ port: server.port, host: '127.0.0.1', localAddress: `127.1.${i >> 8}.${i & 255}` })
  const held = Array.from({ length: 5000 }, (_, i) => open(i + 1).on('error', () => {}))
  const opened = Promise.all(held.map((socket) => once(socket, 'connect').catch(() => {})))
  await probeWhile(server, '127.0.0.1', opened)
  assert.ok((await sockets()) <= 301)
  for (const socket of held) socket.destroy()
})

test('five hundred requests at once, each on a connection of its own, are all answered', async (t) => {
  const { server } = await start(t)
  const answers = await Promise.all(Array.from({ length: 500 }, () => ask(server.port, '127.0.0.1', '/health/live')))
  assert.ok(answers.every(({ status }) => status === 200))
})

test('a few pipelined requests are all answered, and their connection occupies one slot', async (t) => {
  const { server, sockets } = await start(t)
  const socket = connect(server.port, '127.0.0.1')
  socket.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(4))
  let answers = 0
  for await (const chunk of socket.setEncoding('latin1')) {
    answers += String(chunk).split('{"status":"live"}').length - 1
    if (answers === 4) break
  }
  socket.destroy()
  while ((await sockets()) > 0) await new Promise((resolve) => setImmediate(resolve))
})

const manyHeaders = Array.from({ length: 3000 }, (_, i) => `a${i}:\r\n`).join('')
for (const [what, request, answer] of [
  ['HTTP/1.0', 'GET /health/live HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 .*connection: close.*"live"/is],
  ['thousands of headers', `GET /health/live HTTP/1.1\r\nHost: localhost\r\n${manyHeaders}\r\n`, /^HTTP\/1\.1 431 /],
  ['TRACE', 'TRACE /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 404 /],
  ['CONNECT', 'CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n', /^$/],
  [
    'an upgrade',
    'GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n',
    /^$|^HTTP\/1\.1 200 /,
  ],
  ['what is not HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc', /^HTTP\/1\.1 400 /],
] as const) {
  test(`${what} is answered or closed, and takes no place for long`, async (t) => {
    const { server, sockets } = await start(t)
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(request, 'latin1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk
    })
    await once(socket, 'close')
    assert.match(text, answer)
    while ((await sockets()) > 0) await new Promise((resolve) => setImmediate(resolve))
    assert.equal((await ask(server.port, '127.0.0.1', '/health/live')).status, 200)
  })
}

test('a client is an IPv4 address, however it is written, or the first half of an IPv6 address', () => {
  assert.equal(clientOf('10.1.2.3'), '10.1.2.3')
  assert.equal(clientOf('::ffff:10.1.2.3'), '10.1.2.3')
  assert.equal(clientOf('::1'), '0:0:0:0::/64')
  assert.equal(clientOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  assert.equal(clientOf('2001:db8::5:6'), '2001:db8:0:0::/64')
  assert.equal(clientOf('2001:db8:1:2::'), '2001:db8:1:2::/64')
  assert.equal(clientOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  assert.equal(clientOf(''), '')
})
