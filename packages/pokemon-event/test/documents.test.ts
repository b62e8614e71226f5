/** The committed documents are those that the code generates, and are valid by the specifications that they name. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import asyncApiSpecs from '@asyncapi/specs'
import { asyncApi, CE_TYPE, HEADER, jsonSchema, MAX_SOURCE_BYTES, TYPE_NAME } from '@poke-api-pipeline/pokemon-event'
import vectors from '@poke-api-pipeline/pokemon-event/vectors.json' with { type: 'json' }
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { asyncApiDocument } from '../documents/async-api.ts'
import { jsonSchemaDocument } from '../documents/json-schema.ts'

const REGENERATE = 'run `npm run generate -w packages/pokemon-event` and commit what it wrote'

describe('the committed documents are generated from the code', () => {
  const committed = { 'asyncapi.json': asyncApi, 'pokemon-event.schema.json': jsonSchema }
  const derived = { 'asyncapi.json': asyncApiDocument(), 'pokemon-event.schema.json': jsonSchemaDocument() }
  for (const file of Object.keys(committed) as (keyof typeof committed)[]) {
    test(file, () => {
      const expected: unknown = JSON.parse(JSON.stringify(derived[file]))
      assert.deepEqual(committed[file], expected, `${file} is not what the code says: ${REGENERATE}`)
    })
  }
})

describe('the JSON Schema', () => {
  test('is a valid schema of the draft that it names', () => {
    const ajv = new Ajv2020({ strict: true, allErrors: true })
    assert.equal(ajv.validateSchema(jsonSchema), true, ajv.errorsText())
    ajv.compile(jsonSchema)
  })

  test('allows unknown members', () => {
    assert.doesNotMatch(JSON.stringify(jsonSchema), /additionalProperties|unevaluatedProperties|propertyNames/)
  })
})

describe('the AsyncAPI document', () => {
  const { pokemonCaptured } = asyncApi.components.messages

  test('is valid by the schema that AsyncAPI publishes', () => {
    // Not strict, because that schema has members that JSON Schema does not have; and without draft 7, which it contains itself.
    const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false })
    formats.default(ajv)
    const validate = ajv.compile(asyncApiSpecs.schemas['3.0.0'] as object)
    assert.ok(validate(asyncApi), ajv.errorsText(validate.errors))
  })

  test('has no broken references', () => {
    const references = [...JSON.stringify(asyncApi).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path as string)
    assert.ok(references.length > 0)
    for (const path of references) {
      const target = path.split('/').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], asyncApi)
      assert.ok(target, `#/${path} leads nowhere`)
    }
  })

  test('has the JSON Schema as its payload', () => {
    const { $schema, $id, ...schema } = jsonSchema
    assert.deepEqual(pokemonCaptured.payload, schema)
  })

  test('has the write vectors as examples, valid by its own schemas', () => {
    // AsyncAPI's schemas are those of draft 7, which is Ajv's default.
    const ajv = new Ajv({ strict: true, allErrors: true })
    formats.default(ajv)
    const headers = ajv.compile(pokemonCaptured.headers)
    const payload = ajv.compile(pokemonCaptured.payload)
    const key = ajv.compile(pokemonCaptured.bindings.kafka.key)
    assert.equal(pokemonCaptured.examples.length, vectors.write.length)
    for (const example of pokemonCaptured.examples) {
      assert.ok(headers(example.headers), `${example.name}: ${ajv.errorsText(headers.errors)}`)
      assert.ok(payload(example.payload), `${example.name}: ${ajv.errorsText(payload.errors)}`)
    }
    for (const { name, record } of vectors.write) assert.ok(key(record.key.text), `${name}: ${ajv.errorsText(key.errors)}`)
  })

  test('has every header that is written, and the name of the event', () => {
    assert.deepEqual(Object.keys(pokemonCaptured.headers.properties).sort(), Object.values(HEADER).sort())
    assert.equal(pokemonCaptured.headers.properties.ce_type.const, CE_TYPE)
    assert.equal(pokemonCaptured.headers.properties.ce_source.maxLength, MAX_SOURCE_BYTES)
    assert.equal(pokemonCaptured.payload.properties.types.items.properties.type.properties.name.pattern, TYPE_NAME.source)
  })
})
