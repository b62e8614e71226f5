/** Skimming a body: every result equals that of JSON.parse, and PokeAPI's own bodies have a result. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pickPokemon } from '@poke-api-pipeline/pokemon-event'
import fc from 'fast-check'
import { nestsDeeperThan, skimMembers } from '../src/infrastructure/poke-api/json-skim.ts'
import { readPokemonBody } from '../src/infrastructure/poke-api/pokemon-body.ts'
import { bodyOf } from './local-poke-api.ts'
import { pokemon } from './pokemon.ts'

const NAMES = ['id', 'name', 'types'] as const
const REAL_BODY = JSON.stringify(JSON.parse(readFileSync(new URL('api-return-value.json', import.meta.url), 'utf8')))

/** The parsed results of skimming; null: the text has to be parsed. */
function skimmed(text: string | Buffer): Record<string, unknown> | null {
  const json = Buffer.from(text)
  const spans = skimMembers(json, NAMES)
  if (spans === null) return null
  return Object.fromEntries(Object.entries(spans).map(([name, { start, end }]) => [name, JSON.parse(json.toString('utf8', start, end))]))
}

/** What JSON.parse finds; null: it is no JSON object. */
function parsed(text: string | Buffer): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text.toString()) as Record<string, unknown>
    return Object.fromEntries(NAMES.filter((name) => Object.hasOwn(value, name)).map((name) => [name, value[name]]))
  } catch {
    return null
  }
}

/** Skimming can give no result for a valid text, but never a result for an invalid one, or another result than JSON.parse. */
function assertTrustworthy(text: string | Buffer): void {
  const found = skimmed(text)
  if (found !== null) assert.deepEqual(found, parsed(text), text.toString())
}

/** Reads a body without skimming it. */
function readByParsing(body: Buffer): unknown {
  try {
    return pickPokemon(JSON.parse(body.toString()))
  } catch {
    return null
  }
}

