/** The bundled Pokédex is complete and correct. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { formatPokedex, makePokedex, type Pokedex } from '../make-pokedex.ts'
import { COUNTS_OF_A_SWEEP } from './counts-of-a-sweep.ts'

const bundled = await readFile(new URL('../pokedex.json', import.meta.url), 'utf8')
const pokedex = JSON.parse(bundled) as Pokedex

describe('the bundled Pokédex', () => {
  test('has all 1351 Pokémon, each once, in ascending order', () => {
    const ids = pokedex.pokemon.map(([id]) => id)
    assert.equal(ids.length, 1351)
    assert.deepEqual(ids, [...Array(1025).keys()].map((n) => n + 1).concat([...Array(326).keys()].map((n) => n + 10_001)))
    assert.equal(new Set(pokedex.pokemon.map(([, name]) => name)).size, 1351)
  })

  test('has each type as often as PokeAPI', () => {
    const counts: Record<string, number> = {}
    for (const [, , types] of pokedex.pokemon) for (const type of types) counts[type] = (counts[type] ?? 0) + 1
    assert.deepEqual(Object.fromEntries(Object.entries(counts).sort()), COUNTS_OF_A_SWEEP)
    assert.equal(
      Object.values(counts).reduce((a, b) => a + b),
      2116,
    )
  })

  test('names its source and licence', () => {
    assert.equal(pokedex.source, 'PokeAPI/api-data, BSD-3-Clause, 2026-08-08')
    assert.match(pokedex.license, /BSD 3-Clause/)
  })

  test('is the output of make-pokedex.ts', () => {
    assert.equal(formatPokedex(pokedex), bundled)
  })
})

describe('making a Pokédex from bodies', () => {
  const body = (id: number, name: string, ...types: [string, number][]) => ({
    id,
    name,
    weight: 60,
    types: types.map(([type, typeId], index) => ({ slot: index + 1, type: { name: type, url: `/api/v2/type/${typeId}/` } })),
  })

  test('keeps ids, names and types, ordered by id', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'pokedex-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'index.json'), '{}')
    await writeFile(join(folder, '25.json'), JSON.stringify(body(25, 'pikachu', ['electric', 13])))
    await writeFile(join(folder, '1.json'), JSON.stringify(body(1, 'bulbasaur', ['grass', 12], ['poison', 4])))
    const made = await makePokedex(folder, '2026-08-08')
    assert.deepEqual(made.pokemon, [
      [1, 'bulbasaur', ['grass', 'poison']],
      [25, 'pikachu', ['electric']],
    ])
    assert.deepEqual(made.types, { poison: 4, grass: 12, electric: 13 })
  })

  test('refuses a folder with a body that is not a Pokémon', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'pokedex-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, '25.json'), '"OK"')
    await assert.rejects(makePokedex(folder, '2026-08-08'), /25\.json is not the body of Pokémon 25/)
  })
})
