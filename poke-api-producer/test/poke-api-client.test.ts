/** The PokeAPI client over real HTTP: the port's contract, what is cached and for how long, and what each fault of an API ends in. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, type TestContext, test } from 'node:test'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { type Clock, systemClock } from '@poke-api-pipeline/service-kit'
import { PokeApiError, type PokeApiErrorKind } from '../src/errors.ts'
import { PokeApiClient, type PokeApiClientOptions } from '../src/infrastructure/poke-api/poke-api-client.ts'
import type { PokeApiObserver } from '../src/infrastructure/poke-api/poke-api-observer.ts'
import { testPokeApi } from './contract/poke-api.ts'
import { InstantClock } from './instant-clock.ts'
import { type Answer, bodyOf, LocalPokeApi, listOf, ok, status, tagged } from './local-poke-api.ts'
import { pokemon } from './pokemon.ts'

const DAY = 24 * 60 * 60 * 1000
const FOR_A_DAY = { 'cache-control': 'public, max-age=86400' }
const pikachu = pokemon(25, 'electric')
const never = new AbortController().signal

class RecordingPokeApiObserver implements PokeApiObserver {
  readonly outcomes: string[] = []
  readonly failures: (string | null)[] = []
  readonly seconds: number[] = []
  readonly cacheFailures: string[] = []

  requested(outcome: string): void {
    this.outcomes.push(outcome)
  }

  attempted(seconds: number, failure: string | null): void {
    this.seconds.push(seconds)
    this.failures.push(failure)
  }

  cacheFailed(message: string): void {
    this.cacheFailures.push(message)
  }
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'poke-api-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}

function clientOf(t: TestContext, url: string, options: Partial<PokeApiClientOptions> = {}): PokeApiClient {
  const clock = new InstantClock()
  const client = new PokeApiClient({ url, maxRate: 0, cacheFile: join(folder(t), 'cache.db'), clock, date: clock.now, ...options })
  t.after(() => client.close())
  return client
}

/** A clock whose waits end when their signal is aborted, and no sooner. @param onWait called when a wait begins */
function sleeping(onWait = () => {}): Clock {
  const wait = (_ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve())
      onWait()
    })
  return { ...systemClock(), wait }
}

/** An API, a client of it, and what both tell. */
async function setUp(t: TestContext, { random, ...options }: Partial<PokeApiClientOptions & Pick<Clock, 'random'>> = {}) {
  const api = await LocalPokeApi.start(t)
  const observer = new RecordingPokeApiObserver()
  const clock = new InstantClock({ random })
  const client = clientOf(t, api.url, { observer, clock, date: clock.now, ...options })
  return { api, client, observer, clock }
}

/** Lets undici's and the client's time be one that the test moves. Timers are left alone. */
function setDate(t: TestContext, now = Date.parse('2026-01-02T03:04:05Z')): { pass(ms: number): void } {
  t.mock.timers.enable({ apis: ['Date'], now })
  return { pass: (ms) => t.mock.timers.setTime(Date.now() + ms) }
}

/** An answer's Date, which Node would take from a clock of its own. */
function dated(headers: Record<string, string>): Record<string, string> {
  return { ...headers, date: new Date().toUTCString() }
}

/** A body, and no end of it. */
function unended(body: string | Buffer, headers: Record<string, string>): Answer {
  return (_request, response) => response.writeHead(200, headers).write(body)
}

function failsWith(kind: PokeApiErrorKind, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PokeApiError, String(error))
    assert.equal(error.kind, kind, error.message)
    assert.match(error.message, message)
    return true
  }
}

testPokeApi('PokeApiClient', async (t, { ids, missing = [], down = false }) => {
  const api = await LocalPokeApi.start(t)
  if (down) await api.stop()
  api.answer('pokemon?limit=100000', ok(listOf(ids)))
  for (const id of ids) api.answer(`pokemon/${id}/`, missing.includes(id) ? status(404) : ok(bodyOf(pokemon(id)), FOR_A_DAY))
  return clientOf(t, down ? 'http://127.0.0.1:9/api/v2' : api.url)
})

