/** Encoding events: the exact bytes, and no event that a consumer could not count. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeKey, encodeValue } from '../src/encode.ts'
import { eventFault, type PokemonEvent } from '../src/event.ts'

const PIKACHU: PokemonEvent = { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] }

test('the value is compact JSON in one order of members', () => {
  assert.equal(encodeValue(PIKACHU).toString(), '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}')
  assert.deepEqual(encodeValue({ types: PIKACHU.types, name: 'pikachu', id: 25 }), encodeValue(PIKACHU))
})

test('members that the schema does not have are left out', () => {
  const rich = { ...PIKACHU, height: 4, types: [{ slot: 1, type: { name: 'electric', url: '/api/v2/type/13/' } }] }
  assert.deepEqual(encodeValue(rich), encodeValue(PIKACHU))
})

test('the key is the id in decimal', () => {
  assert.equal(encodeKey(PIKACHU), '25')
  assert.equal(encodeKey({ id: Number.MAX_SAFE_INTEGER }), '9007199254740991')
})

test('an invalid event is not written, and the message says what is wrong with it', () => {
  const type = (slot: unknown, name: unknown) => ({ ...PIKACHU, types: [{ slot, type: { name } }] })
  const cases: [unknown, string][] = [
    [null, 'value must be an object, but is null'],
    [[PIKACHU], 'value must be an object, but is a list of 1'],
    [{ ...PIKACHU, id: '25' }, 'id must be an integer from 1 to 9007199254740991, but is "25"'],
    [{ ...PIKACHU, id: 0 }, 'id must be an integer from 1 to 9007199254740991, but is 0'],
    [{ ...PIKACHU, name: undefined }, 'name must be a text of 1 to 100 characters, but is missing'],
    [{ ...PIKACHU, name: 'x'.repeat(500) }, `name must be a text of 1 to 100 characters, but is "${'x'.repeat(100)}…"`],
    [{ ...PIKACHU, types: [] }, 'types is empty'],
    [{ ...PIKACHU, types: { electric: true } }, 'types must be a list of 1 to 64 types, but is an object'],
    [{ ...PIKACHU, types: ['electric'] }, 'types[0] must be an object, but is "electric"'],
    [type(0, 'electric'), 'types[0].slot must be an integer from 1 on, but is 0'],
    [{ ...PIKACHU, types: [...PIKACHU.types, { slot: 2 }] }, 'types[1].type must be an object, but is missing'],
    [type(1, 'Electric'), 'types[0].type.name must be 1 to 64 of the characters a-z, 0-9 and -, but is "Electric"'],
  ]
  for (const [value, fault] of cases) {
    assert.equal(eventFault(value), fault)
    assert.throws(() => encodeValue(value as PokemonEvent), {
      name: 'TypeError',
      message: `an event was not written, because its ${fault}`,
    })
  }
  assert.equal(eventFault(PIKACHU), null)
})
