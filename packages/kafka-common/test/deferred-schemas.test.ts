/** The change to Ajv makes the Kafka client load faster, and changes nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { deferSchemas } from '../src/deferred-schemas.ts'

test('the Kafka client compiles a schema at its first validation, once, with the same results', async () => {
  let compiled = 0
  const { compile } = Ajv2020.prototype
  Ajv2020.prototype.compile = function (this: Ajv2020, ...schema: Parameters<typeof compile>) {
    compiled++
    return compile.apply(this, schema)
  } as typeof compile
  deferSchemas()

  const { Admin } = await import('@platformatic/kafka')
  assert.equal(compiled, 0)
  const strict = (options: object) => new Admin({ clientId: 'test', bootstrapBrokers: ['127.0.0.1:9'], strict: true, ...options })
  assert.throws(() => strict({ clientId: 1 }), /\/options\/clientId must be string/)
  const first = compiled
  assert.ok(first > 0 && first < 5, `${first} schemas`)
  assert.throws(() => strict({ bootstrapBrokers: 'one' }), /\/options\/bootstrapBrokers must be array/)
  await strict({}).close()
  assert.equal(compiled, first)
})
