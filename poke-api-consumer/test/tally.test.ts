/** Counting as a pure function: what counts, what is a duplicate, what becomes a dead letter. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { copyHeaders, countHeaders } from '@poke-api-pipeline/kafka-reader'
import fc from 'fast-check'
import type { DeadLetter } from '../src/entities/dead-letter.ts'
import { Counter, type Tally } from '../src/entities/tally.ts'
import { headerBytes } from './header-bytes.ts'
import { MockCursor, type MockRecord } from './mock-kafka-consumer.ts'

const PIKACHU = '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'
const BULBASAUR = '{"id":1,"name":"bulbasaur","types":[{"slot":1,"type":{"name":"grass"}},{"slot":2,"type":{"name":"poison"}}]}'

function add(tally: Tally, ...records: MockRecord[]): void {
  const cursor = new MockCursor(records, 0, records.length, 7)
  while (cursor.next()) tally.add(cursor)
}

function fresh(lastSequences: Record<string, number> = {}): Tally {
  return new Counter().tally(new Map(Object.entries(lastSequences)))
}

describe('counting', () => {
  test('each type of each Pokémon counts once', () => {
    const tally = fresh()
    add(tally, { value: PIKACHU }, { value: BULBASAUR }, { value: PIKACHU })
    const delta = tally.take()
    assert.deepEqual(Object.fromEntries(delta.counts), { electric: 2, grass: 1, poison: 1 })
    assert.equal(delta.counted, 3)
  })

  test('what was taken is not taken again', () => {
    const tally = fresh()
    add(tally, { value: PIKACHU, source: 'a', sequence: 1 })
    tally.take()
    const delta = tally.take()
    assert.deepEqual([...delta.counts, ...delta.lastSequences, ...delta.deadLetters], [])
    assert.equal(delta.counted, 0)
  })

  test('two partitions that share a counter keep their counts apart', () => {
    const counter = new Counter()
    const [one, two] = [counter.tally(new Map()), counter.tally(new Map())]
    add(one, { value: PIKACHU }, { value: PIKACHU })
    assert.deepEqual([...one.take().counts], [['electric', 2]])
    add(two, { value: PIKACHU })
    assert.deepEqual([...two.take().counts], [['electric', 1]])
  })

  test('more distinct values than the table keeps are counted exactly', () => {
    const tally = fresh()
    const records = Array.from({ length: 70_000 }, (_, id) => ({
      value: `{"id":${id + 1},"name":"n","types":[{"slot":1,"type":{"name":"t${id % 7}"}}]}`,
    }))
    for (let pass = 0; pass < 3; pass++) for (const record of records) add(tally, record)
    const counts = tally.take().counts
    assert.deepEqual(Object.fromEntries(counts), Object.fromEntries([0, 1, 2, 3, 4, 5, 6].map((t) => [`t${t}`, 30_000])))
  })

  test('values that differ only in the bytes that the hash does not see are told apart', () => {
    const value = (type: string) => `{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"${type}"}}],"padding":"0123456789abcdef"}`
    const tally = fresh()
    for (let i = 0; i < 4; i++) add(tally, { value: value('water') }, { value: value('fairy') }, { value: value('ghost') })
    assert.deepEqual(Object.fromEntries(tally.take().counts), { water: 4, fairy: 4, ghost: 4 })
  })
})

describe('type names that are more than there may be', () => {
  const of = (...types: string[]) => JSON.stringify({ types: types.map((name) => ({ type: { name } })) })
  /** What is added of records one after the other, until there is no room. */
  const addAll = (tally: Tally, records: MockRecord[]) => {
    const cursor = new MockCursor(records, 0, records.length, 7)
    tally.addAll(cursor, Number.MAX_SAFE_INTEGER - 1)
    return cursor.offset
  }

  test('a record with one more is not added, nor is anything behind it, and known ones count as ever', () => {
    const counter = new Counter(3)
    counter.know(['electric', 'ghost'])
    const tally = counter.tally(new Map())
    const records = [
      { value: PIKACHU, source: 'a', sequence: 1 },
      { value: of('fire'), source: 'a', sequence: 2 },
      { value: of('fire', 'water'), source: 'b', sequence: 7 },
      { value: PIKACHU, source: 'a', sequence: 3 },
    ]
    assert.equal(addAll(tally, records), 2)
    assert.equal(tally.lacksRoom, true)
    const { counts, lastSequences, counted, duplicates, deadLetters } = tally.take()
    assert.deepEqual(
      [Object.fromEntries(counts), Object.fromEntries(lastSequences), counted, duplicates, deadLetters],
      [{ electric: 1, fire: 1 }, { a: 2 }, 2, 0, []],
    )
    assert.equal(counter.types, 3)
    assert.equal(tally.lacksRoom, false)
    add(tally, { value: of('ghost', 'fire', 'electric'), source: 'b', sequence: 6 })
    assert.deepEqual(Object.fromEntries(tally.take().lastSequences), { b: 6 }, 'the record that was not added has moved no sequence')
  })

  test('a store may have more already: these are counted on', () => {
    const counter = new Counter(1)
    counter.know(['electric', 'grass', 'poison'])
    const tally = counter.tally(new Map())
    add(tally, { value: PIKACHU }, { value: BULBASAUR })
    assert.deepEqual(Object.fromEntries(tally.take().counts), { electric: 1, grass: 1, poison: 1 })
    assert.equal(addAll(tally, [{ value: of('fire') }]), 0)
    assert.equal(tally.lacksRoom, true)
  })

  test('a duplicate and a dead letter need no room', () => {
    const counter = new Counter(1)
    const tally = counter.tally(new Map([['a', 9]]))
    add(tally, { value: PIKACHU, source: 'a', sequence: 10 }, { value: of('fire'), source: 'a', sequence: 10 }, { value: of('Fire') })
    assert.equal(tally.lacksRoom, false)
    const { duplicates, deadLetters } = tally.take()
    assert.deepEqual([duplicates, deadLetters.length], [1, 1])
  })
})

