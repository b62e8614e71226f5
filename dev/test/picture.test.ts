/** The picture in the terminal while the pipeline runs, on screens of every size. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { drawCounts, drawScene, sceneInALine } from '../picture.ts'
import type { Reading } from '../readings.ts'
import { drawSweep, sweepInALine } from '../sweep-picture.ts'
import { bar, cut, duration, type Look } from '../terminal-look.ts'
import { COUNTS_OF_A_SWEEP } from './counts-of-a-sweep.ts'

const plain: Look = { columns: 80, rows: 40, colours: false }
const nothing: Reading = {
  captured: null,
  counted: null,
  duplicates: null,
  deadLetters: null,
  waiting: null,
  lag: null,
  heldBack: null,
  sweep: null,
  problems: [],
  counts: new Map(),
}
const running: Reading = {
  ...nothing,
  captured: 83,
  counted: 82,
  duplicates: 0,
  deadLetters: 0,
  waiting: 1,
  lag: 0,
  counts: new Map([
    ['water', 12],
    ['bug', 6],
    ['ice', 1],
  ]),
}
const places = [
  ['Counts', 'type-counts.json'],
  ['Page', 'http://127.0.0.1:8080'],
] as const

describe('the picture of make start', () => {
  test('shows figures, counts as bars, and at its end the address of the page', () => {
    const lines = drawScene({ reading: running, places }, plain)
    assert.deepEqual(lines, [
      '',
      'Since the first start: captured 83  waiting to be sent 1  lag 0  counted 82',
      '',
      `water  ${'█'.repeat(50)}  12`,
      `bug    ${'█'.repeat(25)}${' '.repeat(25)}   6`,
      `ice    ████▏${' '.repeat(45)}   1`,
      '',
      'Counts  type-counts.json',
      'Page    http://127.0.0.1:8080',
    ])
  })

  test('says that nothing was counted yet, and shows dashes for unknown figures', () => {
    const lines = drawScene({ reading: nothing, places }, plain)
    assert.equal(lines[1], 'Since the first start: captured –  waiting to be sent –  lag –  counted –')
    assert.equal(lines[3], 'Nothing is counted yet.')
  })

  test('shows duplicates, dead letters and the reasons of services that are not ready', () => {
    const reading = { ...running, duplicates: 2, deadLetters: 1, problems: ['producer: kafka: no broker answers'] }
    const lines = drawScene({ reading, places }, { ...plain, columns: 120 })
    assert.match(lines[1] ?? '', /lag 0 {2}counted 82 {2}duplicates left out 2 {2}dead letters 1$/)
    assert.equal(lines[2], '! producer: kafka: no broker answers')
  })

  test('puts figures that do not fit on a second line, and shows held back records apart from the lag', () => {
    const reading = { ...running, captured: 2_000_000, counted: 1_999_990, lag: 9, heldBack: 4, duplicates: 0 }
    assert.deepEqual(drawScene({ reading, places }, plain).slice(1, 3), [
      'Since the first start: captured 2,000,000  waiting to be sent 1',
      'lag 9 (4 held back by open transactions)  counted 1,999,990',
    ])
  })

  const all = new Map(Object.entries(COUNTS_OF_A_SWEEP))
  for (const [columns, rows] of [
    [200, 60],
    [80, 24],
    [60, 20],
    [40, 24],
    [20, 12],
    [10, 10],
  ] as const) {
    for (const colours of [false, true]) {
      test(`fits a screen of ${columns} × ${rows} ${colours ? 'with' : 'without'} colours`, () => {
        const look = { columns, rows, colours }
        const lines = drawScene({ reading: { ...running, counts: all }, places }, look)
        assert.ok(lines.length < rows, `${lines.length} lines`)
        for (const line of lines) {
          if (!colours) assert.equal(line, stripVTControlCharacters(line))
          assert.ok([...stripVTControlCharacters(line)].length <= columns, JSON.stringify(line))
        }
      })
    }
  }

  test('uses two columns on a common terminal, so that it shows all 18 types', () => {
    const lines = drawCounts(all, { ...plain, rows: 24 }, 12)
    assert.equal(lines.length, 9)
    assert.match(lines[0] ?? '', /^water {5}█+ {2}192 {3}bug {7}█+▋? +106$/)
    for (const type of all.keys())
      assert.ok(
        lines.some((line) => line.includes(type)),
        type,
      )
  })

  test('says how many types it leaves out', () => {
    const lines = drawCounts(all, { ...plain, columns: 40 }, 5)
    assert.equal(lines.length, 5)
    assert.equal(lines[4], '… and 14 more')
  })

  test('is one line without a terminal', () => {
    assert.equal(
      sceneInALine({ reading: running, places }),
      'Since the first start: captured 83, waiting to be sent 1, lag 0, counted 82; of 3 types: water 12, bug 6, ice 1',
    )
    assert.match(
      sceneInALine({ reading: { ...running, counts: all }, places }),
      /: water 192, normal 160, grass 156, flying 154, psychic 142, …$/,
    )
  })
})

describe('the picture of make sweep', () => {
  const sweeping = { ...running, captured: 450, lag: 10, duplicates: 8, sweep: { done: 450, total: 1351, leftOut: 0 } }

  test('shows the progress and the remaining time', () => {
    const lines = drawSweep({ reading: sweeping, running: 10, doneAtFirst: 0 }, plain)
    assert.equal(lines[1], `▕${'█'.repeat(13)}▎${' '.repeat(26)}▏ 33 %  450 of 1,351  21 s left`)
    assert.deepEqual(lines.slice(2), ['captured 450  waiting to be sent 1  lag 10', 'In all sweeps here: types 19, duplicates left out 8'])
  })

  test('names how many Pokémon were left out', () => {
    const reading = { ...sweeping, sweep: { done: 450, total: 1351, leftOut: 2 } }
    assert.match(drawSweep({ reading, running: 10, doneAtFirst: 0 }, plain)[2] ?? '', /^captured 448 {2}left out 2 /)
    assert.match(sweepInALine({ reading, running: 10, doneAtFirst: 0 }), /^448 of 1351 captured, 2 left out, lag 10/)
  })

  test('measures the pace of a continued sweep from its continuation on', () => {
    assert.equal(sweepInALine({ reading: sweeping, running: 10, doneAtFirst: 350 }), '450 of 1351 captured, lag 10; 1 min 31 s left')
  })

  test('shows no remaining time before a pace is known, and none at the end', () => {
    assert.doesNotMatch(sweepInALine({ reading: sweeping, running: 0.5, doneAtFirst: 0 }), /left/)
    const done = { ...sweeping, sweep: { done: 1351, total: 1351, leftOut: 0 } }
    assert.doesNotMatch(sweepInALine({ reading: done, running: 30, doneAtFirst: 0 }), /left/)
    assert.match(drawSweep({ reading: done, running: 30, doneAtFirst: 0 }, plain)[1] ?? '', /▕█{40}▏ 100 % {2}1,351 of 1,351$/)
  })

  test('fits a narrow screen', () => {
    for (const columns of [20, 40, 60]) {
      const reading = { ...sweeping, problems: ['producer: poke-api: PokeAPI cannot be reached, and this goes on for long'] }
      for (const line of drawSweep({ reading, running: 10, doneAtFirst: 0 }, { ...plain, columns })) {
        assert.ok([...line].length <= columns, `${columns}: ${line}`)
      }
    }
  })
})

describe('parts of pictures', () => {
  test('a bar is never longer than its space, and never empty for a positive number', () => {
    assert.equal(bar(0, 10, 4), '    ')
    assert.equal(bar(1, 1000, 4), '▏   ')
    assert.equal(bar(5, 10, 4), '██  ')
    assert.equal(bar(20, 10, 4), '████')
    assert.equal(bar(0, 0, 4), '    ')
  })

  test('durations and cut texts read well', () => {
    assert.deepEqual([0.9, 59, 60, 3599, 3600, 90_061].map(duration), [
      '0 s',
      '59 s',
      '1 min 00 s',
      '59 min 59 s',
      '1 h 00 min',
      '25 h 01 min',
    ])
    assert.deepEqual([cut('Pokémon', 7), cut('Pokémon', 5), cut('Pokémon', 0)], ['Pokémon', 'Poké…', '…'])
  })
})

test('the picture contains no control characters, whatever a type is called', () => {
  const counts = new Map([['\u001b[2J\u202ered\n', 3]])
  const shown = String.raw`\u001b[2J\u202ered\u000a`
  for (const text of [drawCounts(counts, plain, 5).join('|'), sceneInALine({ reading: { ...running, counts }, places })]) {
    assert.ok(text.includes(shown), text)
    assert.doesNotMatch(text, /[\p{Cc}\p{Cf}]/u)
  }
})
