/** Reads the body of `/pokemon/{id}`: https://pokeapi.co/docs/v2#pokemon. Of its 105 kB the event carries the id, the name and the types. */
import { isUtf8 } from 'node:buffer'
import { encodeValue, eventFault, isObject, type PokemonEvent, pickPokemon } from '@poke-api-pipeline/pokemon-event'
import { printable } from '@poke-api-pipeline/service-kit'
import { unfit } from './failed-attempt.ts'
import { nestsDeeperThan, type Span, skimMembers } from './json-skim.ts'

/** Most characters of a description of what is wrong: it may quote a value. */
const LONGEST_FAULT = 300

/**
 * Reduces a body to the bytes of the event.
 * @param id of the requested Pokémon
 * @throws FailedAttempt where the body is not that Pokémon
 */
export function reducePokemonBody(body: Buffer, id: number): Buffer {
  const read = readPokemonBody(body)
  if (typeof read === 'string') throw unfit('pokemon', `a body that is not a Pokémon: ${read}`, { reason: read })
  if (read.id !== id) {
    const other = `Pokémon ${read.id} (${printable(read.name, 100)}) instead of ${id}`
    throw unfit('pokemon', other, { reason: `the body is ${other}` })
  }
  return encodeValue(read)
}

/** Reads the result of `reducePokemonBody`. @returns null where it is something else */
export function readReducedPokemon(kept: Buffer, id: number): PokemonEvent | null {
  const pokemon = pickPokemon(parse(kept))
  return pokemon?.id === id ? pokemon : null
}

/** @returns the Pokémon; or a sentence about what is wrong: which member, where the body is a JSON object, otherwise how it begins */
export function readPokemonBody(body: Buffer): PokemonEvent | string {
  // Bytes that are not UTF-8 would be replaced silently, also in names.
  if (!isUtf8(body)) return `it is not UTF-8: ${beginningOf(body)}`
  const facts = factsOf(body)
  if (!isObject(facts)) return beginningOf(body)
  return pickPokemon(facts) ?? printable(`${eventFault(facts)}`, LONGEST_FAULT)
}

/** The members that an event needs, or the whole parsed body; undefined where it is not JSON. */
function factsOf(body: Buffer): unknown {
  const spans = skimMembers(body, ['id', 'name', 'types'])
  if (spans === null) return parse(body)
  const member = (span?: Span) => span && (JSON.parse(body.toString('utf8', span.start, span.end)) as unknown)
  return { id: member(spans.id), name: member(spans.name), types: member(spans.types) }
}

/** Most levels of nesting that are parsed. PokeAPI's bodies have eight. */
const DEEPEST = 1000

/** @returns undefined where it is not JSON, or nests too deep */
export function parse(body: Buffer): unknown {
  if (nestsDeeperThan(DEEPEST, body)) return undefined
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/** Describes the beginning of an invalid body, for people. */
export function beginningOf(body: Buffer): string {
  if (body.length === 0) return 'it is empty'
  const beginning = body.subarray(0, 60).toString()
  return `${body.length} bytes that begin with "${printable(beginning, 120)}"`
}
