/** The cache of decoded values: a cached value is not decoded again, and another value is never mistaken for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeValue } from '@poke-api-pipeline/pokemon-event'
import { nearlyCanonical, nearlyEvents } from '@poke-api-pipeline/pokemon-event/testing'
import fc from 'fast-check'
import { decodePokemon } from '../src/entities/pokemon.ts'
import { type CountableValue, ValueTable } from '../src/entities/value-table.ts'

/** As many different values as there are Pokémon, in one buffer. */
function pokedex(): { readonly bytes: Buffer; readonly places: readonly (readonly [start: number, end: number])[] } {
  const values = Array.from({ length: 1351 }, (_, i) => {
    const id = i < 1025 ? i + 1 : 10_001 + i - 1025
    const type = { name: id % 2 ? 'water' : 'bug' }
    return Buffer.from(JSON.stringify({ name: `pokemon-${id * 7919}`, id, types: [{ slot: 1, type }] }))
  })
  let end = 0
  const places = values.map(({ length }): [number, number] => {
    end += length
    return [end - length, end]
  })
  return { bytes: Buffer.concat(values), places }
}

function findIn(table: ValueTable, bytes: Buffer, start = 0, end = bytes.length): CountableValue | string {
  return table.find(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), start, end)
}

test('a whole Pokédex that repeats is decoded twice and then served from the table, whoever wrote it', () => {
  const { bytes, places } = pokedex()
  const table = new ValueTable(() => {})
  const sight = () => places.map(([start, end]) => findIn(table, bytes, start, end))
  sight()
  const remembered = sight()
  for (let round = 0; round < 3; round++) {
    const forgotten = sight().filter((value, index) => value !== remembered[index])
    assert.equal(forgotten.length, 0, `${forgotten.length} values were decoded once more`)
  }
})

test('values of our producer with equal types share one key', () => {
  const table = new ValueTable(() => {})
  const find = (id: number, name: string, type: string) => {
    const bytes = encodeValue({ id, name, types: [{ slot: 1, type: { name: type } }] })
    return findIn(table, bytes)
  }
  find(1, 'first', 'electric')
  const known = find(2, 'second', 'electric')
  assert.equal(find(3, 'third', 'electric'), known)
  assert.notEqual(find(1, 'first', 'steel'), known)
})

test('gives what decoding gives, for any values in any order', () => {
  const odd = fc.oneof(
    nearlyCanonical,
    nearlyEvents.map((value) => Buffer.from(JSON.stringify(value))),
    fc.json().map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(fc.array(odd, { minLength: 1, maxLength: 20 }), (values) => {
      const table = new ValueTable(() => {})
      for (const value of [...values, ...values, ...values]) {
        const found = findIn(table, value)
        const decoded = decodePokemon(value)
        const types = typeof found === 'string' ? found : found.types.map((type) => table.typeNames.names[type])
        assert.deepEqual(types, typeof decoded === 'string' ? decoded : decoded.types)
      }
    }),
    { numRuns: 500 },
  )
})

test('the suffix of a value is not mistaken for a value', () => {
  const table = new ValueTable(() => {})
  const value = encodeValue({ id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] })
  for (let i = 0; i < 3; i++) assert.equal(typeof findIn(table, value), 'object')
  assert.equal(findIn(table, value, value.indexOf('","types"')), 'not-json')
})

test('values that differ in a single byte, wherever it is, are two values', () => {
  const table = new ValueTable(() => {})
  // Values in another form than our producer's.
  const value = Buffer.from('{"name":"pikachu-of-kanto", "id":25, "types":[{"slot":1,"type":{"name":"electric"}}]}')
  const find = (bytes: Buffer) => findIn(table, bytes)
  find(value)
  const known = find(value)
  assert.equal(find(value), known)
  for (let at = 0; at < value.length; at++) {
    const other = Buffer.from(value)
    other[at] = (other[at] as number) ^ 1
    assert.notEqual(find(other), known, `byte ${at}`)
  }
})