describe('a capture', () => {
  test('has the facts of a real body: the present types, not those of the past', async (t) => {
    const { api, client, clock } = await setUp(t)
    const body = readFileSync(new URL('api-return-value.json', import.meta.url))
    api.answer('pokemon/546/', ok(body))
    assert.deepEqual(await client.capture(546, never), {
      pokemon: {
        id: 546,
        name: 'cottonee',
        types: [
          { slot: 1, type: { name: 'grass' } },
          { slot: 2, type: { name: 'fairy' } },
        ],
      },
      time: new Date(clock.now()).toISOString(),
      origin: 'live',
    })
  })

  test('accepts a body and a list that begin with a byte order mark, as files on mirrors do', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', ok(`\ufeff${bodyOf(pikachu)}`))
    api.answer('pokemon?limit=100000', ok(`\ufeff${listOf([25])}`))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(await client.list(never), [25])
  })

  test('sends a user agent with the project and its version, or another one', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', ok(bodyOf(pikachu)))
    await client.capture(25, never)
    await clientOf(t, api.url, { userAgent: 'a test' }).capture(25, never)
    assert.match(api.asked[0]?.headers['user-agent'] ?? '', /^poke-api-pipeline\/\d+\.\d+\.\d+ /)
    assert.equal(api.asked[1]?.headers['user-agent'], 'a test')
  })

  test('requests the same URL whether or not the URL of the API ends in a slash', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', ok(bodyOf(pikachu)))
    await client.capture(25, never)
    await clientOf(t, `${api.url}/`).capture(25, never)
    assert.deepEqual(
      api.asked.map(({ path }) => path),
      ['/api/v2/pokemon/25/', '/api/v2/pokemon/25/'],
    )
  })

  test('says that it is bundled if the API says so, also from the cache', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', ok(bodyOf(pikachu), { ...FOR_A_DAY, 'x-poke-api-origin': 'bundled' }))
    assert.equal((await client.capture(25, never))?.origin, 'bundled')
    assert.equal((await client.capture(25, never))?.origin, 'bundled')
    assert.deepEqual(observer.outcomes, ['fetched', 'hit'])
  })

  for (const [encoding, compress] of Object.entries({ gzip: gzipSync, br: brotliCompressSync })) {
    test(`reads a body that is compressed with ${encoding}`, async (t) => {
      const { api, client } = await setUp(t)
      api.answer('pokemon/25/', (request, response) => {
        assert.ok(request.headers['accept-encoding']?.includes(encoding))
        ok(compress(bodyOf(pikachu)), { 'content-encoding': encoding, etag: 'W/"1"', ...FOR_A_DAY })(request, response)
      })
      assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
      assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
      assert.equal(api.asked.length, 1)
    })
  }

  test('has as many requests at once as allowed, with a spare connection for each', async (t) => {
    const { api, client } = await setUp(t, { maxAtOnce: 3 })
    const ids = Array.from({ length: 30 }, (_, index) => index + 1)
    // Nothing is answered before three are asked for.
    let held: (() => void)[] = []
    for (const id of ids) {
      api.answer(`pokemon/${id}/`, (request, response) => {
        held.push(() => ok(bodyOf(pokemon(id)))(request, response))
        if (held.length < 3) return
        for (const answer of held) answer()
        held = []
      })
    }
    await Promise.all(ids.map((id) => client.capture(id, never)))
    assert.equal(api.asked.length, 30)
    assert.equal(api.busiest, 3)
    assert.ok(api.connections > 3 && api.connections <= 6, `${api.connections} connections`)
  })
})

