/** The local PokeAPI answers the producer like the real one. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type PokeApiServer, servePokeApi } from '../poke-api-server.ts'

interface Page {
  count: number
  next: string | null
  previous: string | null
  results: { name: string; url: string }[]
}

describe('with the bundled Pokédex', () => {
  let server: PokeApiServer
  before(async () => {
    server = await servePokeApi()
  })
  after(() => server.close())

  test('returns a Pokémon by id and by name, with and without a slash at the end', async () => {
    const bodies = []
    for (const path of ['25/', '25', 'pikachu/', 'pikachu']) bodies.push(await (await fetch(`${server.url}/pokemon/${path}`)).json())
    const pikachu = { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric', url: `${server.url}/type/13/` } }] }
    assert.deepEqual(bodies, [pikachu, pikachu, pikachu, pikachu])
  })

  test('an answer can be cached for a day, can be confirmed by its ETag, and says that it is bundled', async () => {
    const first = await fetch(`${server.url}/pokemon/25/`)
    assert.equal(first.headers.get('cache-control'), 'public, max-age=86400')
    assert.equal(first.headers.get('x-poke-api-origin'), 'bundled')
    const etag = first.headers.get('etag')
    assert.ok(etag)
    const again = await fetch(`${server.url}/pokemon/25/`, { headers: { 'if-none-match': `"other", ${etag}` } })
    assert.equal(again.status, 304)
    assert.equal(await again.text(), '')
    assert.equal(again.headers.get('etag'), etag)
    const other = await fetch(`${server.url}/pokemon/26/`, { headers: { 'if-none-match': etag } })
    assert.equal(other.status, 200)
  })

  test('the list has pages of 20 by default, with links to the previous and the next page', async () => {
    const first = (await (await fetch(`${server.url}/pokemon/`)).json()) as Page
    assert.deepEqual([first.count, first.results.length, first.previous], [1351, 20, null])
    assert.equal(first.next, `${server.url}/pokemon?offset=20&limit=20`)
    assert.deepEqual(first.results[0], { name: 'bulbasaur', url: `${server.url}/pokemon/1/` })
    const second = (await (await fetch(first.next)).json()) as Page
    assert.equal(second.results[0]?.name, 'spearow')
    assert.equal(second.previous, `${server.url}/pokemon?offset=0&limit=20`)
  })

  test('the list is complete if the limit allows it, and contains ids beyond 10000', async () => {
    const all = (await (await fetch(`${server.url}/pokemon?limit=100000&offset=0`)).json()) as Page
    assert.deepEqual([all.results.length, all.next, all.previous], [1351, null, null])
    assert.equal(all.results.at(-1)?.url, `${server.url}/pokemon/10326/`)
  })

  test('following the links from page to page returns every Pokémon once', async () => {
    const names = []
    let next: string | null = `${server.url}/pokemon?limit=500`
    while (next !== null) {
      const page = (await (await fetch(next)).json()) as Page
      names.push(...page.results.map(({ name }) => name))
      next = page.next
    }
    assert.deepEqual([names.length, new Set(names).size], [1351, 1351])
  })

  for (const path of ['/pokemon/1026/', '/pokemon/0', '/pokemon/missingno', '/berry/1', '/pokemon/25/encounters']) {
    test(`${path} is not found`, async () => {
      const response = await fetch(`${server.url}${path}`)
      assert.deepEqual([response.status, await response.text()], [404, 'Not Found'])
      assert.equal(response.headers.get('etag'), null)
    })
  }

  test('only GET and HEAD are allowed', async () => {
    assert.equal((await fetch(`${server.url}/pokemon/25`, { method: 'POST' })).status, 405)
    const head = await fetch(`${server.url}/pokemon/25`, { method: 'HEAD' })
    assert.deepEqual([head.status, await head.text()], [200, ''])
  })
})

describe('with a folder of real bodies', () => {
  test('they are served unchanged but for absolute URLs, and not marked as bundled', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'bodies-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'index.json'), JSON.stringify({ results: [{ name: 'ditto', url: '/api/v2/pokemon/132/' }] }))
    await writeFile(join(folder, '132.json'), '{"id":132,"name":"ditto","forms":[{"url":"/api/v2/pokemon-form/132/"}],"weight":40}')
    const server = await servePokeApi({ bodies: folder })
    t.after(() => server.close())
    const response = await fetch(`${server.url}/pokemon/ditto`)
    assert.equal(response.headers.get('x-poke-api-origin'), null)
    assert.deepEqual(await response.json(), { id: 132, name: 'ditto', forms: [{ url: `${server.url}/pokemon-form/132/` }], weight: 40 })
    assert.deepEqual([...server.answered], [[200, 1]])
  })

  test('a folder without a list is refused at the start', async () => {
    await assert.rejects(servePokeApi({ bodies: join(tmpdir(), 'there-is-no-such-folder') }), /ENOENT.*index\.json/)
  })
})
