/** The cache's file: what is found in it again, what is not, and what becomes of it when it is damaged, foreign, full or in the way. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { PokeApiError } from '../src/errors.ts'
import { type CachedAnswer, ResponseCache, type ResponseCacheOptions } from '../src/infrastructure/poke-api/response-cache.ts'

const NOW = Date.parse('2026-01-02T03:04:05Z')
const HOUR = 60 * 60 * 1000

type Value = Parameters<ResponseCache['createWriteStream']>[1]

function fileIn(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'response-cache-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return join(dir, 'cache.db')
}

function open(t: TestContext, file: string, options: Partial<ResponseCacheOptions> = {}): { cache: ResponseCache; said: string[] } {
  const said: string[] = []
  const cache = new ResponseCache({ file, now: () => NOW, failed: (message) => said.push(message), ...options })
  t.after(() => cache.close())
  return { cache, said }
}

function keyOf(path: string, headers: Record<string, string> = {}) {
  return { origin: 'https://pokeapi.co', method: 'GET', path, headers }
}

const value: Value = {
  statusCode: 200,
  statusMessage: 'OK',
  headers: { etag: '"1"', 'cache-control': 'max-age=3600' },
  cacheControlDirectives: { 'max-age': 3600 },
  etag: '"1"',
  cachedAt: NOW,
  staleAt: NOW + HOUR,
  deleteAt: NOW + 2 * HOUR,
}

async function keep(cache: ResponseCache, path: string, body: string | Buffer = path, changed: Partial<Value> = {}): Promise<void> {
  const stream = cache.createWriteStream(keyOf(path), { ...value, ...changed })
  stream.end(body)
  await once(stream, 'finish')
}

function found(cache: ResponseCache, path: string, headers?: Record<string, string>): string | undefined {
  return cache.get(keyOf(path, headers))?.body.toString()
}

test('returns a stored answer', async (t) => {
  const { cache } = open(t, fileIn(t))
  await keep(cache, '/25', 'pikachu')
  const { body, deleteAt, ...rest } = cache.get(keyOf('/25')) as CachedAnswer
  const { deleteAt: _, ...given } = value
  assert.deepEqual(rest, given)
  assert.equal(body.toString(), 'pikachu')
})

test('puts the pieces of a body together', async (t) => {
  const { cache } = open(t, fileIn(t))
  const stream = cache.createWriteStream(keyOf('/25'), value)
  stream.write('pika')
  stream.end('chu')
  await once(stream, 'finish')
  assert.equal(found(cache, '/25'), 'pikachu')
})

test('stores nothing of an incomplete body', async (t) => {
  const { cache } = open(t, fileIn(t))
  const stream = cache.createWriteStream(keyOf('/25'), value)
  stream.write('pika')
  stream.destroy()
  await once(stream, 'close')
  assert.equal(found(cache, '/25'), undefined)
})

test('has one answer for a URL: the last one', async (t) => {
  const { cache } = open(t, fileIn(t))
  await keep(cache, '/25', 'pikachu')
  await keep(cache, '/25', 'raichu')
  assert.equal(found(cache, '/25'), 'raichu')
})

for (const [where, written] of [
  ['in the file', true],
  ['not in the file yet', false],
] as const) {
  test(`removes an entry that is ${where}`, async (t) => {
    const { cache } = open(t, fileIn(t))
    await keep(cache, '/25')
    await keep(cache, '/26')
    if (written) cache.flush()
    cache.delete(keyOf('/25'))
    assert.deepEqual([found(cache, '/25'), found(cache, '/26')], [undefined, '/26'])
    cache.flush()
    assert.equal(found(cache, '/25'), undefined)
  })
}

test('writes by itself: many new entries at once, a few after a moment', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const file = fileIn(t)
  const { cache } = open(t, file)
  const inFile = () => readFileSync(`${file}-wal`).includes('https://pokeapi.co/few')
  await keep(cache, '/few')
  assert.equal(inFile(), false)
  t.mock.timers.tick(500)
  assert.equal(inFile(), true)
  for (let id = 1; id <= 64; id++) await keep(cache, `/many-${id}`)
  assert.ok(readFileSync(`${file}-wal`).includes('https://pokeapi.co/many-1'))
})

test('stores entries that can be confirmed for a year, and others for as long as they are fresh', async (t) => {
  const file = fileIn(t)
  const { cache } = open(t, file)
  await keep(cache, '/tagged')
  const { etag: _, ...untagged } = value
  for (const [path, headers] of Object.entries({ '/plain': {}, '/dated': { 'last-modified': 'Mon, 01 Dec 2025 00:00:00 GMT' } })) {
    const stream = cache.createWriteStream(keyOf(path), { ...untagged, headers })
    stream.end(path)
    await once(stream, 'finish')
  }
  cache.close()
  const { cache: later } = open(t, file, { now: () => NOW + 3 * HOUR })
  assert.deepEqual(
    ['/tagged', '/dated', '/plain'].map((path) => found(later, path)),
    ['/tagged', '/dated', undefined],
  )
  later.close()
  const { cache: muchLater } = open(t, file, { now: () => NOW + 366 * 24 * HOUR })
  assert.equal(found(muchLater, '/tagged'), undefined)
})

test('returns an answer only to requests with the headers that it varies by', async (t) => {
  const { cache } = open(t, fileIn(t))
  await keep(cache, '/25', 'compressed', { vary: { 'accept-encoding': 'gzip', dnt: null } })
  assert.equal(found(cache, '/25', { 'accept-encoding': 'gzip' }), 'compressed')
  assert.equal(found(cache, '/25', { 'accept-encoding': 'br' }), undefined)
  assert.equal(found(cache, '/25', { 'accept-encoding': 'gzip', dnt: '1' }), undefined)
})

test('does not store a body that is far too large', async (t) => {
  const { cache } = open(t, fileIn(t))
  await keep(cache, '/25', Buffer.alloc(1024 * 1024 + 1))
  assert.equal(found(cache, '/25'), undefined)
})

test('stays bounded: removes the oldest entries', async (t) => {
  let time = NOW
  const { cache } = open(t, fileIn(t), { maxEntries: 100, now: () => time++ })
  for (let id = 1; id <= 1000; id++) {
    await keep(cache, `/${id}`)
    if (id % 10 === 0) cache.flush()
  }
  const kept = Array.from({ length: 1000 }, (_, index) => `/${index + 1}`).filter((path) => found(cache, path) !== undefined)
  assert.equal(kept.length, 100)
  assert.equal(kept[0], '/901')
})

test('has its entries after a restart, and after a kill', async (t) => {
  const file = fileIn(t)
  const { cache, said } = open(t, file)
  await keep(cache, '/25')
  cache.flush()
  // What a process leaves when it dies are its files, as they are at that moment.
  const left = fileIn(t)
  for (const suffix of ['', '-wal']) if (existsSync(file + suffix)) writeFileSync(left + suffix, readFileSync(file + suffix))
  assert.equal(found(open(t, left).cache, '/25'), '/25')
  cache.close()
  assert.equal(found(open(t, file).cache, '/25'), '/25')
  assert.deepEqual(said, [])
})

for (const [what, damage] of Object.entries({
  'is no database': (file: string) => writeFileSync(file, 'this was never a database, whatever its name says'.repeat(100)),
  'lost its end': (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 5000)),
  'has noise in its middle': (file: string) => {
    const bytes = readFileSync(file)
    writeFileSync(file, bytes.fill(0xa5, 4096, bytes.length))
  },
  'has another format': (file: string) => {
    const db = new DatabaseSync(file)
    db.exec('PRAGMA user_version = 99')
    db.close()
  },
})) {
  test(`a file that ${what} is replaced by an empty one, and that is reported`, async (t) => {
    const file = fileIn(t)
    const first = open(t, file).cache
    for (let id = 1; id <= 100; id++) await keep(first, `/${id}`)
    first.close()
    damage(file)
    const { cache, said } = open(t, file)
    assert.equal(found(cache, '/1'), undefined)
    assert.equal(said.length, 1)
    assert.match(said[0] ?? '', /^the cache .*cache\.db was damaged \(.+\) and was replaced by an empty one/)
    await keep(cache, '/1')
    assert.equal(found(cache, '/1'), '/1')
  })
}

test('an empty file is as good as none', (t) => {
  const file = fileIn(t)
  writeFileSync(file, '')
  assert.deepEqual(open(t, file).said, [])
})

test('an entry that cannot be read any more lets it begin with an empty file', async (t) => {
  const file = fileIn(t)
  const first = open(t, file).cache
  await keep(first, '/25')
  first.close()
  const db = new DatabaseSync(file)
  db.exec(`UPDATE answer SET value = '{"statusCode":'`)
  db.close()
  const { cache, said } = open(t, file)
  assert.equal(found(cache, '/25'), undefined)
  assert.equal(said.length, 1)
  await keep(cache, '/25')
  assert.equal(found(cache, '/25'), '/25')
})

test('works without a file that cannot be written, and reports that once', async (t) => {
  const file = fileIn(t)
  const first = open(t, file).cache
  await keep(first, '/25')
  first.close()
  const db = new DatabaseSync(file)
  db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON answer BEGIN SELECT RAISE (FAIL, 'database or disk is full'); END`)
  db.close()
  const { cache, said } = open(t, file)
  for (const path of ['/26', '/27']) {
    await keep(cache, path)
    cache.flush()
    assert.equal(found(cache, path), undefined)
    assert.equal(found(cache, '/25'), '/25')
  }
  assert.deepEqual(said, [
    `the cache ${file} cannot be used (database or disk is full): all requests go to PokeAPI; check the disk and the rights of the file`,
  ])
})

test('a file that cannot be created is an error that names it', (t) => {
  const file = fileIn(t)
  const inTheWay = (error: unknown) => error instanceof PokeApiError && error.kind === 'cache' && error.message.includes(file)
  assert.throws(
    () => open(t, join(file, 'cache.db')),
    (error: unknown) => error instanceof PokeApiError && /DATA_DIR/.test(error.message),
  )
  mkdirSync(file)
  assert.throws(() => open(t, file), inTheWay)
  assert.ok(statSync(file).isDirectory())
})

test('after closing it returns nothing and stores nothing, without an error', async (t) => {
  const { cache, said } = open(t, fileIn(t))
  await keep(cache, '/25')
  cache.close()
  cache.close()
  await keep(cache, '/26')
  assert.deepEqual([found(cache, '/25'), found(cache, '/26')], [undefined, undefined])
  assert.deepEqual(said, [])
})