describe('the list', () => {
  test('reads ids from URLs, whether these are absolute or relative', async (t) => {
    const { api, client } = await setUp(t)
    const results = [{ url: 'https://pokeapi.co/api/v2/pokemon/10326/' }, { url: '/api/v2/pokemon/1/' }, { url: '/api/v2/pokemon/25' }]
    api.answer('pokemon?limit=100000', ok(JSON.stringify({ count: 3, next: null, results })))
    assert.deepEqual(await client.list(never), [1, 25, 10326])
  })

  test('follows its pages, whether their URLs are absolute or relative', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1, 2], { count: 5, next: `${api.url}/pokemon?offset=2` })))
    api.answer('pokemon?offset=2', ok(listOf([3, 4], { count: 5, next: '/api/v2/pokemon?offset=4' })))
    api.answer('pokemon?offset=4', ok(listOf([10001], { count: 5 })))
    assert.deepEqual(await client.list(never), [1, 2, 3, 4, 10001])
  })

  test('is cached for as long as its headers say', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1, 2]), FOR_A_DAY))
    assert.deepEqual(await client.list(never), await client.list(never))
    assert.deepEqual(observer.outcomes, ['fetched', 'hit'])
  })

  test('refuses a next page at another origin', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1], { count: 2, next: 'http://elsewhere.example/pokemon?offset=1' })))
    await assert.rejects(client.list(never), failsWith('not-a-list', /next page at another origin, http:\/\/elsewhere\.example/))
  })

  test('refuses pages without end', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1], { count: 2, next: '?offset=1' })))
    api.answer('pokemon?offset=1', ok(listOf([], { count: 2, next: '?offset=1' })))
    await assert.rejects(client.list(never), failsWith('not-a-list', /without end/))
  })

  test('refuses pages without new ids', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1], { count: 50_000, next: '?offset=1' })))
    api.answer('pokemon?offset=1', ok(listOf([1], { count: 50_000, next: '?offset=1' })))
    await assert.rejects(client.list(never), failsWith('not-a-list', /without end/))
    assert.equal(api.asked.length, 2)
  })

  test('refuses pages with more ids than the list has', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon?limit=100000', ok(listOf([1, 2], { count: 3, next: '?offset=2' })))
    for (let page = 1; page < 10; page++) {
      api.answer(`pokemon?offset=${2 * page}`, ok(listOf([2 * page + 1, 2 * page + 2], { count: 3, next: `?offset=${2 * page + 2}` })))
    }
    await assert.rejects(client.list(never), failsWith('not-a-list', /without end/))
    assert.equal(api.asked.length, 2)
  })

  for (const [what, ids, count] of [
    ['that says that it has a billion', [1, 2], 1_000_000_000],
    ['of more on one page than there can be', Array.from({ length: 100_001 }, (_, index) => index + 1), 3],
  ] as const) {
    test(`${what} is not a list: the attempt fails`, async (t) => {
      const { api, client, observer } = await setUp(t, { maxAttempts: 1, maxBody: 16 * 1024 * 1024 })
      api.answer('pokemon?limit=100000', ok(listOf(ids, { count, next: '?offset=2' })))
      await assert.rejects(client.list(never), failsWith('not-a-list', /a list of (1000000000|100001) Pokémon, which is more than 100000/))
      assert.deepEqual(observer.failures, ['not-a-list'])
    })
  }

  test('fails when its pages together take ten times as long as one answer may take', async (t) => {
    const { api, client } = await setUp(t, { timeout: 100 })
    let offset = 1
    const another = () =>
      api.answer(`pokemon?offset=${offset}`, (request, response) =>
        setTimeout(() => {
          offset++
          another()
          ok(listOf([offset], { count: 90_000, next: `?offset=${offset}` }))(request, response)
        }, 50),
      )
    another()
    api.answer('pokemon?limit=100000', ok(listOf([1], { count: 90_000, next: '?offset=1' })))
    await assert.rejects(client.list(never), failsWith('not-a-list', /did not finish its list within 1 s, in \d+ pages/))
    assert.ok(api.asked.length < 40, `${api.asked.length} pages`)
  })

  for (const [what, ids, count] of [
    ['fewer Pokémon than it says that there are', [1, 2], 3],
    ['no Pokémon', [], 0],
  ] as const) {
    test(`fails with ${what}, and is requested again next time although it may be cached for a day`, async (t) => {
      const { api, client } = await setUp(t)
      api.answer('pokemon?limit=100000', ok(listOf(ids, { count }), FOR_A_DAY), ok(listOf([1, 2, 3])))
      await assert.rejects(client.list(never), failsWith('not-a-list', /lists \d Pokémon and says that there are \d/))
      assert.deepEqual(await client.list(never), [1, 2, 3])
    })
  }

  for (const [what, body] of Object.entries({
    'a text': 'OK',
    'no results': '{"count":1,"next":null}',
    'a result without an id': '{"count":1,"next":null,"results":[{"name":"x","url":"/api/v2/pokemon/x/"}]}',
    'a result that is null': '{"count":1,"next":null,"results":[null]}',
    'a count that is a text': '{"count":"1","next":null,"results":[]}',
  })) {
    test(`is requested again when its body is ${what}`, async (t) => {
      const { api, client, observer } = await setUp(t)
      api.answer('pokemon?limit=100000', ok(body, FOR_A_DAY), ok(listOf([1, 2]), FOR_A_DAY))
      assert.deepEqual(await client.list(never), [1, 2])
      assert.deepEqual(observer.failures, ['not-a-list', null])
    })
  }

  test('is an error that names the URL when the API answers 404', async (t) => {
    const { client } = await setUp(t)
    await assert.rejects(client.list(never), failsWith('not-a-list', /pokemon\?limit=100000 answered with status 404.*POKE_API_URL/))
  })
})

