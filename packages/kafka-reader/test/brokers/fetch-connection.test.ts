/** Connections for fetching, to a broker that sends exactly what a test wants. */
import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer as createEncryptedServer } from 'node:tls'
import { AuthenticationError, NetworkError, Writer } from '@platformatic/kafka'
import { FetchConnection, type FetchConnectionOptions } from '../../src/brokers/fetch-connection.ts'
import { KafkaError } from '../../src/errors.ts'

const FETCH = 1
const SASL_HANDSHAKE = 17
const SASL_AUTHENTICATE = 36
const KIB = 1024

interface Request {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlation: number
  readonly clientId: string
  /** The bytes behind the head. */
  readonly body: Buffer
}

/** A broker at a free port. @param answer called with each request; writes any bytes to the socket */
async function brokerOf(t: TestContext, answer: (request: Request, socket: Socket) => void, server: Server = createServer()) {
  const sockets = new Set<Socket>()
  server.on(server.listenerCount('tlsClientError') > 0 ? 'secureConnection' : 'connection', (socket: Socket) => {
    sockets.add(socket)
    let received = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0)
        answer(requestIn(received.subarray(4, end)), socket)
        received = received.subarray(end)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { host: 'localhost', port: (server.address() as AddressInfo).port }
}

function requestIn(frame: Buffer): Request {
  const clientEnd = 10 + frame.readInt16BE(8)
  return {
    apiKey: frame.readInt16BE(0),
    apiVersion: frame.readInt16BE(2),
    correlation: frame.readInt32BE(4),
    clientId: frame.toString('utf8', 10, clientEnd),
    body: frame.subarray(clientEnd),
  }
}

/** The bytes of an answer. @param tags the tagged fields that every head of a flexible version has */
function answerTo({ correlation }: Request, body: Buffer, tags = true): Buffer {
  const head = Buffer.alloc(tags ? 9 : 8)
  head.writeInt32BE(head.length - 4 + body.length, 0)
  head.writeInt32BE(correlation, 4)
  return Buffer.concat([head, body])
}

async function connectionTo(t: TestContext, address: { host: string; port: number }, options: Partial<FetchConnectionOptions> = {}) {
  const signal = AbortSignal.timeout(10_000)
  const connection = await FetchConnection.open(address, { clientId: 'test', commonBytes: 256 * KIB, ...options }, signal)
  t.after(() => connection.close())
  return connection
}

function requestOf(text: string): Writer {
  return Writer.create().append(Buffer.from(text))
}

/** Bytes whose values follow from their places. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 7 + (i >>> 8) + seed
  return bytes
}

test('sends the head of a flexible version, and returns the body of the answer', async (t) => {
  let asked: Request | undefined
  const address = await brokerOf(t, (request, socket) => {
    asked = request
    socket.write(answerTo(request, Buffer.from('records')))
  })
  const connection = await connectionTo(t, address, { clientId: 'ash' })
  const answer = await connection.ask(FETCH, 17, requestOf('which?'))
  assert.equal(answer.toString(), 'records')
  assert.deepEqual(
    { ...asked, body: asked?.body.toString() },
    { apiKey: 1, apiVersion: 17, correlation: 0, clientId: 'ash', body: '\0which?' },
  )
})

test('an answer stays valid while the next one arrives, whatever their sizes and chunks', async (t) => {
  const sizes = [10, 300 * KIB, 64 * KIB - 9, 64 * KIB - 8, 64 * KIB, 5, 900 * KIB, 200 * KIB, 1, 0]
  const address = await brokerOf(t, (request, socket) => {
    const bytes = answerTo(request, pattern(sizes[request.correlation] as number, request.correlation))
    socket.setNoDelay(true)
    for (let at = 0, piece = 1; at < bytes.length; at += piece, piece = piece * 3 + 1) socket.write(bytes.subarray(at, at + piece))
  })
  const connection = await connectionTo(t, address)
  let before: { readonly answer: Buffer; readonly index: number } | null = null
  for (let index = 0; index < sizes.length; index++) {
    const answer = await connection.ask(FETCH, 13, requestOf('more'))
    for (const each of before === null ? [{ answer, index }] : [before, { answer, index }])
      assert.ok(each.answer.equals(pattern(sizes[each.index] as number, each.index)), `answer ${each.index} of ${sizes[each.index]} bytes`)
    before = { answer, index }
  }
})

test('the buffer of one unusually large answer is freed', async (t) => {
  const sizes = [2000 * KIB, 10, 10, 10]
  const address = await brokerOf(t, (request, socket) => {
    socket.write(answerTo(request, Buffer.alloc(sizes[request.correlation] as number)))
  })
  const connection = await connectionTo(t, address)
  const memory: number[] = []
  for (const _ of sizes) memory.push((await connection.ask(FETCH, 17, requestOf(''))).buffer.byteLength / KIB)
  assert.ok((memory[0] as number) > 2000, `${memory}`)
  assert.deepEqual(memory.slice(1), [64, 64, 64])
})

test('only the beginning of an answer above the limit is kept, and the next answer is received as usual', async (t) => {
  const sizes = [10, 3000 * KIB, 400 * KIB, 320 * KIB - 9, 2000 * KIB + 1, 20]
  const address = await brokerOf(t, (request, socket) => {
    socket.write(answerTo(request, pattern(sizes[request.correlation] as number, request.correlation)))
  })
  const connection = await connectionTo(t, address, { mostBytes: 500 * KIB })
  for (const [index, size] of sizes.entries()) {
    const answer = await connection.ask(FETCH, 17, requestOf(''))
    // 256 KiB of records are usual here, and there is room for 64 KiB beside them.
    const kept = size > 500 * KIB ? 320 * KIB - 9 : size
    assert.deepEqual([answer.length, connection.missing], [kept, size - kept])
    assert.ok(answer.equals(pattern(size, index).subarray(0, kept)))
    assert.ok(answer.buffer.byteLength <= 500 * KIB)
  }
})

for (const [what, bytes] of [
  ['to another question', (request: Request) => answerTo({ ...request, correlation: request.correlation + 1 }, Buffer.alloc(3))],
  ['with more than its size says', (request: Request) => Buffer.concat([answerTo(request, Buffer.alloc(3)), Buffer.alloc(1)])],
  ['of a negative size', () => Buffer.from([0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0])],
  ['too short for a head', () => Buffer.from([0, 0, 0, 4, 0, 0, 0, 0])],
] as const) {
  test(`an answer ${what} is refused, and the connection cannot be used again`, async (t) => {
    const address = await brokerOf(t, (request, socket) => void socket.write(bytes(request)))
    const connection = await connectionTo(t, address)
    const refused = (error: unknown) => error instanceof KafkaError && error.kind === 'bad-response'
    await assert.rejects(connection.ask(FETCH, 17, requestOf('')), refused)
    assert.equal(connection.closed, true)
    await assert.rejects(connection.ask(FETCH, 17, requestOf('')), refused)
  })
}

test('a broker that closes the connection within an answer, and one that does not listen, cause network errors', async (t) => {
  const address = await brokerOf(t, (request, socket) => socket.end(answerTo(request, Buffer.alloc(100)).subarray(0, 50)))
  const connection = await connectionTo(t, address)
  await assert.rejects(connection.ask(FETCH, 17, requestOf('')), NetworkError)
  const unused = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => unused.once('listening', resolve))
  const { port } = unused.address() as AddressInfo
  await new Promise((resolve) => unused.close(resolve))
  await assert.rejects(connectionTo(t, { host: '127.0.0.1', port }), NetworkError)
})

test('closing rejects the request under way, and aborting rejects the attempt to connect', async (t) => {
  const asked = Promise.withResolvers<void>()
  const address = await brokerOf(t, () => asked.resolve())
  const connection = await connectionTo(t, address)
  const answer = connection.ask(FETCH, 17, requestOf(''))
  answer.catch(() => {})
  await asked.promise
  await assert.rejects(connection.ask(FETCH, 17, requestOf('')), /was asked while it had not answered yet/)
  connection.close()
  await assert.rejects(answer, NetworkError)

  const giveUp = new AbortController()
  const why = new Error('enough')
  const login = { sasl: { mechanism: 'PLAIN', username: 'ash', password: 'hunter2' } } as const
  const opening = FetchConnection.open(address, { clientId: 'test', commonBytes: 1, clientOptions: login }, giveUp.signal)
  giveUp.abort(why)
  await assert.rejects(opening, why)
})

/** A broker with the user ash. @param lifetime of a login, in ms; 0: it does not expire */
function bouncer(password: string, lifetime: number, log: string[]) {
  return (request: Request, socket: Socket) => {
    if (request.apiKey === SASL_HANDSHAKE) {
      log.push(`handshake ${request.body.toString('utf8', 2)}`)
      socket.write(answerTo(request, Buffer.from([0, 0, 0, 0, 0, 1, 0, 5, ...Buffer.from('PLAIN')]), false))
    } else if (request.apiKey === SASL_AUTHENTICATE) {
      // Behind tags and a length of a byte each.
      const ok = request.body.toString('utf8', 2, request.body.length - 1) === `\0ash\0${password}`
      log.push(ok ? 'in' : 'out')
      const end = Buffer.alloc(9)
      end.writeBigInt64BE(BigInt(lifetime))
      socket.write(answerTo(request, Buffer.concat([Buffer.from(ok ? [0, 0, 0, 1] : [0, 58, 0, 1]), end])))
    } else {
      log.push('fetch')
      socket.write(answerTo(request, Buffer.from('records')))
    }
  }
}

test('logs in before the first request, and again before the login expires', async (t) => {
  const log: string[] = []
  const address = await brokerOf(t, bouncer('hunter2', 100, log))
  const sasl = { mechanism: 'PLAIN', username: 'ash', password: () => 'hunter2' } as const
  const connection = await connectionTo(t, address, { clientOptions: { sasl } })
  assert.equal((await connection.ask(FETCH, 17, requestOf(''))).toString(), 'records')
  assert.deepEqual(log, ['handshake PLAIN', 'in', 'fetch'])
  while (log.filter((line) => line === 'in').length < 2) await connection.ask(FETCH, 17, requestOf(''))
  assert.deepEqual(log.slice(-2), ['in', 'fetch'])
})

test('a refused login is an authentication error that names the broker', async (t) => {
  const address = await brokerOf(t, bouncer('hunter2', 0, []))
  const sasl = { mechanism: 'PLAIN', username: 'ash', password: 'onix' } as const
  await assert.rejects(
    connectionTo(t, address, { clientOptions: { sasl } }),
    (error) => error instanceof AuthenticationError && error.message === `localhost:${address.port} refused the login.`,
  )
})

test('receives over TLS in the same way, and sends the server name', async (t) => {
  // A pre-shared key is used in place of certificates.
  const psk = Buffer.from('thunderbolt')
  const shared = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const
  const names: unknown[] = []
  const server = createEncryptedServer({
    ...shared,
    pskCallback: () => psk,
    SNICallback: (name, done) => {
      names.push(name)
      done(null)
    },
  })
  server.on('tlsClientError', (error) => t.diagnostic(error.message))
  const address = await brokerOf(
    t,
    (request, socket) => void socket.write(answerTo(request, pattern(700 * KIB, request.correlation))),
    server,
  )
  const tls = { ...shared, pskCallback: () => ({ psk, identity: 'ash' }), checkServerIdentity: () => undefined }
  const connection = await connectionTo(t, address, { clientOptions: { tls, tlsServerName: true } })
  for (let i = 0; i < 5; i++) assert.ok((await connection.ask(FETCH, 17, requestOf(''))).equals(pattern(700 * KIB, i)), `answer ${i}`)
  assert.deepEqual(names, ['localhost'])
})
