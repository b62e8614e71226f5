/** The members of a PokeAPI body that an event keeps. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pickPokemon } from '../src/pick-pokemon.ts'

/** The shape of an answer of /pokemon/{id}, cut down to a member of each kind. */
const CHARIZARD = {
  abilities: [{ ability: { name: 'blaze', url: 'https://pokeapi.co/api/v2/ability/66/' }, is_hidden: false, slot: 1 }],
  base_experience: 267,
  height: 17,
  id: 6,
  is_default: true,
  name: 'charizard',
  order: 7,
  past_types: [{ generation: { name: 'generation-v' }, types: [{ slot: 1, type: { name: 'normal' } }] }],
  sprites: { back_default: null },
  types: [
    { slot: 1, type: { name: 'fire', url: 'https://pokeapi.co/api/v2/type/10/' } },
    { slot: 2, type: { name: 'flying', url: 'https://pokeapi.co/api/v2/type/3/' } },
  ],
}

const EVENT = {
  id: 6,
  name: 'charizard',
  types: [
    { slot: 1, type: { name: 'fire' } },
    { slot: 2, type: { name: 'flying' } },
  ],
}

test('only id, name and current types are picked', () => {
  assert.deepEqual(pickPokemon(CHARIZARD), EVENT)
})

test('types have the order of their slots, and the body is not changed', () => {
  const types = [...CHARIZARD.types].reverse()
  assert.deepEqual(pickPokemon({ ...CHARIZARD, types }), EVENT)
  assert.equal(types[0]?.slot, 2)
})

test('a body that is not a Pokémon results in null', () => {
  const bodies = [
    undefined,
    null,
    'OK',
    200,
    [],
    {},
    [CHARIZARD],
    { ...CHARIZARD, id: '6' },
    { ...CHARIZARD, types: [] },
    { count: 1351, results: [] },
  ]
  for (const body of bodies) assert.equal(pickPokemon(body), null, JSON.stringify(body))
})
