/** The decoded event: a Pokémon, or the reason why the value is none. */
import { decodeValue } from '@poke-api-pipeline/pokemon-event'
import type { DeadLetterReason } from './dead-letter.ts'

export interface Pokemon {
  readonly id: number
  readonly name: string
  /** Each type once, in the event's order. */
  readonly types: readonly string[]
}

/**
 * Decodes a record's value. Never throws.
 * @param value the bytes, or null where the record has none
 * @returns the Pokémon, or the reason why the value is none
 */
export function decodePokemon(value: Buffer | null): Pokemon | DeadLetterReason {
  const decoded = decodeValue(value)
  if (!decoded.ok) return decoded.reason
  const { id, name, types } = decoded.event
  const names: string[] = []
  for (const { type } of types) if (!names.includes(type.name)) names.push(type.name)
  return { id, name, types: names }
}