describe('recognising duplicates (rules C1, C2)', () => {
  test('a sequence at or below the last of its source is a duplicate, in this response and in those before', () => {
    const tally = fresh({ a: 5 })
    add(
      tally,
      { value: PIKACHU, source: 'a', sequence: 5 },
      { value: PIKACHU, source: 'a', sequence: 6 },
      { value: PIKACHU, source: 'a', sequence: 6 },
    )
    const delta = tally.take()
    assert.equal(delta.counted, 1)
    assert.equal(delta.duplicates, 2)
    assert.deepEqual([...delta.lastSequences], [['a', 6]])
  })

  test('gaps are normal, and a late one below the last is a duplicate', () => {
    const tally = fresh()
    add(
      tally,
      { value: PIKACHU, source: 'a', sequence: 1 },
      { value: PIKACHU, source: 'a', sequence: 9 },
      { value: PIKACHU, source: 'a', sequence: 3 },
    )
    const delta = tally.take()
    assert.deepEqual([delta.counted, delta.duplicates], [2, 1])
  })

  test('sources do not know each other', () => {
    const tally = fresh()
    add(
      tally,
      { value: PIKACHU, source: 'a', sequence: 4 },
      { value: PIKACHU, source: 'b', sequence: 4 },
      { value: PIKACHU, source: 'a', sequence: 4 },
    )
    const delta = tally.take()
    assert.deepEqual([delta.counted, delta.duplicates], [2, 1])
    assert.deepEqual(Object.fromEntries(delta.lastSequences), { a: 4, b: 4 })
  })

  test('a dead letter moves its source’s last sequence, and its repetition is a duplicate', () => {
    const tally = fresh()
    add(tally, { value: 'no json', source: 'a', sequence: 2 }, { value: 'no json', source: 'a', sequence: 2 })
    const delta = tally.take()
    assert.equal(delta.deadLetters.length, 1)
    assert.equal(delta.duplicates, 1)
    assert.deepEqual([...delta.lastSequences], [['a', 2]])
  })

  test('somebody else’s ce_type is a dead letter and takes no part in recognition', () => {
    const tally = fresh()
    add(tally, { value: PIKACHU, kind: 'unknown', source: 'a', sequence: 9 }, { value: PIKACHU, source: 'a', sequence: 1 })
    const delta = tally.take()
    assert.deepEqual(
      delta.deadLetters.map((letter) => letter.reason),
      ['unknown-event-type'],
    )
    assert.equal(delta.counted, 1)
    assert.deepEqual([...delta.lastSequences], [['a', 1]])
  })

  test('a record without identity is counted each time it comes', () => {
    const tally = fresh()
    add(tally, { value: PIKACHU }, { value: PIKACHU }, { value: PIKACHU, kind: 'ours' })
    assert.equal(tally.take().counted, 3)
  })

  test('only sources that moved are written', () => {
    const tally = fresh({ a: 5, b: 7 })
    add(tally, { value: PIKACHU, source: 'b', sequence: 8 }, { value: PIKACHU, source: 'a', sequence: 5 })
    assert.deepEqual([...tally.take().lastSequences], [['b', 8]])
  })
})

