/** The memory of decoded values: what is known is not decoded again, and what is not known is never taken for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeValue } from 'pokemon-event'
import { ValueTable } from '../src/entities/value-table.ts'

/** As many as there are Pokémon, each another one, in one buffer. */
function pokedex(): { readonly bytes: Buffer; readonly places: readonly (readonly [start: number, end: number])[] } {
  const values = Array.from({ length: 1351 }, (_, i) => {
    const id = i < 1025 ? i + 1 : 10_001 + i - 1025
    return encodeValue({ id, name: `pokemon-${id * 7919}`, types: [{ slot: 1, type: { name: id % 2 ? 'water' : 'bug' } }] })
  })
  let end = 0
  const places = values.map(({ length }): [number, number] => {
    end += length
    return [end - length, end]
  })
  return { bytes: Buffer.concat(values), places }
}

test('a whole Pokédex that comes again and again is decoded twice, and then remembered to the last one', () => {
  const { bytes, places } = pokedex()
  const table = new ValueTable(() => {})
  const sight = () => places.map(([start, end]) => table.find(bytes, start, end))
  sight()
  const remembered = sight()
  for (let round = 0; round < 3; round++) {
    const forgotten = sight().filter((value, index) => value !== remembered[index])
    assert.equal(forgotten.length, 0, `${forgotten.length} values were decoded once more`)
  }
})

test('values that differ in a single byte, wherever it is, are two values', () => {
  const table = new ValueTable(() => {})
  const value = encodeValue({ id: 25, name: 'pikachu-of-kanto', types: [{ slot: 1, type: { name: 'electric' } }] })
  const find = (bytes: Buffer) => table.find(bytes, 0, bytes.length)
  find(value)
  const known = find(value)
  assert.equal(find(value), known)
  for (let at = 0; at < value.length; at++) {
    const other = Buffer.from(value)
    other[at] = (other[at] as number) ^ 1
    assert.notEqual(find(other), known, `byte ${at}`)
  }
})
