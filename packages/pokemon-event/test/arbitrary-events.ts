/** Events, values that are nearly events, and bytes that are nearly those of an event, for property tests. */
import fc from 'fast-check'
import type { PokemonEvent } from '../src/event.ts'
import { MAX_NAME_LENGTH, MAX_TYPES } from '../src/limits.ts'

/** JSON.stringify writes −0 as 0. */
const positive = fc.maxSafeNat().map((n) => n + 1 - Number(n === Number.MAX_SAFE_INTEGER))

const typeName = fc.oneof(
  fc.constantFrom('electric', 'fire', 'bug', 'constructor', 'a', '-', '0', 'z'.repeat(64)),
  fc.stringMatching(/^[a-z0-9-]{1,64}$/),
)

const name = fc.oneof(
  fc.stringMatching(/^[a-z-]{1,27}$/),
  fc.string({ unit: 'binary', minLength: 1, maxLength: MAX_NAME_LENGTH }),
  fc.constantFrom('x'.repeat(MAX_NAME_LENGTH), '🌼'.repeat(MAX_NAME_LENGTH), '\0', '"', '\\', '\ud83d', '\x7f'),
)

/** Any event that the schema allows, without further members. */
export const pokemonEvents: fc.Arbitrary<PokemonEvent> = fc.record(
  {
    id: positive,
    name,
    types: fc.array(
      fc.record(
        { slot: fc.oneof(fc.integer({ min: 1, max: 10 }), positive), type: fc.record({ name: typeName }, { noNullPrototype: true }) },
        { noNullPrototype: true },
      ),
      {
        minLength: 1,
        maxLength: MAX_TYPES,
        size: 'small',
      },
    ),
  },
  { noNullPrototype: true },
)

const oddities = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    0,
    1,
    1.5,
    -1,
    2 ** 53,
    1e300,
    '',
    '1',
    'Fire',
    'fire\n',
    'fire',
    'a'.repeat(65),
    'x'.repeat(MAX_NAME_LENGTH + 1),
    '🌼'.repeat(MAX_NAME_LENGTH + 1),
    true,
    [],
    {},
    { name: 'fire' },
    [{ slot: 1, type: { name: 'fire' } }],
  ),
  fc.jsonValue({ maxDepth: 3 }),
)

/** JSON values, most of which differ from an event in one place: replaced, left out, added, or wrapped. */
export const nearlyEvents: fc.Arbitrary<unknown> = fc.oneof(
  pokemonEvents,
  fc
    .tuple(pokemonEvents, fc.nat(), fc.constantFrom('replace', 'remove', 'add'), fc.string(), oddities)
    .map(([event, place, change, member, odd]) => {
      const copy = JSON.parse(JSON.stringify({ event }))
      const places = placesIn(copy)
      const [parent, key] = places[place % places.length] as [Record<string, unknown>, string]
      if (change === 'replace') parent[key] = odd
      else if (change === 'add' && member !== '__proto__') parent[Array.isArray(parent) ? parent.length : member] = odd
      else if (Array.isArray(parent)) parent.splice(Number(key), 1)
      else delete parent[key]
      return copy.event ?? null
    }),
  fc
    .array(fc.constant({ slot: 1, type: { name: 'fire' } }), { minLength: MAX_TYPES - 1, maxLength: MAX_TYPES + 1, size: 'max' })
    .map((types) => ({ id: 1, name: 'x', types })),
  oddities,
)

function placesIn(value: object): [parent: object, key: string][] {
  return Object.entries(value).flatMap(([key, member]) => [
    [value, key] as [object, string],
    ...(typeof member === 'object' && member !== null ? placesIn(member) : []),
  ])
}

/** Events like PokeAPI's: short names in ASCII, one or two types in slots of one digit. */
const plainEvents: fc.Arbitrary<PokemonEvent> = fc.record(
  {
    id: fc.oneof(fc.integer({ min: 1, max: 20_000 }), positive),
    name: fc.stringMatching(/^[ -~]{1,12}$/),
    types: fc.array(
      fc.record(
        { slot: fc.integer({ min: 1, max: 9 }), type: fc.record({ name: typeName }, { noNullPrototype: true }) },
        { noNullPrototype: true },
      ),
      {
        minLength: 1,
        maxLength: 2,
      },
    ),
  },
  { noNullPrototype: true },
)

const bytes = fc.oneof(fc.constantFrom(...Buffer.from('"\\,:{}[]019az-_A \0\x1f\x7f')), fc.nat(255))

/** The bytes of an encoded event: unchanged, cut off, rotated, or with one byte replaced, removed or doubled. */
export const nearlyCanonical: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof({ weight: 4, arbitrary: plainEvents }, pokemonEvents),
    fc.nat(),
    fc.constantFrom('none', 'replace', 'remove', 'double', 'cut', 'turn'),
    bytes,
  )
  .map(([event, place, change, byte]) => {
    const whole = Buffer.from(JSON.stringify(event))
    const at = place % whole.length
    switch (change) {
      case 'replace':
        whole[at] = byte
        return whole
      case 'remove':
        return Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1)])
      case 'double':
        return Buffer.concat([whole.subarray(0, at + 1), whole.subarray(at)])
      case 'turn':
        return Buffer.concat([whole.subarray(at), whole.subarray(0, at)])
      case 'cut':
        return whole.subarray(0, at)
      default:
        return whole
    }
  })