describe('dead letters', () => {
  test('keep every byte: key, value, headers in order and repeated', () => {
    const tally = fresh()
    const headers: [string, string | null][] = [
      ['a', '1'],
      ['a', null],
      ['ce_type', 'x'],
    ]
    add(tally, { value: Buffer.from([0xff, 0, 1]), key: 'k', headers, timestamp: 12 })
    const [letter] = tally.take().deadLetters
    assert.ok(letter)
    assert.equal(letter.reason, 'not-utf8')
    assert.deepEqual([letter.offset, letter.leaderEpoch, letter.timestamp], [0, 7, 12n])
    assert.equal(letter.key?.toString(), 'k')
    assert.deepEqual([...(letter.value ?? [])], [0xff, 0, 1])
    assert.deepEqual(letter.headers, headerBytes(...headers))
  })

  test('millions of headers, which take a byte or two each, are not taken apart', () => {
    const endless = Array.from({ length: 200_000 }, (): [string, string | null] => ['', null])
    const tally = fresh()
    add(tally, { value: 'OK', headers: endless })
    assert.equal(tally.summary().counted, 0)
    const [letter] = tally.take().deadLetters
    assert.equal(letter?.headers.length, 3 + 2 * endless.length)
    assert.equal(countHeaders(letter?.headers ?? Buffer.alloc(0)), endless.length)
    assert.equal(copyHeaders(letter?.headers ?? Buffer.alloc(0), 64).length, 64)
  })

  test('a part with more bytes than a value may have is kept as its length, its SHA-256 and its first 64 KiB', () => {
    const most = 1_048_576
    const tally = fresh()
    const [whole, long] = [Buffer.alloc(most, 'w'), Buffer.alloc(most + 1, 'l')]
    const headers: [string, string][] = [
      ['a', '1'],
      ['b', long.toString()],
    ]
    add(tally, { value: whole, key: whole.toString() }, { value: long, key: long.toString(), headers }, { value: null })
    const letters = tally.take().deadLetters
    assert.deepEqual(
      letters.map(({ reason, key, value, headers, cut }) => [reason, key?.length, value?.length, headers.length, Object.keys(cut)]),
      [
        ['not-json', most, most, 1, []],
        ['too-large', 65_536, 65_536, 65_536, ['key', 'value', 'headers']],
        ['null-value', undefined, undefined, 1, []],
      ],
    )
    const [, { value, headers: kept, cut }] = letters as [DeadLetter, DeadLetter]
    const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    assert.ok(value?.equals(long.subarray(0, 65_536)))
    assert.deepEqual(cut.value, { bytes: most + 1, sha256: sha256(long) })
    const all = headerBytes(...headers)
    assert.deepEqual(cut.headers, { bytes: all.length, sha256: sha256(all) })
    assert.deepEqual(copyHeaders(kept, 9, true), [[Buffer.from('a'), Buffer.from('1')]], 'the headers that are there whole')
    assert.throws(() => copyHeaders(kept, 9), RangeError)
  })

  test('parts that are cut count with all of their bytes towards the end of a walk, since they are hashed', () => {
    const tally = fresh()
    add(tally, { value: Buffer.alloc(3_000_000, 'x') })
    assert.ok(tally.size >= 3_000_000)
  })

  test('null and empty values are told apart, and what follows is counted', () => {
    const tally = fresh()
    add(tally, { value: null }, { value: '' }, { value: '{"id":1}' }, { value: PIKACHU })
    const delta = tally.take()
    assert.deepEqual(
      delta.deadLetters.map(({ reason, offset }) => [offset, reason]),
      [
        [0, 'null-value'],
        [1, 'empty-value'],
        [2, 'wrong-shape'],
      ],
    )
    assert.equal(delta.deadLetters[0]?.value, null)
    assert.equal(delta.deadLetters[1]?.value?.length, 0)
    assert.equal(delta.counted, 1)
  })

  test('outlive the bytes of their response', () => {
    const tally = fresh()
    const cursor = new MockCursor([{ value: 'garbage', key: 'k' }], 0, 1, 0)
    cursor.next()
    tally.add(cursor)
    cursor.bytes.fill(0)
    assert.equal(tally.take().deadLetters[0]?.value?.toString(), 'garbage')
  })
})

