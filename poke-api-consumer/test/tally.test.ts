/** Counting as a pure function: which records count, which are duplicates, and which become dead letters. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { copyHeaders, countHeaders } from '@poke-api-pipeline/kafka-reader'
import fc from 'fast-check'
import type { DeadLetter } from '../src/entities/dead-letter.ts'
import { type CountResult, type PartitionTally, TypeCounter } from '../src/entities/tally.ts'
import { headerBytes } from './header-bytes.ts'
import { MockCursor, type MockRecord } from './mock-kafka-consumer.ts'

const PIKACHU = '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'
const BULBASAUR = '{"id":1,"name":"bulbasaur","types":[{"slot":1,"type":{"name":"grass"}},{"slot":2,"type":{"name":"poison"}}]}'

const NO_LIMIT = Number.MAX_SAFE_INTEGER - 1

/** Counts the records as one response. */
function count(tally: PartitionTally, ...records: MockRecord[]): CountResult {
  return tally.count(new MockCursor(records, 0, records.length, 7), NO_LIMIT)
}

function fresh(lastSequences: Record<string, number> = {}): PartitionTally {
  return new TypeCounter().tally(new Map(Object.entries(lastSequences)))
}

describe('counting', () => {
  test('each type of each Pokémon counts once', () => {
    const tally = fresh()
    const { delta } = count(tally, { value: PIKACHU }, { value: BULBASAUR }, { value: PIKACHU })
    assert.deepEqual(Object.fromEntries(delta.counts), { electric: 2, grass: 1, poison: 1 })
    assert.equal(delta.counted, 3)
  })

  test('each response has a delta of its own', () => {
    const tally = fresh()
    count(tally, { value: PIKACHU, source: 'a', sequence: 1 }, { value: null })
    const { delta } = count(tally)
    assert.deepEqual([...delta.counts, ...delta.lastSequences, ...delta.deadLetters], [])
    assert.equal(delta.counted, 0)
  })

  test('two partitions that share a counter keep their counts apart', () => {
    const counter = new TypeCounter()
    const [one, two] = [counter.tally(new Map()), counter.tally(new Map())]
    assert.deepEqual([...count(one, { value: PIKACHU }, { value: PIKACHU }).delta.counts], [['electric', 2]])
    assert.deepEqual([...count(two, { value: PIKACHU }).delta.counts], [['electric', 1]])
  })

  test('counts of a partition whose cursor throws are not added to the next partition', () => {
    const counter = new TypeCounter()
    const cursor = new MockCursor([{ value: PIKACHU }, { value: PIKACHU }], 0, 2, 7)
    const next = cursor.next.bind(cursor)
    cursor.next = () => {
      if (cursor.nextOffset === 1) throw new RangeError('Array buffer allocation failed')
      return next()
    }
    assert.throws(() => counter.tally(new Map()).count(cursor, NO_LIMIT), RangeError)
    assert.deepEqual([...count(counter.tally(new Map()), { value: BULBASAUR }).delta.counts.keys()], ['grass', 'poison'])
  })

  test('more distinct values than the table keeps are counted exactly', () => {
    const tally = fresh()
    const records = Array.from({ length: 70_000 }, (_, id) => ({
      value: `{"id":${id + 1},"name":"n","types":[{"slot":1,"type":{"name":"t${id % 7}"}}]}`,
    }))
    const all = [...records, ...records, ...records]
    const { delta } = tally.count(new MockCursor(all, 0, all.length, 7), NO_LIMIT)
    assert.deepEqual(Object.fromEntries(delta.counts), Object.fromEntries([0, 1, 2, 3, 4, 5, 6].map((t) => [`t${t}`, 30_000])))
  })

  test('values that differ only in bytes that the hash does not cover are distinguished', () => {
    const value = (type: string) => `{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"${type}"}}],"padding":"0123456789abcdef"}`
    const tally = fresh()
    const records = Array.from({ length: 4 }, () => ['water', 'fairy', 'ghost'].map((type) => ({ value: value(type) })))
    const { delta } = count(tally, ...records.flat())
    assert.deepEqual(Object.fromEntries(delta.counts), { water: 4, fairy: 4, ghost: 4 })
  })
})

