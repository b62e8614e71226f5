/** The contract between producers of captured Pokémon and consumers that count their types. Nothing here loads TypeBox (see `schema.ts`). */
export { default as asyncApi } from '../asyncapi.json' with { type: 'json' }
export { default as jsonSchema } from '../pokemon-event.schema.json' with { type: 'json' }
export { type DecodeFailure, type DecodeResult, decodeValue } from './decode.ts'
export { encodeKey, encodeValue } from './encode.ts'
export { eventFault, isObject, isPokemonEvent, type PokemonEvent } from './event.ts'
export {
  CE_TYPE,
  CONTENT_TYPE,
  EVENT_IDENTITY,
  type EventHeaders,
  encodeHeaders,
  formatSequence,
  HEADER,
  MAX_LEAP,
  MAX_SOURCE_BYTES,
  SEQUENCE_DIGITS,
  SOURCE_PREFIX,
} from './headers.ts'
export { type Identity, readIdentity } from './identity.ts'
export { MAX_NAME_LENGTH, MAX_TYPES, MAX_VALUE_BYTES, TYPE_NAME } from './limits.ts'
export { pickPokemon } from './pick-pokemon.ts'
export { endOfHead } from './value-head.ts'