describe('the cache', () => {
  test('answers without a request while it is fresh', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t, { date: Date.now })
    api.answer('pokemon/25/', (request, response) => ok(bodyOf(pikachu), dated(FOR_A_DAY))(request, response))
    await client.capture(25, never)
    date.pass(DAY - 2000)
    const capture = await client.capture(25, never)
    assert.deepEqual(capture?.pokemon, pikachu)
    assert.equal(capture?.time, new Date(Date.now()).toISOString())
    assert.equal(api.asked.length, 1)
    assert.deepEqual(observer.outcomes, ['fetched', 'hit'])
  })

  test('sends the ETag of a stale entry, which is fresh for another term when the API confirms it', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', (request, response) =>
      tagged(bodyOf(pikachu), 'W/"25"', dated({ ...FOR_A_DAY, 'x-poke-api-origin': 'bundled' }))(request, response),
    )
    for (let day = 0; day < 4; day++) {
      const [first, second] = [await client.capture(25, never), await client.capture(25, never)]
      assert.deepEqual(first?.pokemon, pikachu)
      assert.deepEqual(second?.pokemon, pikachu)
      assert.equal(second?.origin, 'bundled')
      date.pass(DAY + 2000)
    }
    assert.deepEqual(observer.outcomes, ['fetched', 'hit', 'revalidated', 'hit', 'revalidated', 'hit', 'revalidated', 'hit'])
    assert.deepEqual(
      api.asked.map(({ headers }) => headers['if-none-match']),
      [undefined, 'W/"25"', 'W/"25"', 'W/"25"'],
    )
  })

  test('is fresh for another term also where the confirmation has no date', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', (request, response) => {
      if (request.headers['if-none-match'] === undefined) ok(bodyOf(pikachu), dated({ etag: '"1"', ...FOR_A_DAY }))(request, response)
      else {
        response.sendDate = false
        status(304)(request, response)
      }
    })
    await client.capture(25, never)
    date.pass(DAY + 2000)
    await client.capture(25, never)
    await client.capture(25, never)
    assert.deepEqual(observer.outcomes, ['fetched', 'revalidated', 'hit'])
  })

  test('sends the ETag also after months, or the date where there is none', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t)
    const modified = 'Mon, 01 Dec 2025 00:00:00 GMT'
    api.answer('pokemon/25/', (request, response) => {
      if (request.headers['if-modified-since'] === modified) status(304, dated(FOR_A_DAY))(request, response)
      else ok(bodyOf(pikachu), dated({ ...FOR_A_DAY, 'last-modified': modified }))(request, response)
    })
    await client.capture(25, never)
    date.pass(300 * DAY)
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.outcomes, ['fetched', 'revalidated'])
  })

  test('stores the new body when the API has changed it', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t)
    const changed = pokemon(25, 'electric', 'fairy')
    api.answer(
      'pokemon/25/',
      (request, response) => tagged(bodyOf(pikachu), '"1"', dated(FOR_A_DAY))(request, response),
      (request, response) => tagged(bodyOf(changed), '"2"', dated(FOR_A_DAY))(request, response),
    )
    await client.capture(25, never)
    date.pass(DAY + 2000)
    assert.deepEqual((await client.capture(25, never))?.pokemon, changed)
    assert.deepEqual((await client.capture(25, never))?.pokemon, changed)
    assert.deepEqual(observer.outcomes, ['fetched', 'fetched', 'hit'])
  })

  test('fetches the body when the API confirms another entry', async (t) => {
    const date = setDate(t)
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', (request, response) => {
      if (request.headers['if-none-match']) status(304, dated({ etag: '"other"', ...FOR_A_DAY }))(request, response)
      else ok(bodyOf(pikachu), dated({ etag: '"1"', ...FOR_A_DAY }))(request, response)
    })
    await client.capture(25, never)
    date.pass(DAY + 2000)
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.equal(api.asked.length, 3)
  })

  test('stores nothing that the headers do not allow', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', ok(bodyOf(pikachu), { 'cache-control': 'no-store', etag: '"1"' }))
    api.answer('pokemon/26/', ok(bodyOf(pokemon(26))))
    for (const id of [25, 25, 26, 26]) await client.capture(id, never)
    assert.deepEqual(observer.outcomes, ['fetched', 'fetched', 'fetched', 'fetched'])
  })

  test('does not store that a Pokémon is missing', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', status(404, FOR_A_DAY, 'Not Found'), ok(bodyOf(pikachu)))
    assert.equal(await client.capture(25, never), null)
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
  })

  test('does not block the event loop with many answers in a row, and leaves no listeners at the signal', async (t) => {
    const { api, client } = await setUp(t)
    const { signal } = new AbortController()
    api.answer('pokemon/25/', ok(bodyOf(pikachu), FOR_A_DAY))
    await client.capture(25, signal)
    let turns = 0
    let others = setImmediate(function another() {
      turns++
      others = setImmediate(another)
    })
    for (let hit = 0; hit < 100; hit++) await client.capture(25, signal)
    clearImmediate(others)
    assert.ok(turns >= 99, `${turns} turns`)
    assert.ok(getEventListeners(signal, 'abort').length <= 2)
  })

  test('is ignored when somebody has changed its content: the API is requested', async (t) => {
    const cacheFile = join(folder(t), 'cache.db')
    const { api, client } = await setUp(t, { cacheFile })
    api.answer('pokemon/25/', ok(bodyOf(pikachu), FOR_A_DAY))
    await client.capture(25, never)
    await client.close()
    for (const body of ['OK', '{}', JSON.stringify(pokemon(26))]) {
      const db = new DatabaseSync(cacheFile)
      db.prepare('UPDATE answer SET body = ?').run(Buffer.from(body))
      db.close()
      const again = clientOf(t, api.url, { cacheFile })
      assert.deepEqual((await again.capture(25, never))?.pokemon, pikachu)
      await again.close()
    }
    assert.equal(api.asked.length, 4)
  })

  test('has its entries after a restart', async (t) => {
    const cacheFile = join(folder(t), 'cache.db')
    const { api, client } = await setUp(t, { cacheFile })
    api.answer('pokemon/25/', ok(bodyOf(pikachu), FOR_A_DAY))
    await client.capture(25, never)
    await client.close()
    assert.deepEqual((await clientOf(t, api.url, { cacheFile }).capture(25, never))?.pokemon, pikachu)
    assert.equal(api.asked.length, 1)
  })
})