describe('the limit of type names', () => {
  const of = (...types: string[]) => JSON.stringify({ types: types.map((name) => ({ type: { name } })) })

  test('counting ends before a record with one name too many, and continues with known names', () => {
    const counter = new TypeCounter(3)
    counter.know(['electric', 'ghost'])
    const tally = counter.tally(new Map())
    const records = [
      { value: PIKACHU, source: 'a', sequence: 1 },
      { value: of('fire'), source: 'a', sequence: 2 },
      { value: of('fire', 'water'), source: 'b', sequence: 7 },
      { value: PIKACHU, source: 'a', sequence: 3 },
    ]
    const cursor = new MockCursor(records, 0, records.length, 7)
    const first = tally.count(cursor, NO_LIMIT)
    assert.deepEqual([first.endedBy, cursor.offset], ['new-type', 2])
    const { counts, lastSequences, counted, duplicates, deadLetters } = first.delta
    assert.deepEqual(
      [Object.fromEntries(counts), Object.fromEntries(lastSequences), counted, duplicates, deadLetters],
      [{ electric: 1, fire: 1 }, { a: 2 }, 2, 0, []],
    )
    assert.equal(counter.types, 3)
    const { delta, endedBy } = count(tally, { value: of('ghost', 'fire', 'electric'), source: 'b', sequence: 6 })
    assert.equal(endedBy, 'cursor')
    assert.deepEqual(Object.fromEntries(delta.lastSequences), { b: 6 }, 'the record that was not counted has moved no sequence')
  })

  test('names that the store has already are counted even above the limit', () => {
    const counter = new TypeCounter(1)
    counter.know(['electric', 'grass', 'poison'])
    const tally = counter.tally(new Map())
    const { delta } = count(tally, { value: PIKACHU }, { value: BULBASAUR })
    assert.deepEqual(Object.fromEntries(delta.counts), { electric: 1, grass: 1, poison: 1 })
    assert.equal(count(tally, { value: of('fire') }).endedBy, 'new-type')
  })

  test('a duplicate and a dead letter do not end counting', () => {
    const counter = new TypeCounter(1)
    const tally = counter.tally(new Map([['a', 9]]))
    const records = [{ value: PIKACHU, source: 'a', sequence: 10 }, { value: of('fire'), source: 'a', sequence: 10 }, { value: of('Fire') }]
    const { delta, endedBy } = count(tally, ...records)
    assert.equal(endedBy, 'cursor')
    const { duplicates, deadLetters } = delta
    assert.deepEqual([duplicates, deadLetters.length], [1, 1])
  })
})

