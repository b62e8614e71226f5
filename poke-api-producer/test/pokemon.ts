/** Captures for tests. */
import type { PokemonEvent } from '@poke-api-pipeline/pokemon-event'
import type { Capture } from '../src/entities/pokemon.ts'

/** A Pokémon with that id. */
export function pokemon(id: number, ...types: string[]): PokemonEvent {
  const names = types.length > 0 ? types : ['normal']
  return { id, name: `pokemon-${id}`, types: names.map((name, index) => ({ slot: index + 1, type: { name } })) }
}

/** A capture of the Pokémon with that id, always at the same time. */
export function capture(id: number, ...types: string[]): Capture {
  return { pokemon: pokemon(id, ...types), time: '2026-01-02T03:04:05.678Z', origin: 'bundled' }
}