describe('a body that is not a Pokémon', () => {
  const bodies: Record<string, string> = {
    'the text OK': 'OK',
    'a page of HTML': '<!doctype html><title>PokeAPI</title>',
    nothing: '',
    'half a body': bodyOf(pikachu).slice(0, 200),
    'another Pokémon': bodyOf(pokemon(26, 'electric')),
    'a Pokémon without types': bodyOf({ ...pikachu, types: [] }),
    null: 'null',
    'a list': '[]',
  }
  for (const [what, body] of Object.entries(bodies)) {
    test(`is requested again when it is ${what}, and is not cached although its headers allow a day`, async (t) => {
      const { api, client, observer } = await setUp(t)
      api.answer('pokemon/25/', ok(body, FOR_A_DAY), ok(body, FOR_A_DAY), ok(bodyOf(pikachu), FOR_A_DAY))
      assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
      assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
      assert.equal(api.asked.length, 3)
      assert.deepEqual(observer.failures, ['not-a-pokemon', 'not-a-pokemon', null])
      assert.deepEqual(observer.outcomes, ['fetched', 'hit'])
    })
  }

  test('is requested again past the caches on the way', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', ok('OK', FOR_A_DAY), ok(bodyOf(pikachu), FOR_A_DAY))
    await client.capture(25, never)
    assert.deepEqual(
      api.asked.map(({ headers }) => headers['cache-control']),
      [undefined, 'no-cache'],
    )
  })

  test('becomes an error that names the URL and quotes its beginning, and is requested again next time', async (t) => {
    const { api, client, observer } = await setUp(t, { maxAttempts: 3 })
    api.answer('pokemon/25/', ok('OK', FOR_A_DAY))
    const message = new RegExp(
      `PokeAPI at ${api.url}/pokemon/25/ returned a body that is not a Pokémon: 2 bytes that begin with "OK".* 3 attempts`,
    )
    await assert.rejects(client.capture(25, never), failsWith('not-a-pokemon', message))
    assert.equal(api.asked.length, 3)
    assert.deepEqual(observer.outcomes, ['failed'])
    api.answer('pokemon/25/', ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
  })

  for (const [body, reason] of [
    [bodyOf({ ...pikachu, types: [] }), 'types is empty'],
    [`{"id":25,"name":"pikachu"}`, 'types must be a list of 1 to 64 types, but is missing'],
    [`{"name":"pikachu","types":[]}`, 'id must be an integer from 1 to 9007199254740991, but is missing'],
    [bodyOf({ ...pikachu, name: '' }), 'name must be a text of 1 to 100 characters, but is ""'],
    [
      bodyOf(pikachu).replace('"electric"', '"ELECTRIC"'),
      'types[0].type.name must be 1 to 64 of the characters a-z, 0-9 and -, but is "ELECTRIC"',
    ],
    [
      bodyOf(pikachu).replace('"types":[{"slot":1,"type":{"name":"electric"', '"types":[{"slot":0.5,"type":{"name":"electric"'),
      'types[0].slot must be an integer from 1 on, but is 0.5',
    ],
    ['[]', '2 bytes that begin with "[]"'],
    ['', 'it is empty'],
    [bodyOf(pokemon(26, 'electric')), 'the body is Pokémon 26 (pokemon-26) instead of 25'],
    [
      bodyOf({ ...pokemon(26, 'electric'), name: '\u001b[2JPWNED\r\n{"level":"fatal"}\u202e\u009b31m' }),
      String.raw`the body is Pokémon 26 (\u001b[2JPWNED\u000d\u000a{"level":"fatal"}\u202e\u009b31m) instead of 25`,
    ],
  ] as const) {
    test(`is described by the wrong member: ${reason}`, async (t) => {
      const { api, client } = await setUp(t, { maxAttempts: 1 })
      api.answer('pokemon/25/', ok(body))
      await assert.rejects(client.capture(25, never), (error: PokeApiError) => {
        assert.equal(error.reason, reason)
        assert.ok(error.message.includes(reason.replace('the body is ', '')), error.message)
        return true
      })
    })
  }

  test('leaves a stale entry as it is, and what the API then confirms is still good', async (t) => {
    const date = setDate(t)
    const { api, client, observer } = await setUp(t)
    const good: Answer = (request, response) => tagged(bodyOf(pikachu), '"1"', dated(FOR_A_DAY))(request, response)
    api.answer('pokemon/25/', good, ok('OK', FOR_A_DAY), good)
    await client.capture(25, never)
    date.pass(DAY + 2000)
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.outcomes, ['fetched', 'revalidated'])
    assert.deepEqual(observer.failures, [null, 'not-a-pokemon', null])
  })

  test('is requested again if it cannot be decompressed', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', ok('not gzip', { 'content-encoding': 'gzip' }), ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, ['not-a-pokemon', null])
  })

  test('is requested again if decompressing fails before its end', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', unended('not gzip', { 'content-encoding': 'gzip' }), ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, ['not-a-pokemon', null])
  })

  test('is requested again if it is not HTTP', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', (request) => request.socket.end('garbage\r\n\r\n'), ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, ['unreachable', null])
  })
})