describe('recognising duplicates (rules C1, C2)', () => {
  test('a sequence at or below the last one of its source is a duplicate, whichever response had it', () => {
    const tally = fresh({ a: 5 })
    const { delta } = count(
      tally,
      { value: PIKACHU, source: 'a', sequence: 5 },
      { value: PIKACHU, source: 'a', sequence: 6 },
      { value: PIKACHU, source: 'a', sequence: 6 },
    )
    assert.equal(delta.counted, 1)
    assert.equal(delta.duplicates, 2)
    assert.deepEqual([...delta.lastSequences], [['a', 6]])
  })

  test('gaps between sequences are normal, and a late sequence below the last one is a duplicate', () => {
    const tally = fresh()
    const { delta } = count(
      tally,
      { value: PIKACHU, source: 'a', sequence: 1 },
      { value: PIKACHU, source: 'a', sequence: 9 },
      { value: PIKACHU, source: 'a', sequence: 3 },
    )
    assert.deepEqual([delta.counted, delta.duplicates], [2, 1])
  })

  test('each source has its own last sequence', () => {
    const tally = fresh()
    const { delta } = count(
      tally,
      { value: PIKACHU, source: 'a', sequence: 4 },
      { value: PIKACHU, source: 'b', sequence: 4 },
      { value: PIKACHU, source: 'a', sequence: 4 },
    )
    assert.deepEqual([delta.counted, delta.duplicates], [2, 1])
    assert.deepEqual(Object.fromEntries(delta.lastSequences), { a: 4, b: 4 })
  })

  test('a dead letter raises the last sequence of its source, and its repetition is a duplicate', () => {
    const tally = fresh()
    const { delta } = count(tally, { value: 'no json', source: 'a', sequence: 2 }, { value: 'no json', source: 'a', sequence: 2 })
    assert.equal(delta.deadLetters.length, 1)
    assert.equal(delta.duplicates, 1)
    assert.deepEqual([...delta.lastSequences], [['a', 2]])
  })

  test('a record with another ce_type is a dead letter, and does not change the last sequence', () => {
    const tally = fresh()
    const { delta } = count(
      tally,
      { value: PIKACHU, eventType: 'foreign', source: 'a', sequence: 9 },
      { value: PIKACHU, source: 'a', sequence: 1 },
    )
    assert.deepEqual(
      delta.deadLetters.map((deadLetter) => deadLetter.reason),
      ['unknown-event-type'],
    )
    assert.equal(delta.counted, 1)
    assert.deepEqual([...delta.lastSequences], [['a', 1]])
  })

  test('a record without identity counts each time', () => {
    const tally = fresh()
    const { delta } = count(tally, { value: PIKACHU }, { value: PIKACHU }, { value: PIKACHU, eventType: 'expected' })
    assert.equal(delta.counted, 3)
  })

  test('a delta has only the sources whose last sequence changed', () => {
    const tally = fresh({ a: 5, b: 7 })
    const { delta } = count(tally, { value: PIKACHU, source: 'b', sequence: 8 }, { value: PIKACHU, source: 'a', sequence: 5 })
    assert.deepEqual([...delta.lastSequences], [['b', 8]])
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
    const { delta } = count(tally, { value: Buffer.from([0xff, 0, 1]), key: 'k', headers, timestamp: 12 })
    const [deadLetter] = delta.deadLetters
    assert.ok(deadLetter)
    assert.equal(deadLetter.reason, 'not-utf8')
    assert.deepEqual([deadLetter.offset, deadLetter.leaderEpoch, deadLetter.timestamp], [0, 7, 12n])
    assert.equal(deadLetter.key?.toString(), 'k')
    assert.deepEqual([...(deadLetter.value ?? [])], [0xff, 0, 1])
    assert.deepEqual(deadLetter.headers, headerBytes(...headers))
  })

  test('millions of headers of a byte or two each are not parsed', () => {
    const endless = Array.from({ length: 200_000 }, (): [string, string | null] => ['', null])
    const tally = fresh()
    const { delta, summary } = count(tally, { value: 'OK', headers: endless })
    assert.equal(summary.counted, 0)
    const [deadLetter] = delta.deadLetters
    assert.equal(deadLetter?.headers.length, 3 + 2 * endless.length)
    assert.equal(countHeaders(deadLetter?.headers ?? Buffer.alloc(0)), endless.length)
    assert.equal(copyHeaders(deadLetter?.headers ?? Buffer.alloc(0), 64).length, 64)
  })

  test('a part with more bytes than a value may have is kept as its length, its SHA-256 and its first 64 KiB', () => {
    const most = 1_048_576
    const tally = fresh()
    const [whole, long] = [Buffer.alloc(most, 'w'), Buffer.alloc(most + 1, 'l')]
    const headers: [string, string][] = [
      ['a', '1'],
      ['b', long.toString()],
    ]
    const { delta } = count(tally, { value: whole, key: whole.toString() }, { value: long, key: long.toString(), headers }, { value: null })
    const deadLetters = delta.deadLetters
    assert.deepEqual(
      deadLetters.map(({ reason, key, value, headers, cut }) => [reason, key?.length, value?.length, headers.length, Object.keys(cut)]),
      [
        ['not-json', most, most, 1, []],
        ['too-large', 65_536, 65_536, 65_536, ['key', 'value', 'headers']],
        ['null-value', undefined, undefined, 1, []],
      ],
    )
    const [, { value, headers: kept, cut }] = deadLetters as [DeadLetter, DeadLetter]
    const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    assert.ok(value?.equals(long.subarray(0, 65_536)))
    assert.deepEqual(cut.value, { bytes: most + 1, sha256: sha256(long) })
    const all = headerBytes(...headers)
    assert.deepEqual(cut.headers, { bytes: all.length, sha256: sha256(all) })
    assert.deepEqual(copyHeaders(kept, 9, true), [[Buffer.from('a'), Buffer.from('1')]], 'the headers that are there whole')
    assert.throws(() => copyHeaders(kept, 9), RangeError)
  })

  test('a part that is cut adds all of its bytes to the size of the delta, because it is hashed', () => {
    const cursor = new MockCursor([{ value: Buffer.alloc(3_000_000, 'x') }, { value: PIKACHU }], 0, 2, 7)
    const tally = fresh()
    assert.equal(tally.count(cursor, 3_000_000).endedBy, 'size')
    assert.equal(cursor.offset, 0)
    assert.equal(tally.count(cursor, 3_000_000).delta.counted, 1, 'counting goes on with the next record')
  })

  test('null and empty values are distinguished, and the records after them are counted', () => {
    const tally = fresh()
    const { delta } = count(tally, { value: null }, { value: '' }, { value: '{"id":1}' }, { value: PIKACHU })
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

  test('stay unchanged when the buffer of their response is reused', () => {
    const tally = fresh()
    const cursor = new MockCursor([{ value: 'garbage', key: 'k' }], 0, 1, 0)
    const { delta } = tally.count(cursor, NO_LIMIT)
    cursor.bytes.fill(0)
    assert.equal(delta.deadLetters[0]?.value?.toString(), 'garbage')
  })
})

describe('summary', () => {
  test('has no time if Date cannot represent the timestamp', () => {
    for (const timestamp of [-1, -(2 ** 63), 8.64e15 + 1, 1.764353e18, 2 ** 63, Number.NaN]) {
      assert.equal(count(fresh(), { value: PIKACHU, timestamp }).summary.newestTimestamp, -1, String(timestamp))
    }
  })

  test('has the last few Pokémon, the newest time and the newest origin', () => {
    const tally = fresh()
    const records = Array.from({ length: 12 }, (_, i) => ({
      value: PIKACHU.replace('25', String(i + 1)),
      timestamp: 100 + i,
      headers: [['ce_origin', i === 11 ? 'bundled' : 'live'] as const],
    }))
    const { summary } = count(tally, ...records, { value: null })
    assert.deepEqual(
      summary.recent.map(({ id }) => id),
      [5, 6, 7, 8, 9, 10, 11, 12],
    )
    assert.equal(summary.newestTimestamp, 111)
    assert.equal(summary.newestOrigin, 'bundled')
    assert.deepEqual(Object.fromEntries(summary.deadLetters), { 'null-value': 1 })
    assert.deepEqual(count(tally).summary, {
      counted: 0,
      duplicates: 0,
      deadLetters: new Map(),
      recent: [],
      newestTimestamp: -1,
      newestOrigin: null,
    })
  })
})

describe('sources with anomalies (rule C2)', () => {
  const FAR = 1_000_000_000_000

  test('a record whose sequence leaps is counted each time, and the records after it count as before', () => {
    const tally = fresh({ a: 5 })
    const spoofed = { value: PIKACHU, source: 'a', sequence: Number.MAX_SAFE_INTEGER }
    const of = (sequence: number) => ({ value: PIKACHU, source: 'a', sequence })
    const { delta, summary } = count(tally, spoofed, of(6), spoofed, of(7))
    assert.deepEqual(summary.anomalies, {
      leaps: 2,
      late: 0,
      sources: [{ source: 'a', last: 7, sequence: Number.MAX_SAFE_INTEGER, leaps: 2, late: 0, newDuplicates: 0 }],
    })
    const { counted, duplicates, lastSequences } = delta
    assert.deepEqual([counted, duplicates, Object.fromEntries(lastSequences)], [4, 0, { a: 7 }])
    assert.equal(count(tally).summary.anomalies, undefined, 'in one summary alone')
  })

  test('the bound holds for the first record of a source, too', () => {
    const tally = fresh({ b: 9 })
    const of = (source: string, sequence: number) => ({ value: PIKACHU, source, sequence })
    const { delta } = count(tally, of('a', FAR), of('a', FAR - 1), of('b', FAR + 10), of('b', FAR + 9))
    const { counted, lastSequences } = delta
    assert.deepEqual([counted, Object.fromEntries(lastSequences)], [4, { a: FAR - 1, b: FAR + 9 }])
  })

  test('a record that leaps and cannot be counted is a dead letter', () => {
    const tally = fresh()
    const { delta } = count(tally, { value: 'no json', source: 'a', sequence: FAR }, { value: PIKACHU, source: 'a', sequence: 0 })
    const { deadLetters, lastSequences } = delta
    assert.deepEqual([deadLetters.length, Object.fromEntries(lastSequences)], [1, { a: 0 }])
  })

  test('a record that was never read and comes after a newer one is reported; one that is sent again is not', () => {
    const tally = fresh()
    const of = (sequence: number) => ({ value: PIKACHU, source: 'a', sequence })
    const first = count(tally, of(3), of(7), of(9), of(3), of(7), of(9)).summary.anomalies
    assert.deepEqual([first?.late, first?.sources[0]?.newDuplicates], [0, 3])
    assert.equal(count(tally, of(7), of(9), of(7), of(9)).summary.anomalies, undefined, 'the same ones again')
    const late = count(tally, of(50), of(10), of(11)).summary.anomalies
    assert.deepEqual(late?.sources, [{ source: 'a', last: 50, sequence: 11, leaps: 0, late: 2, newDuplicates: 2 }])
    // After the partition was opened again, the sequence before the last one is not known.
    const opened = count(fresh({ a: 50 }), of(12), of(13)).summary.anomalies
    assert.deepEqual(opened?.sources, [{ source: 'a', last: 50, sequence: 13, leaps: 0, late: 0, newDuplicates: 2 }])
  })

  test('at most 16 sources are named, and the numbers are those of all sources', () => {
    const tally = fresh()
    const records = Array.from({ length: 100 }, (_, i) => ({ value: PIKACHU, source: `s${i}`, sequence: FAR + i }))
    const { anomalies } = count(tally, ...records).summary
    assert.deepEqual([anomalies?.leaps, anomalies?.sources.length], [100, 16])
  })

  test('equals a model for any records, cut into any responses, and after any number of openings', () => {
    const places = [0, 1, 2, 3, 5, 8, FAR - 1, FAR, FAR + 1, FAR + 2, 2 * FAR, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]
    const record = fc.record({
      source: fc.constantFrom('a', 'b'),
      sequence: fc.oneof(fc.constantFrom(...places), fc.nat(20)),
      /** What comes after it. */
      next: fc.constantFrom('record', 'record', 'response', 'opening'),
    })
    fc.assert(
      fc.property(fc.array(record, { maxLength: 60 }), (records) => {
        const model = new Map<string, number>()
        const expected = { counted: 0, duplicates: 0, leaps: 0 }
        const seen = { counted: 0, duplicates: 0, leaps: 0 }
        const stored = new Map<string, number>()
        let tally = new TypeCounter().tally(stored)
        let response: MockRecord[] = []
        const countResponse = () => {
          const { delta, summary } = count(tally, ...response)
          response = []
          const { counted, duplicates, lastSequences } = delta
          seen.leaps += summary.anomalies?.leaps ?? 0
          seen.counted += counted
          seen.duplicates += duplicates
          for (const [name, last] of lastSequences) stored.set(name, last)
        }
        for (const { source, sequence, next } of records) {
          const last = model.get(source) ?? -1
          if (sequence <= last) expected.duplicates++
          else {
            expected.counted++
            if (sequence - last > FAR) expected.leaps++
            else model.set(source, sequence)
          }
          response.push({ value: PIKACHU, source, sequence })
          if (next !== 'record') countResponse()
          if (next === 'opening') tally = new TypeCounter().tally(stored)
        }
        countResponse()
        assert.deepEqual([seen, stored], [expected, model])
      }),
      { numRuns: 500 },
    )
  })
})
