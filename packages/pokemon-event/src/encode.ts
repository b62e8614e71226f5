/** Writes an event's key and value: the same event always as the same bytes. */
import { eventFault, type PokemonEvent } from './event.ts'

/**
 * The value: compact JSON, members in the order of the schema, nothing but the facts of the contract.
 * @throws TypeError where the event is not what the schema says: what a producer writes, every consumer must be able to count
 */
export function encodeValue(event: PokemonEvent): Buffer {
  const fault = eventFault(event)
  if (fault !== null) throw new TypeError(`an event was not written, because its ${fault}`)
  const { id, name, types } = event
  return Buffer.from(JSON.stringify({ id, name, types: types.map(({ slot, type }) => ({ slot, type: { name: type.name } })) }))
}

/** The key: the id in decimal, so that all captures of a Pokémon keep their order in one partition. */
export function encodeKey(event: Pick<PokemonEvent, 'id'>): string {
  return String(event.id)
}