describe('a failing API', () => {
  test('can send unrequested interim answers before its answer', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', (request, response) => {
      response.writeContinue()
      response.writeProcessing()
      response.writeContinue()
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      ok(bodyOf(pikachu))(request, response)
    })
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, [null])
  })

  test('is requested again after an error, with delays that double', async (t) => {
    const { api, client, clock, observer } = await setUp(t, { random: () => 1 })
    api.answer('pokemon/25/', status(500), status(502), status(503), status(504), ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(clock.waits, [500, 1000, 2000, 4000])
    assert.deepEqual(observer.failures, ['status', 'status', 'status', 'status', null])
    assert.ok(observer.seconds.every((seconds) => seconds > 0 && seconds < 10))
  })

  test('is requested again after delays that are random by half', async (t) => {
    const { api, client, clock } = await setUp(t, { random: () => 0 })
    api.answer('pokemon/25/', status(500), ok(bodyOf(pikachu)))
    await client.capture(25, never)
    assert.deepEqual(clock.waits, [250])
  })

  test('becomes an error with the status and the URL when it does not recover', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', status(500, {}, 'Internal Server Error'))
    await assert.rejects(client.capture(25, never), failsWith('status', /pokemon\/25\/ answered with status 500 in the last of 5 attempts/))
    assert.equal(api.asked.length, 5)
    assert.deepEqual(observer.outcomes, ['failed'])
  })

  test('is not requested again after a refusal', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', status(403))
    await assert.rejects(client.capture(25, never), failsWith('status', /answered with status 403: /))
    assert.equal(api.asked.length, 1)
  })

  test('gets no request for as long as Retry-After says: seconds', async (t) => {
    const { api, client, clock, observer } = await setUp(t, { random: () => 0 })
    api.answer('pokemon/25/', status(429, { 'retry-after': '7' }), ok(bodyOf(pikachu)))
    await client.capture(25, never)
    assert.deepEqual(clock.waits, [7000])
    assert.deepEqual(observer.failures, ['rate-limited', null])
  })

  test('is requested again in time although the machine’s clock is set back meanwhile', { timeout: 30_000 }, async (t) => {
    const date = setDate(t)
    const api = await LocalPokeApi.start(t)
    const client = new PokeApiClient({ url: api.url, maxRate: 0, cacheFile: join(folder(t), 'cache.db') })
    t.after(() => client.close())
    api.answer(
      'pokemon/25/',
      (request, response) => {
        status(429, { 'retry-after': '1' })(request, response)
        // While the client waits.
        setTimeout(() => date.pass(-DAY), 200)
      },
      ok(bodyOf(pikachu)),
    )
    assert.equal((await client.capture(25, never))?.pokemon.id, 25)
  })

  test('gets no request for as long as Retry-After says: a date', async (t) => {
    const { api, client, clock } = await setUp(t, { random: () => 0 })
    // HTTP dates have no milliseconds.
    const asked = 9000 - (clock.now() % 1000)
    const date = new Date(clock.now() + asked).toUTCString()
    api.answer('pokemon/25/', status(503, { 'retry-after': date }), ok(bodyOf(pikachu)))
    await client.capture(25, never)
    assert.deepEqual(clock.waits, [asked])
  })

  test('gets no request for a minute at most', async (t) => {
    const { api, client, clock } = await setUp(t, { random: () => 0 })
    api.answer('pokemon/25/', status(429, { 'retry-after': '86400' }), ok(bodyOf(pikachu)))
    await client.capture(25, never)
    assert.deepEqual(clock.waits, [60_000])
  })

  test('gets no request at all when it asks one of them to wait', async (t) => {
    let now = Date.parse('2026-01-02T03:04:05Z')
    const waits: { ms: number; wake: () => void }[] = []
    let second: Promise<unknown> | null = null
    const { promise: waitsForBoth, resolve: bothWait } = Promise.withResolvers<void>()
    const { api, client } = await setUp(t, {
      clock: {
        random: () => 0,
        now: () => now,
        wait: (ms) =>
          new Promise((wake) => {
            waits.push({ ms, wake })
            if (waits.length === 2) bothWait()
            else second = client.capture(26, never)
          }),
      },
    })
    api.answer('pokemon/25/', status(429, { 'retry-after': '7' }), ok(bodyOf(pikachu)))
    api.answer('pokemon/26/', (request, response) => {
      bothWait()
      ok(bodyOf(pokemon(26)))(request, response)
    })
    const first = client.capture(25, never)
    await waitsForBoth
    assert.deepEqual(
      waits.map(({ ms }) => ms),
      [7000, 7000],
    )
    assert.equal(api.asked.length, 1)
    now += 7000
    for (const { wake } of waits) wake()
    assert.notEqual(await first, null)
    assert.notEqual(await second, null)
  })

  test('is requested again when the connection breaks in the middle of a body', async (t) => {
    const { api, client, observer } = await setUp(t)
    const breakOff: Answer = (_request, response) => {
      response.writeHead(200, { 'content-length': '1000', ...FOR_A_DAY })
      response.write('{"abilities":[', () => response.destroy())
    }
    api.answer('pokemon/25/', breakOff, ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, ['unreachable', null])
    assert.equal(api.asked[1]?.headers.range, undefined)
  })

  test('is requested again when it closes the connection before its answer', async (t) => {
    const { api, client, observer } = await setUp(t)
    api.answer('pokemon/25/', (_request, response) => response.socket?.resetAndDestroy(), ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.deepEqual(observer.failures, ['unreachable', null])
  })

  test('is an error that names its address when no server listens there', async (t) => {
    const { api, client } = await setUp(t)
    const { url } = api
    await api.stop()
    await assert.rejects(client.capture(25, never), failsWith('unreachable', new RegExp(`${url}/pokemon/25/ .*ECONNREFUSED.*POKE_API_URL`)))
  })

  test('is an error that names each address if it has several', async (t) => {
    const { api } = await setUp(t)
    const url = api.url.replace('127.0.0.1', 'localhost')
    await api.stop()
    await assert.rejects(
      clientOf(t, url).capture(25, never),
      failsWith('unreachable', /localhost:\d+\/api.* could not be reached: connect ECONNREFUSED/),
    )
  })

  test('fails when it does not begin its answer in time', async (t) => {
    const { api, client, observer } = await setUp(t, { timeout: 200 })
    api.answer('pokemon/25/', () => {}, ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.equal(observer.failures[0], 'deadline')
    assert.equal(observer.failures.at(-1), null)
  })

  test('fails when it stops in the middle of a body', async (t) => {
    const { api, client, observer } = await setUp(t, { timeout: 200 })
    const stop: Answer = (_request, response) => response.writeHead(200).write('{"abilities":[')
    api.answer('pokemon/25/', stop, ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.equal(observer.failures[0], 'deadline')
    assert.equal(observer.failures.at(-1), null)
  })

  test('fails when a body trickles for longer than an answer may take', async (t) => {
    const { api, client, observer } = await setUp(t, { timeout: 400, maxAttempts: 1 })
    api.answer('pokemon/25/', (_request, response) => {
      response.writeHead(200).write('{"abilities":[')
      const trickle = setInterval(() => response.write('1,'), 10)
      response.on('close', () => clearInterval(trickle))
    })
    await assert.rejects(client.capture(25, never), failsWith('deadline', /did not finish its answer within 0\.4 s/))
    assert.deepEqual(observer.failures, ['deadline'])
  })

  for (const [what, headers, body] of [
    ['says so', { 'content-length': '5000' }, Buffer.alloc(5000, 0x20)],
    ['comes in pieces', { 'transfer-encoding': 'chunked' }, Buffer.alloc(5000, 0x20)],
    ['comes compressed', { 'content-encoding': 'gzip' }, gzipSync(Buffer.alloc(1_000_000, 0x20))],
  ] as const) {
    test(`fails with a body that is too large and ${what}, and is not requested again`, async (t) => {
      const { api, client, observer } = await setUp(t, { maxBody: 4096 })
      api.answer('pokemon/25/', ok(body, headers))
      await assert.rejects(
        client.capture(25, never),
        failsWith('too-large', /pokemon\/25\/ returned a body that is larger than any Pokémon/),
      )
      assert.equal(api.asked.length, 1)
      assert.deepEqual(observer.failures, ['too-large'])
    })
  }

  test('fails with a body that becomes too large while it is decompressed', async (t) => {
    const { api, client, observer } = await setUp(t, { maxBody: 4096 })
    api.answer('pokemon/25/', unended(gzipSync(Buffer.alloc(1_000_000, 0x20)), { 'content-encoding': 'gzip' }))
    await assert.rejects(client.capture(25, never), failsWith('too-large', /pokemon\/25\/ returned a body that is larger than any Pokémon/))
    assert.deepEqual(observer.failures, ['too-large'])
  })
})

describe('whether the API answers', () => {
  test('is found out by a request to the API, although the Pokémon is in the cache', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', ok(bodyOf(pikachu), FOR_A_DAY))
    await client.capture(25, never)
    await client.confirm(25, never)
    assert.equal(api.asked.length, 2)
    api.answer('pokemon/25/', status(500))
    await assert.rejects(client.confirm(25, never), failsWith('status', /status 500/))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
  })
})

