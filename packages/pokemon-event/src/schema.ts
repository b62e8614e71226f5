/**
 * The schema of the event. The TypeScript type, the JSON Schema and the AsyncAPI document are derived from it.
 *
 * Services import only its type, because loading TypeBox would take a quarter of a second at each start. `event.ts` and `decode.ts` contain the same
 * checks written by hand, and a test compares them with the schema. Tools that need the schema import `pokemon-event/schema`.
 */
import Type from 'typebox'
import { CE_TYPE, CONTENT_TYPE, HEADER, MAX_SOURCE_BYTES, SEQUENCE_DIGITS, SOURCE_PREFIX, SPEC_VERSION } from './headers.ts'
import { MAX_NAME_LENGTH, MAX_TYPES, TYPE_NAME } from './limits.ts'

const TypeNameSchema = Type.String({
  pattern: TYPE_NAME.source,
  description: 'The name of the type in PokeAPI, which is what is counted.',
})

/** What a producer writes. Further members are allowed everywhere, and not read. */
export const PokemonEventSchema = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: "The Pokémon's id in PokeAPI." }),
    name: Type.String({ minLength: 1, maxLength: MAX_NAME_LENGTH, description: "The Pokémon's name in PokeAPI." }),
    types: Type.Array(
      Type.Object({
        slot: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'The place of the type in the list, from 1.' }),
        type: Type.Object({ name: TypeNameSchema }),
      }),
      {
        minItems: 1,
        maxItems: MAX_TYPES,
        description: 'The types that the Pokémon has now, by rising slot. A type that is named twice counts once.',
      },
    ),
  },
  { title: 'PokemonEvent', description: 'A Pokémon was captured: which one, and its types.' },
)

/** What a consumer needs to count a record: less than a producer writes. */
export const CountableEventSchema = Type.Object({
  types: Type.Array(Type.Object({ type: Type.Object({ name: TypeNameSchema }) }), { minItems: 1, maxItems: MAX_TYPES }),
})

/** What a producer writes into the headers: CloudEvents 1.0 in Kafka's binary mode, each a string in UTF-8. */
export const HeadersSchema = Type.Object(
  {
    [HEADER.specversion]: Type.Literal(SPEC_VERSION),
    [HEADER.type]: Type.Literal(CE_TYPE),
    [HEADER.source]: Type.String({
      minLength: 1,
      maxLength: MAX_SOURCE_BYTES,
      description: `Who numbers the events: one run of one producer, named by nobody else ever. At most ${MAX_SOURCE_BYTES} bytes.`,
      examples: [`${SOURCE_PREFIX}01JDPT6Q0M8YXKZ3V5W7N9R2AB`],
    }),
    [HEADER.id]: Type.String({ minLength: 1, description: 'Unique within its source; the same as the sequence.' }),
    [HEADER.sequence]: Type.String({
      pattern: `^[0-9]{${SEQUENCE_DIGITS}}$`,
      description: 'Rises by one with each event of a source, at most 2^53−1. The same again is the same event sent again.',
    }),
    [HEADER.time]: Type.Optional(Type.String({ format: 'date-time', description: 'When it was captured.' })),
    [HEADER.origin]: Type.Optional(Type.Enum(['live', 'bundled'], { description: 'From the live API, or from a bundled copy of it.' })),
    [HEADER.contentType]: Type.Optional(Type.Literal(CONTENT_TYPE)),
    [HEADER.traceparent]: Type.Optional(
      Type.String({ pattern: '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}', description: 'W3C Trace Context.' }),
    ),
  },
  { title: 'PokemonEventHeaders' },
)
