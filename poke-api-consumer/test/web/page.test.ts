import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify, { type FastifyInstance } from 'fastify'
import Schema from 'typebox/schema'
import type { KeptDeadLetter } from '../../src/application/ports.ts'
import type { TypeCounts } from '../../src/entities/tally.ts'
import { StoreError } from '../../src/errors.ts'
import { GroupProgress } from '../../src/infrastructure/group-progress.ts'
import { LiveState } from '../../src/infrastructure/web/live-state.ts'
import { webPage } from '../../src/infrastructure/web/page.ts'
import { headerBytes } from '../header-bytes.ts'
import { deadLetter } from '../kept-dead-letter.ts'

const partition = { topic: 'poke-topic', topicId: '2c0e5c7e-6a53-4a5e-8f0b-0d7a51b4f0aa', partition: 0 }
const document = (counts: TypeCounts) => `${JSON.stringify({ types: Object.fromEntries(counts) })}\n`

/** A server with the page and the probes, like the service's. */
async function serve(t: { after: (close: () => Promise<void>) => void }, deadLetters: KeptDeadLetter[] = [], failure: Error | null = null) {
  const progress = new GroupProgress(() => performance.now())
  const state = new LiveState({ instance: 'me', progress, monotonic: () => performance.now(), timeOfDay: Date.now })
  const reads: number[] = []
  const store = {
    partitions: async () => [
      { ...partition, position: { offset: 3, leaderEpoch: 0 }, counted: 2, duplicates: 0, deadLetters: deadLetters.length },
    ],
    deadLetters: async (before: number | null, limit: number, maxBytes = Number.POSITIVE_INFINITY) => {
      if (failure !== null) throw failure
      reads.push(maxBytes)
      return deadLetters
        .filter(({ id }) => before === null || id < before)
        .sort((a, b) => b.id - a.id)
        .slice(0, limit)
    },
    deadLetterReasons: async () => new Map([['not-json', deadLetters.length]]),
  }
  const app = Fastify()
  app.get('/health/live', () => 'alive')
  await app.register(webPage({ state, progress, store, document, allowedHosts: ['Pokemon.Example'], maxPages: 1 }))
  t.after(() => app.close())
  await app.ready()
  return { app, state, progress, reads }
}

const get = (app: FastifyInstance, url: string, headers: Record<string, string> = {}) =>
  app.inject({ url, headers: { host: 'localhost:8080', ...headers } })