describe('a redirect', () => {
  test('is followed to another place of the same origin, a few hops', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', status(301, { location: '/api/v2/pokemon/pikachu/' }))
    api.answer('pokemon/pikachu/', status(302, { location: `${api.url}/pokemon/pikachu/now/` }))
    api.answer('pokemon/pikachu/now/', ok(bodyOf(pikachu)))
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
  })

  test('is not followed to another origin', async (t) => {
    const { api, client, observer } = await setUp(t)
    const elsewhere = await LocalPokeApi.start(t)
    elsewhere.answer('pokemon/25/', ok(bodyOf(pikachu)))
    api.answer('pokemon/25/', status(302, { location: `${elsewhere.url}/pokemon/25/` }))
    await assert.rejects(client.capture(25, never), failsWith('redirected', new RegExp(`redirects to another origin, ${elsewhere.origin}`)))
    assert.deepEqual(elsewhere.asked, [])
    assert.equal(api.asked.length, 1)
    assert.deepEqual(observer.failures, ['redirected'])
  })

  test('is not followed without end', async (t) => {
    const { api, client } = await setUp(t)
    for (let hop = 1; hop < 10; hop++) api.answer(`pokemon/${hop}/`, status(302, { location: `/api/v2/pokemon/${hop + 1}/` }))
    await assert.rejects(client.capture(1, never), failsWith('redirected', /without end/))
    api.answer('pokemon/25/', status(302, { location: '/api/v2/pokemon/25/' }))
    await assert.rejects(client.capture(25, never), failsWith('redirected', /without end/))
  })

  test('is not followed to a URL that is not HTTP', async (t) => {
    const { api, client } = await setUp(t)
    api.answer('pokemon/25/', status(302, { location: 'file:///etc/passwd' }))
    await assert.rejects(client.capture(25, never), failsWith('redirected', /to an address that is not on the web/))
  })
})

