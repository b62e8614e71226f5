/** Requests to PokeAPI through a proxy, as HTTP and through a tunnel. Each failure of a proxy is reported as its failure, and without its password. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { PokeApiError } from '../src/errors.ts'
import { PokeApiClient, type PokeApiClientOptions } from '../src/infrastructure/poke-api/poke-api-client.ts'
import { InstantClock } from './instant-clock.ts'
import { bodyOf, LocalPokeApi, ok, status } from './local-poke-api.ts'
import { LocalProxy } from './local-proxy.ts'
import { pokemon } from './pokemon.ts'
import { silentServer } from './silent-server.ts'

const pikachu = pokemon(25, 'electric')
const never = new AbortController().signal
const PASSWORD = 'Sp@ring/20?26#%'

function clientOf(t: TestContext, options: Partial<PokeApiClientOptions> & { url: string }): PokeApiClient {
  const clock = new InstantClock()
  const client = new PokeApiClient({ maxRate: 0, maxAttempts: 1, cacheFile: ':memory:', clock, date: clock.now, ...options })
  t.after(() => client.close())
  return client
}

async function failureOf(client: PokeApiClient): Promise<PokeApiError> {
  try {
    await client.capture(25, never)
  } catch (error) {
    assert.ok(error instanceof PokeApiError, String(error))
    return error
  }
  return assert.fail('it was captured')
}

/** An API that says which host it was called by. */
interface Api {
  readonly url: string
  readonly hosts: (string | undefined)[]
}

async function plainApi(t: TestContext): Promise<Api> {
  const api = await LocalPokeApi.start(t)
  const hosts: (string | undefined)[] = []
  api.answer('pokemon/25/', (request, response) => {
    hosts.push(request.headers.host)
    assert.equal(request.headers['proxy-authorization'], undefined)
    response.writeContinue()
    ok(bodyOf(pikachu))(request, response)
  })
  return { url: api.url, hosts }
}

