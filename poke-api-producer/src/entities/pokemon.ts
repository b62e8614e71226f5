/** What was captured: the facts of a PokeAPI body that the event carries. */
import type { PokemonEvent } from '@poke-api-pipeline/pokemon-event'

export type { PokemonEvent } from '@poke-api-pipeline/pokemon-event'

export interface Capture {
  readonly pokemon: PokemonEvent
  /** When it was obtained, RFC 3339 with milliseconds. */
  readonly time: string
  /** Where the body came from: the live API, or the Pokédex that comes with this project. */
  readonly origin: 'live' | 'bundled'
}

/** The names of a Pokémon's types, each once: a type counts once for each capture. */
export function typeNames(pokemon: PokemonEvent): Set<string> {
  return new Set(pokemon.types.map(({ type }) => type.name))
}
