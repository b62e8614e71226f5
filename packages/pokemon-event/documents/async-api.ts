/** Topic, key, value and headers as an AsyncAPI document (https://www.asyncapi.com/docs/reference/specification/v3.0.0): `asyncapi.json`. */
import { CE_TYPE, CONTENT_TYPE } from '../src/headers.ts'
import { HeadersSchema, PokemonEventSchema } from '../src/schema.ts'
import vectors from '../vectors.json' with { type: 'json' }
import { plain } from './json-schema.ts'

const KAFKA_BINDING = '0.5.0'

export function asyncApiDocument() {
  return plain({
    asyncapi: '3.0.0',
    id: `urn:poke-api-pipeline:${CE_TYPE}`,
    info: {
      title: 'Captured Pokémon',
      version: '1.0.0',
      description:
        'What producers of captured Pokémon write to the topic, and what consumers count. docs/contract.md says what may change.',
      license: { name: 'MIT' },
    },
    defaultContentType: CONTENT_TYPE,
    channels: {
      captures: {
        address: 'poke-topic',
        title: 'Captures',
        description: 'Every capture, for ever. The name is a setting (KAFKA_TOPIC). The topic must not be compacted: each record counts.',
        messages: { pokemonCaptured: { $ref: '#/components/messages/pokemonCaptured' } },
        bindings: {
          kafka: {
            topicConfiguration: { 'cleanup.policy': ['delete'], 'retention.ms': -1, 'retention.bytes': -1 },
            bindingVersion: KAFKA_BINDING,
          },
        },
      },
    },
    operations: {
      capture: {
        action: 'send',
        title: 'A Pokémon was captured',
        description: 'Done by poke-api-producer, and by whoever else writes what the vectors say.',
        channel: { $ref: '#/channels/captures' },
        messages: [{ $ref: '#/channels/captures/messages/pokemonCaptured' }],
      },
      count: {
        action: 'receive',
        title: 'Its types are counted',
        description: 'Done by poke-api-consumer: each type once for each capture, and each capture once.',
        channel: { $ref: '#/channels/captures' },
        messages: [{ $ref: '#/channels/captures/messages/pokemonCaptured' }],
      },
    },
    components: {
      messages: {
        pokemonCaptured: {
          name: CE_TYPE,
          title: 'A Pokémon was captured',
          contentType: CONTENT_TYPE,
          headers: HeadersSchema,
          payload: PokemonEventSchema,
          bindings: {
            kafka: {
              key: { type: 'string', pattern: '^[1-9][0-9]{0,15}$', description: 'The id in decimal.' },
              bindingVersion: KAFKA_BINDING,
            },
          },
          examples: vectors.write.map(({ name, event, record }) => ({
            name,
            headers: Object.fromEntries(record.headers.map((header) => [header.name, header.value.text])),
            payload: event,
          })),
        },
      },
    },
  })
}