describe('the rate', () => {
  test('is kept on the wire: attempts count, and answers from the cache do not', async (t) => {
    const { api, client, clock } = await setUp(t, { maxRate: 10 })
    const times: number[] = []
    const ids = Array.from({ length: 20 }, (_, index) => index + 1)
    for (const id of ids) {
      api.answer(`pokemon/${id}/`, (request, response) => {
        times.push(clock.now())
        ok(bodyOf(pokemon(id)), FOR_A_DAY)(request, response)
      })
    }
    const began = clock.now()
    await Promise.all(ids.map((id) => client.capture(id, never)))
    assert.equal(times.length, 20)
    assert.ok(clock.now() - began >= 1900, `${clock.now() - began} ms`)
    const afterwards = clock.now()
    await Promise.all(ids.map((id) => client.capture(id, never)))
    assert.equal(clock.now(), afterwards)
  })
})

describe('real time', () => {
  test('passes between requests, and between attempts', async (t) => {
    const api = await LocalPokeApi.start(t)
    const client = new PokeApiClient({
      url: api.url,
      maxRate: 100,
      cacheFile: join(folder(t), 'cache.db'),
      clock: { ...systemClock(), random: () => 0 },
    })
    t.after(() => client.close())
    for (let id = 1; id <= 5; id++) api.answer(`pokemon/${id}/`, ok(bodyOf(pokemon(id))))
    const began = performance.now()
    await Promise.all([1, 2, 3, 4, 5].map((id) => client.capture(id, never)))
    assert.ok(performance.now() - began >= 39, `${performance.now() - began} ms`)
    api.answer('pokemon/25/', status(503), ok(bodyOf(pikachu)))
    const again = performance.now()
    assert.deepEqual((await client.capture(25, never))?.pokemon, pikachu)
    assert.ok(performance.now() - again >= 249, `${performance.now() - again} ms`)
  })

  test('does not pass when it is aborted', async (t) => {
    const api = await LocalPokeApi.start(t)
    const client = new PokeApiClient({ url: api.url, maxRate: 0.001, cacheFile: join(folder(t), 'cache.db') })
    t.after(() => client.close())
    const abort = new AbortController()
    api.answer('pokemon/25/', (request, response) => {
      status(429, { 'retry-after': '60' })(request, response)
      setImmediate(() => abort.abort())
    })
    await assert.rejects(client.capture(25, abort.signal), { name: 'AbortError' })
  })
})

describe('an abort', () => {
  const reason = new Error('enough')
  const aborted = (error: unknown) => error === reason

  test('ends a request under way', async (t) => {
    const { api, client, observer } = await setUp(t)
    const abort = new AbortController()
    api.answer('pokemon/25/', () => abort.abort(reason))
    await assert.rejects(client.capture(25, abort.signal), aborted)
    assert.deepEqual([observer.outcomes, observer.failures], [[], []])
  })

  test('ends the pause before another attempt', async (t) => {
    const abort = new AbortController()
    const { api, client } = await setUp(t, {
      clock: sleeping(() => setImmediate(() => abort.abort(reason))),
    })
    api.answer('pokemon/25/', status(500))
    await assert.rejects(client.capture(25, abort.signal), aborted)
    assert.equal(api.asked.length, 1)
  })

  test('ends the pause before another attempt when no connection was ever made', async (t) => {
    const abort = new AbortController()
    const { api, client } = await setUp(t, {
      clock: sleeping(() => setImmediate(() => abort.abort(reason))),
    })
    await api.stop()
    await assert.rejects(client.capture(25, abort.signal), aborted)
  })

  test('ends the wait for its turn', async (t) => {
    const abort = new AbortController()
    const { api, client } = await setUp(t, { maxRate: 1, clock: { ...systemClock(), wait: () => new Promise(() => {}) } })
    api.answer('pokemon/25/', ok(bodyOf(pikachu)))
    await client.capture(25, never)
    const waiting = client.capture(25, abort.signal)
    setImmediate(() => abort.abort(reason))
    await assert.rejects(waiting, aborted)
    assert.equal(api.asked.length, 1)
  })
})

describe('closing', () => {
  test('ends sent and waiting requests', { timeout: 30_000 }, async (t) => {
    const { api, client } = await setUp(t, {
      maxRate: 1,
      maxAttempts: 1,
      clock: sleeping(),
    })
    const { promise: underWay, resolve: began } = Promise.withResolvers<void>()
    api.answer('pokemon/25/', () => began())
    const captures = [client.capture(25, never), client.capture(25, never)]
    await underWay
    const ended = Promise.allSettled(captures)
    await client.close()
    assert.deepEqual(
      (await ended).map(({ status }) => status),
      ['rejected', 'rejected'],
    )
  })

  test('can be called twice', async (t) => {
    const { client } = await setUp(t)
    await client.close()
    await client.close()
  })
})
