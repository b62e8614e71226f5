/** Picks the members of an event from a body of PokeAPI. */
import { isObject, isPokemonEvent, type PokemonEvent } from './event.ts'

/**
 * @param body a parsed answer of `/pokemon/{id}` (https://pokeapi.co/docs/v2#pokemon)
 * @returns the event, with types in the order of their slots; null if the body is not a Pokémon
 */
export function pickPokemon(body: unknown): PokemonEvent | null {
  if (!isObject(body) || !isPokemonEvent(body)) return null
  const { id, name, types } = body
  return {
    id,
    name,
    types: types.map(({ slot, type }) => ({ slot, type: { name: type.name } })).sort((a, b) => a.slot - b.slot),
  }
}
