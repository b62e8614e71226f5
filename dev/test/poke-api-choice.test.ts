/** The live PokeAPI is used only if it answers with a real Pokémon. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { choosePokeApi } from '../poke-api-choice.ts'
import { servePokeApi } from '../poke-api-server.ts'

test('the user’s setting is used without a check', async () => {
  const { url, kind, what } = await choosePokeApi('http://127.0.0.1:1/api/v2')
  assert.deepEqual(
    { url, kind, what },
    { url: 'http://127.0.0.1:1/api/v2', kind: 'given', what: 'http://127.0.0.1:1/api/v2 (POKE_API_URL)' },
  )
})

test('the live PokeAPI is used if it returns a real Pokémon', async (t) => {
  const live = await servePokeApi()
  t.after(() => live.close())
  const choice = await choosePokeApi(undefined, { live: live.url })
  assert.deepEqual([choice.url, choice.kind], [live.url, 'live'])
  assert.deepEqual([...live.answered], [[200, 1]], 'it is asked once')
})

for (const [name, answer, why] of [
  [
    'an answer of 200 that says OK',
    (_, response) => response.end('"OK"'),
    /returned a body that is not a Pokémon: 4 bytes that begin with/,
  ],
  [
    "a captive network's page",
    (_, response) => response.end('<html>Log in</html>'),
    /returned a body that is not a Pokémon: 19 bytes that begin with/,
  ],
  [
    'another Pokémon',
    (_, response) => response.end('{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'),
    /returned Pokémon 25 \(pikachu\) instead of 1/,
  ],
  ['an API without Pokémon', (_, response) => response.writeHead(404).end(), /answered with status 404/],
  ['a failing API', (_, response) => response.writeHead(503).end(), /answered with status 503/],
] as [string, RequestListener, RegExp][]) {
  test(`${name} is not mistaken for PokeAPI: the bundled Pokédex is used instead`, async (t) => {
    const choice = await choosePokeApi(undefined, { live: await serve(t, answer) })
    t.after(() => choice.close())
    assert.equal(choice.kind, 'bundled')
    assert.match(choice.what, why)
    const pikachu = await fetch(`${choice.url}/pokemon/25/`)
    assert.equal(pikachu.headers.get('x-poke-api-origin'), 'bundled')
    assert.partialDeepStrictEqual(await pikachu.json(), { id: 25, name: 'pikachu' })
  })
}

test('if no server answers, the reason says so', async (t) => {
  const choice = await choosePokeApi(undefined, { live: 'http://127.0.0.1:1/api/v2' })
  t.after(() => choice.close())
  assert.match(choice.what, /^the bundled Pokédex at http:\/\/127\.0\.0\.1:\d+\/api\/v2 \(the live one /)
})

test('the live PokeAPI is requested through the producer’s proxy, and the reason quotes a refusal of the proxy', async (t) => {
  const asked: (string | undefined)[] = []
  const proxy = await serve(t, (request, response) => {
    asked.push(request.url)
    response.writeHead(407).end()
  })
  const choice = await choosePokeApi(undefined, { live: 'http://pokeapi.example/api/v2', proxy: new URL(proxy) })
  t.after(() => choice.close())
  assert.deepEqual(asked, ['http://pokeapi.example/api/v2/pokemon/1/'])
  assert.match(choice.what, /\(the live one got no request, because the proxy http:\/\/127\.0\.0\.1:\d+ asks for a user and a password/)
})

async function serve(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
