/**
 * Test vectors, so that a service in another language can prove itself: `vectors.json`. What is expected is written here by hand; the
 * code is held to it by a test, and gives nothing but the hexadecimal form of what stands here as text.
 */

import type { DecodeFailure } from '../src/decode.ts'
import { encodeKey, encodeValue } from '../src/encode.ts'
import type { PokemonEvent } from '../src/event.ts'
import { CE_TYPE, type EventHeaders, encodeHeaders, HEADER, MAX_SOURCE_BYTES } from '../src/headers.ts'
import type { Identity } from '../src/identity.ts'
import { MAX_TYPES, MAX_VALUE_BYTES } from '../src/limits.ts'

/** Bytes, and what they say where they are UTF-8. */
export interface Bytes {
  readonly text?: string
  readonly hex: string
  /** So many spaces (0x20) follow. */
  readonly spaces?: number
}

export interface WriteVector {
  readonly name: string
  readonly event: PokemonEvent
  readonly source: string
  readonly sequence: number
  readonly time: string
  readonly origin: 'live' | 'bundled'
  readonly traceparent?: string
  readonly record: {
    readonly key: Bytes
    readonly value: Bytes
    readonly headers: readonly { readonly name: string; readonly value: Bytes }[]
  }
}

export interface ReadVector {
  readonly name: string
  readonly value: Bytes | null
  /** The types that are counted, or… */
  readonly counted?: readonly string[]
  /** …why none is. */
  readonly reason?: DecodeFailure
}

export interface IdentityVector extends Identity {
  readonly name: string
  readonly headers: readonly { readonly name: string; readonly value: Bytes | null }[]
}

export function vectorsDocument() {
  return {
    description:
      'Proofs for services in any language; docs/contract.md says how to use them. "write": the record that a producer makes of an event. ' +
      '"read": what a consumer counts in a value, or why it keeps it as a dead letter. "identity": what a consumer takes from headers (rule C1). ' +
      'Bytes are in "hex" and followed by as many spaces (0x20) as "spaces" says; "text" shows those that are UTF-8. null: no value at all.',
    write: writeVectors(),
    read: readVectors(),
    identity: identityVectors(),
  }
}

export function writeVectors(): WriteVector[] {
  const source = '/poke-api-producer/01JDPT6Q0M8YXKZ3V5W7N9R2AB'
  return [
    write('one type', {
      event: { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] },
      source,
      sequence: 1,
      time: '2026-11-24T09:00:00.000Z',
      origin: 'live',
    }),
    write('two types', {
      event: {
        id: 6,
        name: 'charizard',
        types: [
          { slot: 1, type: { name: 'fire' } },
          { slot: 2, type: { name: 'flying' } },
        ],
      },
      source,
      sequence: 2,
      time: '2026-11-24T09:01:00.000Z',
      origin: 'bundled',
    }),
    write('a form with an id past 10000, traced', {
      event: {
        id: 10034,
        name: 'charizard-mega-x',
        types: [
          { slot: 1, type: { name: 'fire' } },
          { slot: 2, type: { name: 'dragon' } },
        ],
      },
      source,
      sequence: 3,
      time: '2026-11-24T09:02:00.000Z',
      origin: 'live',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    }),
    write('the largest id and sequence, and a name to be escaped', {
      event: { id: Number.MAX_SAFE_INTEGER, name: 'Flabébé "\\" 🌼', types: [{ slot: 1, type: { name: 'fairy' } }] },
      source: '/x',
      sequence: Number.MAX_SAFE_INTEGER,
      time: '2026-11-24T09:03:00.000Z',
      origin: 'live',
    }),
  ]
}

function write(name: string, given: EventHeaders & { event: PokemonEvent }): WriteVector {
  const { event, ...headers } = given
  return {
    name,
    event,
    ...(headers as Omit<WriteVector, 'name' | 'event' | 'record'>),
    record: {
      key: bytesOf(encodeKey(event)),
      value: bytesOf(encodeValue(event)),
      headers: encodeHeaders(headers).map(([header, value]) => ({ name: header, value: bytesOf(value) })),
    },
  }
}

const PIKACHU = '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'

