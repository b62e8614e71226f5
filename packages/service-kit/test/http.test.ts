/** The HTTP server of a service, over real sockets. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { Counter } from '@prometheus-io/client'
import { Health } from '../src/health.ts'
import { type HttpServer, type HttpServerOptions, startHttpServer } from '../src/http.ts'
import { createLogger } from '../src/logger.ts'
import { createRegistry } from '../src/metrics.ts'
import { ServiceError } from '../src/service-error.ts'

const lines: string[] = []
const logger = await createLogger({
  service: 'test',
  level: 'info',
  format: 'json',
  stream: new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk))
      done()
    },
  }),
})

async function start(t: TestContext, options: Partial<HttpServerOptions> = {}): Promise<HttpServer> {
  const server = await startHttpServer({ host: '127.0.0.1', port: 0, health: new Health(), registry: createRegistry(), logger, ...options })
  t.after(() => server.close())
  return server
}

async function get(server: HttpServer, path: string): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(`${server.url}${path}`)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('port 0 is any free port, and the server says which', async (t) => {
  const server = await start(t)
  assert.ok(server.port > 0)
  assert.equal(server.url, `http://127.0.0.1:${server.port}`)
})

test('messages name the address of a server on this machine, and only the port of a server that listens on every address', async (t) => {
  const local = await start(t)
  assert.equal(local.shownAddress, local.url)
  const everywhere = await start(t, { host: '0.0.0.0' })
  assert.equal(everywhere.shownAddress, `port ${everywhere.port} of every address of this machine or container`)
})

test('a request with two Host headers is refused, whichever they are', async (t) => {
  const server = await start(t)
  for (const [hosts, status] of [
    ['Host: localhost', 200],
    ['Host: localhost\r\nHost: evil.example', 400],
    ['Host: localhost\r\nhOsT: localhost', 400],
  ] as const) {
    const socket = connect(server.port, '127.0.0.1')
    socket.write(`GET /health/live HTTP/1.1\r\n${hosts}\r\nConnection: close\r\n\r\n`)
    const answer = Buffer.concat(await socket.toArray()).toString()
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `))
  }
})

test('it is live while it answers', async (t) => {
  const health = new Health()
  health.add('kafka', () => 'away')
  const { status, text } = await get(await start(t, { health }), '/health/live')
  assert.deepEqual([status, JSON.parse(text)], [200, { status: 'live' }])
})

test('it is ready, or says why not, at the time of the request', async (t) => {
  const health = new Health()
  let broker: string | null = null
  health.add('kafka', () => broker)
  health.add('outbox', () => null)
  const server = await start(t, { health })
  const ready = await get(server, '/health/ready')
  assert.deepEqual([ready.status, JSON.parse(ready.text)], [200, { status: 'ready', reasons: [] }])
  assert.equal(ready.headers.get('cache-control'), 'no-store')
  broker = 'localhost:9092 cannot be reached'
  const { status, text } = await get(server, '/health/ready')
  assert.deepEqual([status, JSON.parse(text)], [503, { status: 'not-ready', reasons: ['kafka: localhost:9092 cannot be reached'] }])
})

test('metrics come in the text format of Prometheus, with those of the process', async (t) => {
  const registry = createRegistry()
  new Counter({ name: 'poke_captures_total', help: 'Captures.', registers: [registry] }).inc(3)
  const { status, headers, text } = await get(await start(t, { registry }), '/metrics')
  assert.equal(status, 200)
  assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  assert.match(text, /^poke_captures_total 3$/m)
  assert.match(text, /^process_cpu_seconds_total /m)
})

test('two registries are independent', async () => {
  const registry = createRegistry()
  new Counter({ name: 'poke_captures_total', help: 'Captures.', registers: [registry] })
  const other = createRegistry()
  assert.equal(other.getSingleMetric('poke_captures_total'), undefined)
})

test('further routes can be registered', async (t) => {
  const server = await start(t, { plugins: [async (app) => void app.get('/api/hello', async () => ({ hello: 'world' }))] })
  assert.equal((await get(server, '/api/hello')).text, '{"hello":"world"}')
})

test('a failing route answers 500 and logs the reason, which the answer does not contain', async (t) => {
  const fail = async () => {
    throw new Error('the secret reason')
  }
  const server = await start(t, { plugins: [async (app) => void app.get('/api/fail', fail)] })
  const { status, text } = await get(server, '/api/fail')
  assert.equal(status, 500)
  assert.doesNotMatch(text, /secret/)
  assert.match(lines.at(-1) ?? '', /the secret reason/)
})

test('an unknown path answers 404', async (t) => {
  assert.equal((await get(await start(t), '/nothing')).status, 404)
})

test('a taken port is an error that names port, host and the setting to change', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await new Promise((resolve) => other.once('listening', resolve))
  const { port } = other.address() as AddressInfo
  await assert.rejects(start(t, { port }), (error: ServiceError) => {
    assert.ok(error instanceof ServiceError)
    assert.deepEqual([error.code, error.exitCode, error.retriable], ['http/port-taken', 73, false])
    assert.equal(
      error.message,
      `port ${port} of 127.0.0.1 is taken by another program: end that program, or set HTTP_PORT to another port (0: any free one)`,
    )
    return true
  })
})

test('an address that does not belong to this machine is an error that names the setting to correct', async (t) => {
  await assert.rejects(start(t, { host: '192.0.2.1' }), (error: ServiceError) => {
    assert.equal(error.code, 'http/no-such-host')
    assert.match(error.message, /^192\.0\.2\.1 is not an address of this machine \(EADDRNOTAVAIL\): correct HTTP_HOST/)
    return true
  })
})

test('the start fails if a plugin fails', async () => {
  const failing = startHttpServer({
    host: '127.0.0.1',
    port: 0,
    health: new Health(),
    registry: createRegistry(),
    logger,
    plugins: [
      async () => {
        throw new Error('no page here')
      },
    ],
  })
  await assert.rejects(failing, /no page here/)
})

test('the size of headers is bounded', async (t) => {
  const server = await start(t)
  const response = await fetch(`${server.url}/health/live`, { headers: { 'x-long': 'x'.repeat(20_000) } })
  assert.equal(response.status, 431)
})

test('the size of bodies is bounded', async (t) => {
  const server = await start(t, { plugins: [async (app) => void app.post('/api/echo', async ({ body }) => body)] })
  const response = await fetch(`${server.url}/api/echo`, {
    method: 'POST',
    body: JSON.stringify('x'.repeat(20_000)),
    headers: { 'content-type': 'application/json' },
  })
  assert.equal(response.status, 413)
})

test('closing does not wait for a client that holds its connection', async () => {
  const server = await startHttpServer({ host: '127.0.0.1', port: 0, health: new Health(), registry: createRegistry(), logger })
  const idle = connect(server.port, '127.0.0.1')
  idle.on('error', () => undefined)
  await new Promise((resolve) => idle.once('connect', resolve))
  // An incomplete request, for whose end a server would wait.
  await new Promise((resolve) => idle.write('GET /health/live HTTP/1.1\r\nHost: ', resolve))
  assert.equal((await fetch(`${server.url}/health/live`)).status, 200)
  const gone = new Promise((resolve) => idle.once('close', resolve))
  await server.close()
  await gone
})

test('a client that sends thousands of requests at once, without waiting for answers, is disconnected', async (t) => {
  const server = await start(t)
  const send = async (requests: number) => {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(requests - 1))
    socket.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    let answers = ''
    socket.on('data', (data) => {
      answers += data
    })
    await new Promise((resolve) => socket.once('close', resolve))
    return answers.split('HTTP/1.1 200').length - 1
  }
  assert.equal(await send(3), 3)
  assert.ok((await send(2000)) < 10)
})