describe('skimming', () => {
  test('finds the members of the object itself, not those of its members', () => {
    const text = '{"types":[1,[2]],"a":{"id":0,"name":"no","types":[]},"b":[{"id":9}],"id":-25,"name":"pikachu"}'
    assert.deepEqual(skimmed(text), { types: [1, [2]], id: -25, name: 'pikachu' })
  })

  test('leaves out missing members', () => {
    assert.deepEqual(skimmed('{"id":1,"other":null}'), { id: 1 })
  })

  test('knows a real body', () => {
    assert.deepEqual(skimmed(REAL_BODY), parsed(REAL_BODY))
    assert.notEqual(skimmed(REAL_BODY), null)
  })

  for (const [what, text] of Object.entries({
    'white space between tokens': '{ "id":1}',
    'an escape': '{"id":1,"name":"a\\u0062"}',
    'an escape in a name': '{"\\u0069d":1}',
    'a fraction': '{"id":1.5}',
    'an exponent': '{"id":1e3}',
    'a member twice': '{"id":1,"id":2}',
    'deep nesting': `{"a":${'['.repeat(40)}${']'.repeat(40)}}`,
    'an empty object': '{}',
  })) {
    test(`does not know ${what}`, () => {
      assert.equal(skimmed(text), null)
      assert.notEqual(parsed(text), null)
    })
  }

  for (const [what, text] of Object.entries({
    nothing: '',
    'a text': 'OK',
    'a body that was cut off': REAL_BODY.slice(0, -1),
    'something after the end': `${REAL_BODY}x`,
    'two objects': '{"id":1}{"id":2}',
    'a comma too many': '{"id":1,}',
    'a comma too few': '{"id":1"name":"x"}',
    'a leading zero': '{"id":01}',
    'a lone minus': '{"id":-}',
    'a literal that is none': '{"a":nul,"id":1}',
    'a control character': '{"name":"a\nb"}',
    'a bracket closed by a brace': '{"types":[1}}',
    'a member without a value': '{"id":}',
    'a name without quotes': '{id:1}',
  })) {
    test(`refuses ${what}`, () => {
      assert.equal(skimmed(text), null)
      assert.equal(parsed(text), null)
    })
  }

  test('finds in any JSON the same as JSON.parse, or does not know', () => {
    const member = fc.oneof(fc.constantFrom(...NAMES, 'moves', '__proto__'), fc.string())
    const object = fc.array(fc.tuple(member, fc.jsonValue({ maxDepth: 4 })), { maxLength: 6 })
    const text = object.map((members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`)
    fc.assert(fc.property(text, assertTrustworthy), { numRuns: 2000 })
  })

  test('finds in a damaged body the same as JSON.parse, or does not know', () => {
    const body = Buffer.from(REAL_BODY)
    const interesting = Buffer.from('{}[]":,\\-0123456789.eE+ntfrul \n\u0000é')
    const byte = fc.oneof(fc.constantFrom(...interesting), fc.integer({ min: 0, max: 255 }))
    const change = fc.record({ at: fc.nat(body.length - 1), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }), byte })
    const damaged = fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
      let damage = body
      for (const { at, remove, insert, byte } of changes) {
        damage = Buffer.concat([damage.subarray(0, at), insert.length > 0 ? insert : Buffer.of(byte), damage.subarray(at + remove)])
      }
      return damage
    })
    fc.assert(fc.property(damaged, assertTrustworthy), { numRuns: 5000 })
  })

  test('finds in a truncated body the same as JSON.parse, or does not know', () => {
    const body = Buffer.from(bodyOf(pokemon(25, 'electric')))
    for (let end = 0; end <= body.length; end++) assertTrustworthy(body.subarray(0, end))
  })
})

describe('nesting', () => {
  test('is counted by the brackets outside of strings', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(8), (value, levels) => {
        assert.equal(nestsDeeperThan(levels, Buffer.from(JSON.stringify(value))), depthOf(value) > levels)
      }),
    )
    assert.equal(nestsDeeperThan(1, Buffer.from('["[[[\\"[[["]')), false)
  })

  test('that is too deep is refused before parsing, which would take a hundred times the size of the body', () => {
    const deep = Buffer.from(`{"id":25,"name":"a","types":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`)
    const before = process.memoryUsage().heapUsed
    assert.match(String(readPokemonBody(deep)), /^2000029 bytes that begin with /)
    assert.ok(process.memoryUsage().heapUsed - before < 20_000_000, `${process.memoryUsage().heapUsed - before}`)
  })
})

describe('reading a body', () => {
  test('gives the same as JSON.parse, also with escapes and white space that skimming does not know', () => {
    for (const body of [REAL_BODY, JSON.stringify(JSON.parse(REAL_BODY), null, 2), REAL_BODY.replace('cottonee', 'cot\\u0074onee')]) {
      assert.deepEqual(readPokemonBody(Buffer.from(body)), readByParsing(Buffer.from(REAL_BODY)))
    }
  })

  test('refuses bytes that are not UTF-8, which JSON.parse would replace silently', () => {
    const body = Buffer.from(REAL_BODY)
    body[body.indexOf('cottonee')] = 0xff
    assert.match(String(readPokemonBody(body)), /^it is not UTF-8: /)
  })

  test('accepts names in other scripts', () => {
    const pikachu = { ...pokemon(25, 'electric'), name: 'ピカチュウ' }
    assert.deepEqual(readPokemonBody(Buffer.from(bodyOf(pikachu))), pikachu)
  })

  const folder = process.env.POKE_API_BODIES
  const skip = folder !== undefined && existsSync(folder) ? false : 'POKE_API_BODIES names no folder of {id}.json'
  test('gives the same as JSON.parse for every body of the API, without parsing the whole body', { skip }, () => {
    const files = readdirSync(folder as string).filter((file) => /^\d+\.json$/.test(file))
    assert.notEqual(files.length, 0)
    for (const file of files) {
      const body = readFileSync(join(folder as string, file))
      assert.notEqual(skimMembers(body, NAMES), null, file)
      assert.deepEqual(readPokemonBody(body), readByParsing(body), file)
    }
  })
})