function readVectors(): ReadVector[] {
  const types = (names: string[]) => `{"types":[${names.map((name) => `{"type":{"name":${JSON.stringify(name)}}}`).join()}]}`
  return [
    counts('as we write it', PIKACHU, ['electric']),
    counts(
      'types in their order',
      '{"id":6,"name":"charizard","types":[{"slot":1,"type":{"name":"fire"}},{"slot":2,"type":{"name":"flying"}}]}',
      ['fire', 'flying'],
    ),
    counts('spaces, as Python writes them', '{"id": 25, "name": "pikachu", "types": [{"slot": 1, "type": {"name": "electric"}}]}', [
      'electric',
    ]),
    counts('members in another order', '{"types":[{"type":{"name":"electric"},"slot":1}],"name":"pikachu","id":25}', ['electric']),
    counts(
      'unknown members everywhere, as in a body of PokeAPI',
      '{"id":25,"name":"pikachu","height":4,"past_types":[{"types":[{"slot":1,"type":{"name":"normal"}}]}],' +
        '"types":[{"slot":1,"type":{"name":"electric","url":"https://pokeapi.co/api/v2/type/13/"}}]}',
      ['electric'],
    ),
    counts('the types alone', '{"types":[{"type":{"name":"electric"}}]}', ['electric']),
    counts('an id, a name and a slot of other kinds', '{"id":"25","name":null,"types":[{"slot":0.5,"type":{"name":"electric"}}]}', [
      'electric',
    ]),
    counts('an id larger than any number', '{"id":1e999,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}', ['electric']),
    counts('a type named twice counts once', types(['electric', 'electric']), ['electric']),
    counts('a type that is new', types(['stellar-2']), ['stellar-2']),
    counts('a type that is named like a member of every object', types(['constructor']), ['constructor']),
    counts('escaped letters', '{"types":[{"type":{"name":"\\u0065lectric"}}]}', ['electric']),
    counts('the last of repeated members', '{"types":[{"type":{"name":"fire"}}],"types":[{"type":{"name":"water"}}]}', ['water']),
    counts('letters beyond ASCII', '{"id":669,"name":"Flabébé","types":[{"slot":1,"type":{"name":"fairy"}}]}', ['fairy']),
    counts('a byte order mark', `\ufeff${PIKACHU}`, ['electric']),
    counts('a type name of 64 characters', types(['a'.repeat(64)]), ['a'.repeat(64)]),
    counts(
      `${MAX_TYPES} types`,
      types(Array.from({ length: MAX_TYPES }, (_, i) => `t${i}`)),
      Array.from({ length: MAX_TYPES }, (_, i) => `t${i}`),
    ),
    counts('a member that is deeply nested', `{"deep":${'['.repeat(500)}${']'.repeat(500)},${types(['electric']).slice(1)}`, ['electric']),
    counts(`exactly ${MAX_VALUE_BYTES} bytes`, PIKACHU, ['electric'], MAX_VALUE_BYTES - PIKACHU.length),

    { name: 'no value', value: null, reason: 'null-value' },
    refuses('nothing', '', 'empty-value'),
    refuses(`one byte more than ${MAX_VALUE_BYTES}`, PIKACHU, 'too-large', MAX_VALUE_BYTES - PIKACHU.length + 1),
    refuses('a byte that is not UTF-8', Buffer.from(PIKACHU.replace('u', '\xff'), 'latin1'), 'not-utf8'),
    refuses('Latin-1', Buffer.from('{"name":"Flabébé","types":[{"type":{"name":"fairy"}}]}', 'latin1'), 'not-utf8'),
    refuses('an overlong form', Buffer.from('{"types":[{"type":{"name":"\xc1\xa5lectric"}}]}', 'latin1'), 'not-utf8'),
    refuses('a surrogate', Buffer.from('{"name":"\xed\xa0\xbd","types":[{"type":{"name":"fairy"}}]}', 'latin1'), 'not-utf8'),
    refuses('a letter cut in two', Buffer.from('{"name":"Flabéb\xc3', 'latin1'), 'not-utf8'),
    refuses('spaces', '  ', 'not-json'),
    refuses('words', 'OK', 'not-json'),
    refuses('NUL', '\0', 'not-json'),
    refuses('cut off', PIKACHU.slice(0, -1), 'not-json'),
    refuses('something behind it', `${PIKACHU}}`, 'not-json'),
    refuses('two values', `${PIKACHU}${PIKACHU}`, 'not-json'),
    refuses('UTF-16', Buffer.from(PIKACHU, 'utf16le'), 'not-json'),
    refuses('two byte order marks', `\ufeff\ufeff${PIKACHU}`, 'not-json'),
    refuses('a raw NUL in a text', PIKACHU.replace('pika', 'pi\0a'), 'not-json'),
    refuses('not a number', PIKACHU.replace('25', 'NaN'), 'not-json'),
    refuses('a leading zero', PIKACHU.replace('25', '025'), 'not-json'),
    refuses('single quotes', PIKACHU.replaceAll('"', "'"), 'not-json'),
    refuses('a comma too many', PIKACHU.replace(']', ',]'), 'not-json'),
    refuses('brackets that are never closed', '['.repeat(1000), 'not-json'),
    ...['null', 'true', '25', '"pikachu"', '[]', '{}'].map((text) => refuses(text, text, 'wrong-shape')),
    refuses('a list of events', `[${PIKACHU}]`, 'wrong-shape'),
    refuses('JSON in a text', JSON.stringify(PIKACHU), 'wrong-shape'),
    refuses('no types', '{"id":25,"name":"pikachu"}', 'wrong-shape'),
    refuses('types that are null', '{"id":25,"name":"pikachu","types":null}', 'wrong-shape'),
    refuses('an empty list of types', '{"id":25,"name":"pikachu","types":[]}', 'wrong-shape'),
    refuses('types that are no list', '{"types":{"0":{"type":{"name":"electric"}},"length":1}}', 'wrong-shape'),
    refuses('types as texts', '{"types":["electric"]}', 'wrong-shape'),
    refuses('a type as a text', '{"types":[{"slot":1,"type":"electric"}]}', 'wrong-shape'),
    refuses('a type as a list', '{"types":[{"slot":1,"type":["electric"]}]}', 'wrong-shape'),
    refuses('a type without a name', '{"types":[{"slot":1,"type":{}}]}', 'wrong-shape'),
    refuses('a type whose name is a number', '{"types":[{"slot":1,"type":{"name":13}}]}', 'wrong-shape'),
    refuses('one type of two without a name', '{"types":[{"type":{"name":"fire"}},{"type":{}}]}', 'wrong-shape'),
    refuses('a shape that is wrong behind a name that is bad', '{"types":[{"type":{"name":"Fire"}},{"type":{}}]}', 'wrong-shape'),
    refuses('the event in another one', `{"data":${PIKACHU}}`, 'wrong-shape'),
    refuses('the types in __proto__', '{"__proto__":{"types":[{"type":{"name":"electric"}}]}}', 'wrong-shape'),
    refuses(`${MAX_TYPES + 1} types`, types(Array(MAX_TYPES + 1).fill('electric')), 'wrong-shape'),
    refuses('a type with an empty name', types(['']), 'bad-type-name'),
    refuses('a type in capitals', types(['Electric']), 'bad-type-name'),
    refuses('a type with a space', types(['electric ']), 'bad-type-name'),
    refuses('a type with a line break', types(['electric\n']), 'bad-type-name'),
    refuses('a type with NUL', '{"types":[{"type":{"name":"elec\\u0000tric"}}]}', 'bad-type-name'),
    refuses('a type with half a character', '{"types":[{"type":{"name":"\\ud83d"}}]}', 'bad-type-name'),
    refuses('a type named __proto__', types(['__proto__']), 'bad-type-name'),
    refuses('a type in other letters', types(['électrik']), 'bad-type-name'),
    refuses('a type name of 65 characters', types(['a'.repeat(65)]), 'bad-type-name'),
    refuses('one type of two with a bad name', types(['fire', 'Flying']), 'bad-type-name'),
  ]
}

