/** Encodes an event's key and value. Equal events have equal bytes. */
import { eventFault, type PokemonEvent } from './event.ts'

/**
 * The value: compact JSON with only the members of the schema, in its order.
 * @throws TypeError if the event does not match the schema, because every consumer must be able to count it
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
