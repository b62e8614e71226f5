/** The schema as a JSON Schema document (draft 2020-12): `pokemon-event.schema.json`. */
import { CE_TYPE } from '../src/headers.ts'
import { PokemonEventSchema } from '../src/schema.ts'

export function jsonSchemaDocument() {
  return plain({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:poke-api-pipeline:${CE_TYPE}`,
    ...PokemonEventSchema,
  })
}

/** The same as plain JSON: TypeBox marks its schemas with hidden members. */
export function plain<T>(document: T): T {
  return JSON.parse(JSON.stringify(document)) as T
}