/** Of a certificate that Node trusts in this process alone. */
let certificate: { key: Buffer; cert: Buffer } | null = null
let folder: string | null = null
const authorities = getCACertificates()
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-addext', names, '-keyout', key, '-out', cert]
  try {
    execFileSync('openssl', args, { stdio: 'ignore' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  certificate = { key: readFileSync(key), cert: readFileSync(cert) }
  setDefaultCACertificates([...authorities, certificate.cert.toString()])
})
after(() => {
  setDefaultCACertificates(authorities)
  if (folder !== null) rmSync(folder, { recursive: true })
})

async function secureApi(t: TestContext): Promise<Api | null> {
  if (certificate === null) {
    t.skip('openssl, which makes the certificate of this test, is missing')
    return null
  }
  const hosts: (string | undefined)[] = []
  const server = createSecureServer(certificate, (request, response) => {
    hosts.push(request.headers.host)
    assert.equal(request.headers['proxy-authorization'], undefined)
    response.writeContinue()
    ok(bodyOf(pikachu))(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2`, hosts }
}

for (const [kind, makeApi, asks] of [
  ['http://', plainApi, 'GET http://'],
  ['https://', secureApi, 'CONNECT 127.0.0.1:'],
] as const) {
  describe(`an ${kind} API behind a proxy`, () => {
    test('gets its requests through the proxy, with its own host name', async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const proxy = await LocalProxy.start(t)
      const client = clientOf(t, { url: api.url, proxy: proxy.url() })
      for (let n = 0; n < 3; n++) assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
      const { host } = new URL(api.url)
      assert.deepEqual(api.hosts, [host, host, host])
      assert.ok(proxy.asked.length > 0 && proxy.asked.every((question) => question.startsWith(asks)), `${proxy.asked}`)
    })

    test('gets requests with the proxy’s login, whatever characters it has; a wrong one is reported as refused, and never shown', async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const proxy = await LocalProxy.start(t)
      proxy.login = `ash:${PASSWORD}`
      const right = clientOf(t, { url: api.url, proxy: proxy.url(`ash:${encodeURIComponent(PASSWORD)}@`) })
      assert.deepEqual((await right.capture(25, never))?.pokemon, pikachu)
      for (const login of ['', 'brock:se%40cret@', 'brock@']) {
        const before = proxy.asked.length
        const error = await failureOf(clientOf(t, { url: api.url, proxy: proxy.url(login), maxAttempts: 5 }))
        assert.equal(error.kind, 'proxy', error.message)
        assert.match(error.message, new RegExp(`the proxy http://127\\.0\\.0\\.1:${proxy.port} asks for a user and a password`))
        assert.match(error.message, /status 407\).*HTTPS_PROXY/)
        assert.doesNotMatch(error.message + JSON.stringify(error.cause), /brock|se%40cret|se@cret/)
        assert.equal(proxy.asked.length, before + 1, 'what is refused is not asked again at once')
      }
      assert.equal(api.hosts.length, 1)
    })

    test('reports a proxy that is not running, with its address', async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const error = await failureOf(clientOf(t, { url: api.url, proxy: new URL('http://ash:secret@127.0.0.1:9') }))
      assert.equal(error.kind, 'proxy', error.message)
      assert.match(error.message, /the proxy http:\/\/127\.0\.0\.1:9 cannot be reached \(.*ECONNREFUSED/)
      assert.doesNotMatch(error.message, /secret/)
    })

    test('reports a proxy whose host name is unknown', async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const error = await failureOf(clientOf(t, { url: api.url, proxy: new URL('http://there-is-no-such.invalid:3128') }))
      assert.equal(error.kind, 'proxy', error.message)
      assert.match(error.message, /the proxy http:\/\/there-is-no-such\.invalid:3128 cannot be reached/)
    })

    test('fails in time when the proxy is silent', { timeout: 30_000 }, async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const proxy = await LocalProxy.start(t)
      proxy.silent = true
      const error = await failureOf(clientOf(t, { url: api.url, proxy: proxy.url(), timeout: 300 }))
      assert.equal(error.kind, 'deadline', error.message)
      assert.match(error.message, new RegExp(`through the proxy http://127\\.0\\.0\\.1:${proxy.port}`))
    })

    test('reports a proxy that closes the connection, and retries', { timeout: 30_000 }, async (t) => {
      const api = await makeApi(t)
      if (api === null) return
      const server = await silentServer(t)
      const client = clientOf(t, { url: api.url, proxy: new URL(`http://${server.address}`), maxAttempts: 2 })
      server.hangUp()
      const error = await failureOf(client)
      assert.ok(['proxy', 'unreachable'].includes(error.kind), error.message)
      assert.match(error.message, new RegExp(`the proxy http://${server.address}`))
      assert.match(error.message, /in the last of 2 attempts/)
    })

    test('reports an API that is away, in the proxy’s words', { timeout: 30_000 }, async (t) => {
      const proxy = await LocalProxy.start(t)
      const error = await failureOf(clientOf(t, { url: `${kind}127.0.0.1:9/api/v2`, proxy: proxy.url() }))
      assert.match(error.message, new RegExp(`the proxy http://127\\.0\\.0\\.1:${proxy.port}.*status 502`))
    })

    test('reports a failure of the API, and the proxy', async (t) => {
      const proxy = await LocalProxy.start(t)
      const api = await LocalPokeApi.start(t)
      api.answer('pokemon/25/', status(503))
      const error = await failureOf(clientOf(t, { url: api.url, proxy: proxy.url() }))
      assert.equal(error.kind, 'status')
      assert.match(error.message, /pokemon\/25\/ \(through the proxy http:\/\/127\.0\.0\.1:\d+\) answered with status 503/)
    })
  })
}

