/** Reads the body of `/pokemon/{id}`: https://pokeapi.co/docs/v2#pokemon. Of its 105 kB the event carries the id, the name and the types. */
import { isUtf8 } from 'node:buffer'
import { encodeValue, eventFault, isObject, type PokemonEvent, pickPokemon } from '@poke-api-pipeline/pokemon-event'
import { printable } from '@poke-api-pipeline/service-kit'
import { unfit } from './failed-attempt.ts'
import { nestsDeeperThan, type Span, skimMembers } from './json-skim.ts'

/** What is wrong with a body, in characters: it may show a value. */
const LONGEST_FAULT = 300

/**
 * What is kept of a body: the event's own bytes.
 * @param id the Pokémon that was asked for
 * @throws FailedAttempt where the body is not that Pokémon
 */
export function reducePokemonBody(body: Buffer, id: number): Buffer {
  const read = readPokemonBody(body)
  if (typeof read === 'string') throw unfit('pokemon', `a body that is no Pokémon: ${read}`, { reason: read })
  if (read.id !== id) {
    const other = `Pokémon ${read.id} (${printable(read.name, 100)}) instead of ${id}`
    throw unfit('pokemon', other, { reason: `the body is ${other}` })
  }
  return encodeValue(read)
}

/** The way back. @returns null where it is not that Pokémon as `reducePokemonBody` wrote it */
export function readReducedPokemon(kept: Buffer, id: number): PokemonEvent | null {
  const pokemon = pickPokemon(parse(kept))
  return pokemon?.id === id ? pokemon : null
}

/** @returns the Pokémon, or why the body is none, in words: the member that is wrong where it is an object in JSON, otherwise how it begins */
export function readPokemonBody(body: Buffer): PokemonEvent | string {
  // Bytes that are not UTF-8 would be replaced in silence, also in names.
  if (!isUtf8(body)) return `it is not UTF-8: ${beginningOf(body)}`
  const facts = factsOf(body)
  if (!isObject(facts)) return beginningOf(body)
  return pickPokemon(facts) ?? printable(`${eventFault(facts)}`, LONGEST_FAULT)
}

/** The members of which an event is made, or the whole of what the body is; undefined where it is no JSON. */
function factsOf(body: Buffer): unknown {
  const spans = skimMembers(body, ['id', 'name', 'types'])
  if (spans === null) return parse(body)
  const member = (span?: Span) => span && (JSON.parse(body.toString('utf8', span.start, span.end)) as unknown)
  return { id: member(spans.id), name: member(spans.name), types: member(spans.types) }
}

/** Levels of a body that is parsed. PokeAPI's have eight. */
const DEEPEST = 1000

/** @returns undefined where it is no JSON, or nests deeper than anything of use */
export function parse(body: Buffer): unknown {
  if (nestsDeeperThan(DEEPEST, body)) return undefined
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
