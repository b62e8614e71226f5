/** Takes from a PokeAPI body the facts that the event carries. */
import { isObject, isPokemonEvent, type PokemonEvent } from './event.ts'

/**
 * @param body a parsed answer of `/pokemon/{id}` (https://pokeapi.co/docs/v2#pokemon), of whose many members three are kept
 * @returns the event, its types by rising slot; null where the body is no Pokémon
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