test('every file that the page refers to exists on this server', async (t) => {
  const { app } = await serve(t)
  const page = await get(app, '/')
  assert.equal(page.statusCode, 200)
  const named = [...page.body.matchAll(/(?:src|href)="([^"#]+)"/g)].map((match) => match[1] ?? '')
  assert.ok(named.length > 5)
  for (const url of named) {
    assert.match(url, /^\.\//, 'relative, so that a proxy may put the page into any folder')
    // Paths that need the store are tested below, and the metrics belong to the server.
    if (!/type-counts|partitions|metrics/.test(url)) assert.equal((await get(app, url.slice(1))).statusCode, 200, url)
  }
  const script = await get(app, '/page.js')
  for (const match of script.body.matchAll(/from '\.(\/[^']+)'/g)) {
    const url = match[1] ?? ''
    if (!url.endsWith('.ts')) assert.equal((await get(app, url)).statusCode, 200, url)
  }
})

test('only the files of the page are served', async (t) => {
  const { app } = await serve(t)
  for (const url of ['/page.ts', '/../page.ts', '/%2e%2e/page.ts', '/..%2fapi.ts', '/vendor/package.json', '/vendor/']) {
    assert.equal((await get(app, url)).statusCode, 404, url)
  }
})

test('the security policy allows files of this server, and nothing inline', async (t) => {
  const { app } = await serve(t)
  for (const url of ['/', '/page.js', '/api/partitions']) {
    const { headers } = await get(app, url)
    assert.equal(
      headers['content-security-policy'],
      "default-src 'none';script-src 'self';style-src 'self';img-src 'self';connect-src 'self';base-uri 'none';form-action 'none';frame-ancestors 'none'",
    )
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['referrer-policy'], 'no-referrer')
  }
})

test('browsers revalidate the page each time, and cache ECharts', async (t) => {
  const { app } = await serve(t)
  const page = await get(app, '/page.js')
  assert.equal(page.headers['cache-control'], 'no-cache')
  assert.equal((await get(app, '/page.js', { 'if-none-match': String(page.headers.etag) })).statusCode, 304)
  const echarts = (await get(app, '/')).body.match(/\/vendor\/[^"]+/)?.[0] ?? ''
  assert.match(String((await get(app, echarts)).headers['cache-control']), /max-age=31536000, immutable/)
})

test('page and API refuse a foreign Host, and probes accept it', async (t) => {
  const { app } = await serve(t)
  for (const url of ['/', '/page.js', '/api/type-counts', '/api/events', '/api/openapi.json']) {
    const refused = await get(app, url, { host: 'evil.example' })
    assert.equal(refused.statusCode, 421, url)
    assert.match(refused.json().message, /evil\.example.*HTTP_ALLOWED_HOSTS/)
    assert.ok(!refused.body.includes('types'))
  }
  assert.equal((await get(app, '/', { host: 'pokemon.example' })).statusCode, 200)
  assert.equal((await get(app, '/health/live', { host: '10.1.2.3:8080' })).body, 'alive')
  assert.equal((await get(app, '/health/live', { host: 'evil.example' })).body, 'alive')
})

test('/api/type-counts returns the document byte for byte, and 304 to a client that has it', async (t) => {
  const { app, state } = await serve(t)
  const early = await get(app, '/api/type-counts')
  assert.equal(early.statusCode, 503)
  assert.match(early.json().message, /not been read yet/)
  const counts = new Map([
    ['bug', 106],
    ['a-"quoted"-type', 1],
  ])
  state.totals({ counts, revision: 1 })
  const answer = await get(app, '/api/type-counts')
  assert.equal(answer.body, document(counts))
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  const etag = String(answer.headers.etag)
  for (const header of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const again = await get(app, '/api/type-counts', { 'if-none-match': header })
    assert.deepEqual([again.statusCode, again.body, again.headers.etag], [304, '', etag])
  }
  state.totals({ counts: new Map([['bug', 107]]), revision: 2 })
  assert.equal((await get(app, '/api/type-counts', { 'if-none-match': etag })).statusCode, 200)
})

test('/api/dead-letters answers 503 while the store cannot be reached, and 500 after a mistake in the program', async (t) => {
  const { app } = await serve(t, [], new StoreError('unreachable', 'postgres://db is away'))
  const answer = await get(app, '/api/dead-letters')
  assert.deepEqual(
    [answer.statusCode, answer.json().message],
    [503, 'The store cannot be read now; /health/ready says why. Ask again in a second.'],
  )
  const broken = await serve(t, [], new TypeError('oops'))
  assert.equal((await get(broken.app, '/api/dead-letters')).statusCode, 500)
})

test('/api/dead-letters returns all dead letters page by page, newest first, and bounds the bytes of a page', async (t) => {
  const deadLetters = Array.from({ length: 25 }, (_, i) => deadLetter(i + 1))
  const { app, reads } = await serve(t, deadLetters)
  const seen: number[] = []
  let next: number | null = null
  do {
    const answer = await get(app, `/api/dead-letters?limit=12${next === null ? '' : `&before=${next}`}`)
    assert.equal(answer.statusCode, 200, answer.body)
    const page = answer.json() as { deadLetters: { id: number }[]; next: number | null }
    seen.push(...page.deadLetters.map(({ id }) => id))
    next = page.next
  } while (next !== null)
  assert.deepEqual(seen, deadLetters.map(({ id }) => id).reverse())
  assert.ok(Math.max(...reads) <= 16 * 1024 * 1024)
})

test('/api/dead-letters puts fewer dead letters with large headers on a page, and the rest on later pages', async (t) => {
  const headers = headerBytes(...Array.from({ length: 32 }, (_, i) => [`header-${i}`, Buffer.alloc(1024).toString()] as const))
  const deadLetters = Array.from({ length: 100 }, (_, i) =>
    deadLetter(i + 1, { headers, key: Buffer.alloc(1024), value: Buffer.alloc(1024) }),
  )
  const { app } = await serve(t, deadLetters)
  const seen: number[] = []
  let next: number | null = null
  do {
    const answer = await get(app, `/api/dead-letters?limit=100${next === null ? '' : `&before=${next}`}`)
    assert.ok(answer.body.length < 600 * 1024, `${answer.body.length} characters`)
    const page = answer.json() as { deadLetters: { id: number }[]; next: number | null }
    seen.push(...page.deadLetters.map(({ id }) => id))
    next = page.next
  } while (next !== null)
  assert.deepEqual(seen, deadLetters.map(({ id }) => id).reverse())
})

test('a limit out of bounds is refused with an explanation', async (t) => {
  const { app } = await serve(t)
  for (const query of ['limit=0', 'limit=101', 'limit=ten', 'before=0', 'before=1e300', 'before=9223372036854775807']) {
    const answer = await get(app, `/api/dead-letters?${query}`)
    assert.equal(answer.statusCode, 400, query)
    assert.match(answer.json().message, /querystring\/(limit|before) must/)
  }
})

test('nothing can be changed through the API', async (t) => {
  const { app } = await serve(t)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    for (const url of ['/api/type-counts', '/api/dead-letters', '/api/partitions', '/api/events', '/']) {
      assert.equal((await app.inject({ method, url, headers: { host: 'localhost' } })).statusCode, 404, `${method} ${url}`)
    }
  }
})

test('a stream beyond the bound ends after one snapshot, and closing the server ends the open streams', async (t) => {
  const { app } = await serve(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const open = await fetch(`${address}/api/events`)
  assert.equal(open.headers.get('content-type'), 'text/event-stream')
  assert.match(open.headers.get('content-security-policy') ?? '', /default-src 'none'/)
  const late = await fetch(`${address}/api/events`)
  assert.equal(late.status, 200)
  assert.match(await late.text(), /^retry: 5000\nevent: full\ndata: 5\n\nevent: beat\ndata: \d+\n\ndata: \{.*\}\n\n$/)
  const text = open.text()
  await app.close()
  assert.match(await text, /^retry: 1000\n/)
})

test('the description of the API has every route, and the answers match it', async (t) => {
  const { app, state, progress } = await serve(t, [
    deadLetter(1),
    deadLetter(2, { key: null, value: null, headers: headerBytes(['h', null]) }),
  ])
  state.totals({ counts: new Map([['bug', 1]]), revision: 1 })
  for (const observer of [progress, state]) observer.opened(partition, { offset: 0, leaderEpoch: 0 })
  progress.logEnds(partition, 1, new Map([[0, { start: 0, end: 9, stableEnd: 7 }]]))
  const described = (await get(app, '/api/openapi.json')).json()
  assert.equal(described.openapi, '3.1.0')
  assert.deepEqual(Object.keys(described.paths).sort(), ['/api/dead-letters', '/api/events', '/api/partitions', '/api/type-counts'])
  for (const [path, methods] of Object.entries<
    Record<string, { responses: Record<string, { content: Record<string, { schema: object }> }> }>
  >(described.paths)) {
    assert.deepEqual(Object.keys(methods), ['get'], path)
    if (path === '/api/events') continue
    const answer = await get(app, path)
    assert.equal(answer.statusCode, 200, path)
    const schema = methods.get?.responses['200']?.content['application/json']?.schema ?? {}
    assert.deepEqual(Schema.Errors(schema, answer.json()), [true, []], path)
  }
  const events = described.paths['/api/events'].get.responses['200'].content['text/event-stream'].schema
  assert.deepEqual(Schema.Errors(events, state.snapshot('build')), [true, []])
  assert.deepEqual([state.snapshot('build').group?.lag, state.snapshot('build').group?.heldBack], [9, 2])
  const starting = new LiveState({ instance: 'me', progress: new GroupProgress(() => 0), monotonic: () => 0, timeOfDay: () => 0 })
  assert.deepEqual(Schema.Errors(events, starting.snapshot('build')), [true, []], 'before the store was read')
})
