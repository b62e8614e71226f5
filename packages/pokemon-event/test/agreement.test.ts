/** Schema, JSON Schema, AsyncAPI payload and the checks that run in the services accept the same values. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import {
  asyncApi,
  decodeValue,
  encodeValue,
  eventFault,
  isPokemonEvent,
  jsonSchema,
  type PokemonEvent,
  pickPokemon,
} from '@poke-api-pipeline/pokemon-event'
import { CountableEventSchema, PokemonEventSchema } from '@poke-api-pipeline/pokemon-event/schema'
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { Compile } from 'typebox/compile'
import { nearlyEvents, pokemonEvents } from './arbitrary-events.ts'

const compiled = Compile(PokemonEventSchema)
const countable = Compile(CountableEventSchema)
const byJsonSchema = new Ajv2020().compile<PokemonEvent>(jsonSchema)
const byAsyncApi = new Ajv().compile<PokemonEvent>(asyncApi.components.messages.pokemonCaptured.payload)

test('every validator accepts and refuses the same values', () => {
  let accepted = 0
  let refused = 0
  fc.assert(
    fc.property(nearlyEvents, (value) => {
      const verdict = compiled.Check(value)
      assert.equal(isPokemonEvent(value), verdict, `by hand: ${eventFault(value)}`)
      assert.equal(byJsonSchema(value), verdict, 'by the JSON Schema')
      assert.equal(byAsyncApi(value), verdict, 'by the AsyncAPI payload')
      if (verdict) accepted++
      else refused++
    }),
    { numRuns: 5000 },
  )
  assert.ok(accepted > 500 && refused > 500, `a test of both needs both: ${accepted} accepted, ${refused} refused`)
})

test('exactly the values that the countable schema accepts are decoded', () => {
  let accepted = 0
  let refused = 0
  fc.assert(
    fc.property(nearlyEvents, (value) => {
      const decoded = decodeValue(Buffer.from(JSON.stringify(value)))
      assert.equal(decoded.ok, countable.Check(value), JSON.stringify(decoded))
      if (decoded.ok) accepted++
      else refused++
    }),
    { numRuns: 5000 },
  )
  assert.ok(accepted > 500 && refused > 500, `a test of both needs both: ${accepted} accepted, ${refused} refused`)
})

test('every event can be counted, and is decoded as it was written', () => {
  fc.assert(
    fc.property(pokemonEvents, (event) => {
      assert.deepEqual(decodeValue(encodeValue(event)), { ok: true, event })
    }),
    { numRuns: 2000 },
  )
})

test('an invalid event is neither picked nor written', () => {
  fc.assert(
    fc.property(nearlyEvents, (value) => {
      const event = isPokemonEvent(value)
      assert.equal(pickPokemon(value) !== null, event)
      if (event) encodeValue(value)
      else assert.throws(() => encodeValue(value as PokemonEvent), TypeError)
    }),
    { numRuns: 2000 },
  )
})

test('the services do not load TypeBox, which would slow each start by a quarter of a second', () => {
  const script = `
    import { registerHooks } from 'node:module'
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier.startsWith('typebox')) throw new Error(specifier + ' is loaded by ' + context.parentURL)
        return next(specifier, context)
      },
    })
    await import('@poke-api-pipeline/pokemon-event')
    await import('typebox').then(() => { throw new Error('the hook hears nothing') }, () => {})`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
})