describe('summary', () => {
  test('tells no time that no clock can show', () => {
    for (const timestamp of [-1, -(2 ** 63), 8.64e15 + 1, 1.764353e18, 2 ** 63, Number.NaN]) {
      const tally = fresh()
      add(tally, { value: PIKACHU, timestamp })
      assert.equal(tally.summary().newestTimestamp, -1, String(timestamp))
    }
  })

  test('tells the last few Pokémon, the newest time and where it came from', () => {
    const tally = fresh()
    const records = Array.from({ length: 12 }, (_, i) => ({
      value: PIKACHU.replace('25', String(i + 1)),
      timestamp: 100 + i,
      headers: [['ce_origin', i === 11 ? 'bundled' : 'live'] as const],
    }))
    add(tally, ...records, { value: null })
    const summary = tally.summary()
    assert.deepEqual(
      summary.recent.map(({ id }) => id),
      [5, 6, 7, 8, 9, 10, 11, 12],
    )
    assert.equal(summary.newestTimestamp, 111)
    assert.equal(summary.newestOrigin, 'bundled')
    assert.deepEqual(Object.fromEntries(summary.deadLetters), { 'null-value': 1 })
    tally.take()
    assert.deepEqual(tally.summary(), {
      counted: 0,
      duplicates: 0,
      deadLetters: new Map(),
      recent: [],
      newestTimestamp: -1,
      newestOrigin: null,
    })
  })
})