function counts(name: string, value: string, counted: readonly string[], spaces?: number): ReadVector {
  return { name, value: bytesOf(value, spaces), counted }
}

function refuses(name: string, value: string | Buffer, reason: DecodeFailure, spaces?: number): ReadVector {
  return { name, value: bytesOf(value, spaces), reason }
}

function identityVectors(): IdentityVector[] {
  const type = [HEADER.type, CE_TYPE] as const
  const source = [HEADER.source, '/them/1'] as const
  const sequence = [HEADER.sequence, '0000000000000042'] as const
  const ours = (name: string, headers: HeaderText[], of: string, number: number) => identity(name, headers, 'ours', of, number)
  const unrecognised = (name: string, headers: HeaderText[]) => identity(name, headers, 'ours', null, -1)
  const other = (name: string, headers: HeaderText[]) => identity(name, headers, 'other', null, -1)
  const unknown = (name: string, headers: HeaderText[]) => identity(name, headers, 'unknown', null, -1)
  return [
    ours('all three', [type, source, sequence], '/them/1', 42),
    ours('in another order, among others', [['a', 'b'], sequence, ['ce_id', '7'], source, ['a', null], type], '/them/1', 42),
    ours('the first number', [type, source, [HEADER.sequence, '0000000000000000']], '/them/1', 0),
    ours('the last number', [type, source, [HEADER.sequence, '9007199254740991']], '/them/1', Number.MAX_SAFE_INTEGER),
    ours(
      `a source of ${MAX_SOURCE_BYTES} bytes`,
      [type, [HEADER.source, 's'.repeat(MAX_SOURCE_BYTES)], sequence],
      's'.repeat(MAX_SOURCE_BYTES),
      42,
    ),
    ours('a source beyond ASCII', [type, [HEADER.source, '/pokédex'], sequence], '/pokédex', 42),

    unrecognised('our type alone', [type]),
    unrecognised('our type twice', [type, type, source, sequence]),
    unrecognised('no source', [type, sequence]),
    unrecognised('two sources', [type, source, source, sequence]),
    unrecognised('a source that is null', [type, [HEADER.source, null], sequence]),
    unrecognised('a source that is empty', [type, [HEADER.source, ''], sequence]),
    unrecognised(`a source of ${MAX_SOURCE_BYTES + 1} bytes`, [type, [HEADER.source, 's'.repeat(MAX_SOURCE_BYTES + 1)], sequence]),
    unrecognised('a source longer in bytes than in letters', [type, [HEADER.source, 'é'.repeat(MAX_SOURCE_BYTES / 2 + 1)], sequence]),
    unrecognised('a source that is not UTF-8', [type, [HEADER.source, Buffer.from('/them/\xff', 'latin1')], sequence]),
    unrecognised('a source with NUL', [type, [HEADER.source, '/them/\0'], sequence]),
    unrecognised('no sequence', [type, source]),
    unrecognised('two sequences', [type, source, sequence, sequence]),
    unrecognised('a sequence that is null', [type, source, [HEADER.sequence, null]]),
    ...[
      '',
      '42',
      '000000000000042',
      '00000000000000042',
      '000000000000004a',
      ' 000000000000042',
      '-000000000000042',
      '9007199254740992',
    ].map((digits) => unrecognised(`the sequence '${digits}'`, [type, source, [HEADER.sequence, digits]])),

    other('no headers', []),
    other('headers of somebody else', [['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']]),
    other('no type', [source, sequence]),
    other('names are compared by their bytes', [['CE_TYPE', CE_TYPE], source, sequence]),
    other('a name that begins like ours', [[`${HEADER.type}x`, 'x'], source, sequence]),

    unknown('another type', [[HEADER.type, 'pokemon.captured.v2'], source, sequence]),
    unknown('a type that begins like ours', [[HEADER.type, `${CE_TYPE}0`], source, sequence]),
    unknown('a type in capitals', [[HEADER.type, CE_TYPE.toUpperCase()], source, sequence]),
    unknown('a type that is empty', [[HEADER.type, ''], source, sequence]),
    unknown('a type that is null', [[HEADER.type, null], source, sequence]),
    unknown('ours, and another type', [type, [HEADER.type, 'pokemon.released.v1'], source, sequence]),
    unknown('another type, and ours', [[HEADER.type, 'pokemon.released.v1'], type, source, sequence]),
  ]
}

type HeaderText = readonly [name: string, value: string | Buffer | null]

function identity(
  name: string,
  headers: readonly HeaderText[],
  kind: Identity['kind'],
  source: string | null,
  sequence: number,
): IdentityVector {
  return {
    name,
    headers: headers.map(([header, value]) => ({ name: header, value: value === null ? null : bytesOf(value) })),
    kind,
    source,
    sequence,
  }
}

/** @param value a text; or bytes that are not to be shown as one */
function bytesOf(value: string | Buffer, spaces?: number): Bytes {
  const shown = typeof value === 'string' ? { text: value, hex: Buffer.from(value).toString('hex') } : { hex: value.toString('hex') }
  return spaces === undefined ? shown : { ...shown, spaces }
}
