/** Reads the body of `/pokemon/{id}`: https://pokeapi.co/docs/v2#pokemon. Of its 105 kB the event carries the id, the name and the types. */
import { isUtf8 } from 'node:buffer'
import { encodeValue, type PokemonEvent, pickPokemon } from 'pokemon-event'
import { printable } from 'service-kit'
import { unfit } from './failed-attempt.ts'
import { skimMembers } from './json-skim.ts'

/**
 * What is kept of a body: the event's own bytes.
 * @param id the Pokémon that was asked for
 * @throws FailedAttempt where the body is not that Pokémon
 */
export function reducePokemonBody(body: Buffer, id: number): Buffer {
  const pokemon = readPokemonBody(body)
  if (pokemon === null) throw unfit('pokemon', `a body that is no Pokémon: ${beginningOf(body)}`)
  if (pokemon.id !== id) throw unfit('pokemon', `Pokémon ${pokemon.id} (${printable(pokemon.name, 100)}) instead of ${id}`)
  return encodeValue(pokemon)
}

/** The way back. @returns null where it is not that Pokémon as `reducePokemonBody` wrote it */
export function readReducedPokemon(kept: Buffer, id: number): PokemonEvent | null {
  const pokemon = pickPokemon(parse(kept))
  return pokemon?.id === id ? pokemon : null
}

/** @returns null where the body is no Pokémon */
export function readPokemonBody(body: Buffer): PokemonEvent | null {
  // Bytes that are not UTF-8 would be replaced in silence, also in names.
  if (!isUtf8(body)) return null
  const spans = skimMembers(body, ['id', 'name', 'types'])
  if (spans === null) return pickPokemon(parse(body))
  const { id, name, types } = spans
  if (id === undefined || name === undefined || types === undefined) return null
  const member = ({ start, end }: { start: number; end: number }) => JSON.parse(body.toString('utf8', start, end)) as unknown
  return pickPokemon({ id: member(id), name: member(name), types: member(types) })
}

/** @returns undefined where it is no JSON */
function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/** How an unwanted body begins, for people. */
export function beginningOf(body: Buffer): string {
  if (body.length === 0) return 'it is empty'
  const beginning = body.subarray(0, 60).toString()
  return `${body.length} bytes that begin with "${printable(beginning, 120)}"`
}