describe('sources that are not to be believed (rule C2)', () => {
  const FAR = 1_000_000_000_000

  test('a sequence that leaps is counted each time that it comes, and silences nothing', () => {
    const tally = fresh({ a: 5 })
    const spoofed = { value: PIKACHU, source: 'a', sequence: Number.MAX_SAFE_INTEGER }
    add(tally, spoofed, { value: PIKACHU, source: 'a', sequence: 6 }, spoofed, { value: PIKACHU, source: 'a', sequence: 7 })
    const { doubts } = tally.summary()
    assert.deepEqual(doubts, {
      leaps: 2,
      late: 0,
      sources: [{ source: 'a', last: 7, sequence: Number.MAX_SAFE_INTEGER, leaps: 2, late: 0, repeats: 0 }],
    })
    const { counted, duplicates, lastSequences } = tally.take()
    assert.deepEqual([counted, duplicates, Object.fromEntries(lastSequences)], [4, 0, { a: 7 }])
    assert.equal(tally.summary().doubts, undefined, 'told once')
  })

  test('the bound holds for the first record of a source, too', () => {
    const tally = fresh({ b: 9 })
    add(tally, { value: PIKACHU, source: 'a', sequence: FAR }, { value: PIKACHU, source: 'a', sequence: FAR - 1 })
    add(tally, { value: PIKACHU, source: 'b', sequence: FAR + 10 }, { value: PIKACHU, source: 'b', sequence: FAR + 9 })
    const { counted, lastSequences } = tally.take()
    assert.deepEqual([counted, Object.fromEntries(lastSequences)], [4, { a: FAR - 1, b: FAR + 9 }])
  })

  test('a record that leaps and cannot be counted is a dead letter', () => {
    const tally = fresh()
    add(tally, { value: 'no json', source: 'a', sequence: FAR }, { value: PIKACHU, source: 'a', sequence: 0 })
    const { deadLetters, lastSequences } = tally.take()
    assert.deepEqual([deadLetters.length, Object.fromEntries(lastSequences)], [1, { a: 0 }])
  })

  test('what was never read and comes behind a newer one is told; what is sent again is not', () => {
    const tally = fresh()
    const of = (sequence: number) => ({ value: PIKACHU, source: 'a', sequence })
    add(tally, of(3), of(7), of(9), of(3), of(7), of(9))
    assert.deepEqual([tally.summary().doubts?.late, tally.summary().doubts?.sources[0]?.repeats], [0, 3])
    tally.take()
    add(tally, of(7), of(9), of(7), of(9))
    assert.equal(tally.summary().doubts, undefined, 'the same ones again')
    add(tally, of(50), of(10), of(11))
    assert.deepEqual(tally.summary().doubts?.sources, [{ source: 'a', last: 50, sequence: 11, leaps: 0, late: 2, repeats: 2 }])
    tally.take()
    // After an opening nobody knows what was before the last one.
    const opened = fresh({ a: 50 })
    add(opened, of(12), of(13))
    assert.deepEqual(opened.summary().doubts?.sources, [{ source: 'a', last: 50, sequence: 13, leaps: 0, late: 0, repeats: 2 }])
  })

  test('a few of many are named, with the amounts of all', () => {
    const tally = fresh()
    for (let i = 0; i < 100; i++) add(tally, { value: PIKACHU, source: `s${i}`, sequence: FAR + i })
    const { doubts } = tally.summary()
    assert.deepEqual([doubts?.leaps, doubts?.sources.length], [100, 16])
  })

  test('against a model, whatever comes, however it is cut into responses, and through openings', () => {
    const places = [0, 1, 2, 3, 5, 8, FAR - 1, FAR, FAR + 1, FAR + 2, 2 * FAR, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]
    const record = fc.record({
      source: fc.constantFrom('a', 'b'),
      sequence: fc.oneof(fc.constantFrom(...places), fc.nat(20)),
      // Ends the response, and perhaps what the tally remembers beside the store.
      ends: fc.constantFrom('goes on', 'goes on', 'take', 'open'),
    })
    fc.assert(
      fc.property(fc.array(record, { maxLength: 60 }), (records) => {
        const model = new Map<string, number>()
        const expected = { counted: 0, duplicates: 0, leaps: 0 }
        const seen = { counted: 0, duplicates: 0, leaps: 0 }
        const stored = new Map<string, number>()
        let tally = new Counter().tally(stored)
        const take = () => {
          seen.leaps += tally.summary().doubts?.leaps ?? 0
          const { counted, duplicates, lastSequences } = tally.take()
          seen.counted += counted
          seen.duplicates += duplicates
          for (const [name, last] of lastSequences) stored.set(name, last)
        }
        for (const { source, sequence, ends } of records) {
          const last = model.get(source) ?? -1
          if (sequence <= last) expected.duplicates++
          else {
            expected.counted++
            if (sequence - last > FAR) expected.leaps++
            else model.set(source, sequence)
          }
          add(tally, { value: PIKACHU, source, sequence })
          if (ends !== 'goes on') take()
          if (ends === 'open') tally = new Counter().tally(stored)
        }
        take()
        assert.deepEqual([seen, stored], [expected, model])
      }),
      { numRuns: 500 },
    )
  })
})