describe('a proxy that refuses', () => {
  for (const refusal of [403, 502, 503]) {
    test(`a tunnel with ${refusal} is the proxy’s failure`, { timeout: 30_000 }, async (t) => {
      const api = await secureApi(t)
      if (api === null) return
      const proxy = await LocalProxy.start(t)
      proxy.refusal = refusal
      const client = clientOf(t, { url: api.url, proxy: proxy.url(), maxAttempts: 2 })
      const error = await failureOf(client)
      assert.equal(error.kind, 'proxy', error.message)
      assert.match(
        error.message,
        new RegExp(`the proxy http://127\\.0\\.0\\.1:${proxy.port} refused to forward the request \\(status ${refusal}\\)`),
      )
      assert.equal(proxy.asked.length, refusal >= 500 ? 2 : 1)
      proxy.refusal = null
      assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    })
  }
})

/** What is no proxy, or half of one. @param answer gets the first bytes of a connection */
async function rawProxy(t: TestContext, answer: (socket: Socket) => void): Promise<URL> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => answer(socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return new URL(`http://ash:secret@127.0.0.1:${(server.address() as AddressInfo).port}`)
}

describe('a tunnel', () => {
  const API = 'https://pokeapi.example/api/v2'
  for (const [what, answer, kind, words] of [
    [
      'is not opened, because the proxy hangs up',
      (s) => s.destroy(),
      'proxy',
      /closed the connection before it had forwarded the request: check the proxy/,
    ],
    ['leads nowhere', (s) => s.write('HTTP/1.1 200 OK\r\n\r\n'), 'deadline', /did not begin TLS in time through the tunnel of the proxy/],
    ['ends before TLS', (s) => s.end('HTTP/1.1 200 OK\r\n\r\n'), 'tls', /closed the connection during the TLS handshake/],
    ['leads to a page of the proxy’s own', (s) => s.end('HTTP/1.1 200 OK\r\n\r\n<html>log in</html>'), 'tls', /does not speak TLS/],
    ['leads to a page elsewhere', (s) => s.end('HTTP/1.1 302 Found\r\nlocation: http://portal/\r\n\r\n'), 'proxy', /status 302/],
    [
      'is asked of a SOCKS server',
      (s) => s.end(Buffer.from([5, 0xff])),
      'unreachable',
      /something other than HTTP.*check the network, the proxy, and HTTP_PROXY/,
    ],
  ] as const satisfies readonly (readonly [string, (socket: Socket) => void, string, RegExp])[]) {
    test(`that ${what} is reported as what the proxy did, without its password`, { timeout: 30_000 }, async (t) => {
      const error = await failureOf(clientOf(t, { url: API, proxy: await rawProxy(t, answer), timeout: 400 }))
      assert.equal(error.kind, kind, error.message)
      assert.match(error.message, words)
      assert.match(error.message, /the proxy http:\/\/127\.0\.0\.1:\d+/)
      assert.doesNotMatch(error.message, /secret|cannot be reached/)
    })
  }
})

test('a body that is too large, and one that trickles, are bounded behind a proxy too', { timeout: 30_000 }, async (t) => {
  const api = await LocalPokeApi.start(t)
  const proxy = await LocalProxy.start(t)
  const client = clientOf(t, { url: api.url, proxy: proxy.url(), maxBody: 4096, timeout: 400 })
  api.answer('pokemon/25/', ok(Buffer.alloc(5000, 0x20)))
  assert.equal((await failureOf(client)).kind, 'too-large')
  api.answer('pokemon/25/', (_request, response) => {
    response.writeHead(200).write('{"abilities":[')
    const trickle = setInterval(() => response.write('1,'), 10)
    response.on('close', () => clearInterval(trickle))
  })
  assert.equal((await failureOf(client)).kind, 'deadline')
})

test('no more requests are made at once through a proxy than directly', { timeout: 30_000 }, async (t) => {
  const api = await LocalPokeApi.start(t)
  const proxy = await LocalProxy.start(t)
  const client = clientOf(t, { url: api.url, proxy: proxy.url(), maxAtOnce: 3 })
  const ids = Array.from({ length: 30 }, (_, index) => index + 1)
  for (const id of ids) api.answer(`pokemon/${id}/`, ok(bodyOf(pokemon(id))))
  await Promise.all(ids.map((id) => client.capture(id, never)))
  assert.ok(api.busiest <= 3, `${api.busiest} at once`)
})
