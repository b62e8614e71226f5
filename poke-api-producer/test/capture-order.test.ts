/** Which Pokémon is next: any of them, each as likely as any other; or each of them once, whatever dies meanwhile. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { leftOutOf, randomOrder, SweepOrder, type SweepProgress } from '../src/entities/capture-order.ts'
import { pokemon } from './pokemon.ts'

/** The ids of today's API. */
const POKEDEX = [...range(1, 1025), ...range(10001, 10326)]

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** What survives in the outbox. */
function stored(progress: SweepProgress): SweepProgress {
  return JSON.parse(JSON.stringify(progress)) as SweepProgress
}

/** A random source that repeats: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('random order', () => {
  test('draws from the list, not from the range between its bounds', () => {
    const next = randomOrder(POKEDEX, seeded(1))
    const known = new Set(POKEDEX)
    for (let i = 0; i < 5000; i++) assert.ok(known.has(next()))
  })

  test('reaches the first and the last', () => {
    assert.equal(randomOrder(POKEDEX, () => 0)(), 1)
    assert.equal(randomOrder(POKEDEX, () => 1 - 2 ** -53)(), 10326)
  })

  test('draws each as often as any other', () => {
    const ids = [1, 2, 3, 10001, 10002]
    const draws = 50_000
    const next = randomOrder(ids, seeded(2))
    const drawn = new Map(ids.map((id) => [id, 0]))
    for (let i = 0; i < draws; i++) {
      const id = next()
      drawn.set(id, (drawn.get(id) ?? 0) + 1)
    }
    const expected = draws / ids.length
    const chiSquare = [...drawn.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
    // 99.9 % of fair sources stay below this, at four degrees of freedom.
    assert.ok(chiSquare < 18.47, `chi-square ${chiSquare}: ${JSON.stringify([...drawn])}`)
  })

  test('refuses an empty list', () => {
    assert.throws(() => randomOrder([], Math.random), RangeError)
  })
})

describe('sweep order', () => {
  test('gives each Pokémon once, and then none', () => {
    const sweep = new SweepOrder(POKEDEX)
    assert.equal(sweep.total, 1351)
    const named = POKEDEX.map(() => sweep.next())
    assert.deepEqual(named, POKEDEX)
    assert.equal(sweep.next(), null)
  })

  test('is finished when all are completed, whether they exist or not', () => {
    const sweep = new SweepOrder([1, 2])
    assert.equal(sweep.finished, false)
    sweep.complete(sweep.next() as number, pokemon(1))
    assert.equal(sweep.finished, false)
    sweep.complete(sweep.next() as number, null)
    assert.equal(sweep.finished, true)
    assert.equal(sweep.done, 2)
  })

  test('an empty list is finished from the beginning', () => {
    const sweep = new SweepOrder([])
    assert.equal(sweep.finished, true)
    assert.equal(sweep.next(), null)
    assert.equal(new SweepOrder(stored(sweep.progress)).finished, true)
  })

  test('gives each Pokémon once, whatever the order of the list and however often it has them', () => {
    const sweep = new SweepOrder([3, 1, 3, 2, 1])
    assert.deepEqual([sweep.next(), sweep.next(), sweep.next(), sweep.next()], [1, 2, 3, null])
  })

  test('gives a Pokémon that could not be obtained again, after all others', () => {
    const sweep = new SweepOrder([1, 2, 3])
    const first = sweep.next() as number
    sweep.putBack(first)
    assert.deepEqual([sweep.next(), sweep.next(), sweep.next(), sweep.next()], [2, 3, 1, null])
  })

  test('continues from its progress: gives again what was given and not completed', () => {
    const sweep = new SweepOrder([1, 2, 3, 10001])
    for (let i = 0; i < 3; i++) sweep.next()
    sweep.complete(2, pokemon(2))
    const progress = stored(sweep.complete(3, null))
    const again = new SweepOrder(progress)
    assert.equal(again.total, 4)
    assert.equal(again.done, 2)
    assert.deepEqual([again.next(), again.next(), again.next()], [1, 10001, null])
  })

  test('continues with the list that it began with', () => {
    const progress = stored(new SweepOrder(POKEDEX).progress)
    assert.equal(progress.ids, '1-1025,10001-10326')
    assert.deepEqual(new SweepOrder(progress).total, 1351)
  })

  test('knows by how much each type will rise: each captured Pokémon once for each of its types', () => {
    const sweep = new SweepOrder([1, 2, 3, 4])
    sweep.complete(1, pokemon(1, 'grass', 'poison'))
    sweep.complete(2, null)
    const again = new SweepOrder(stored(sweep.complete(4, pokemon(4, 'fire', 'fire'))))
    const { captured, types } = again.complete(3, pokemon(3, 'grass'))
    assert.equal(captured, 3)
    assert.deepEqual(types, { grass: 2, poison: 1, fire: 1 })
  })

  test('is finished without Pokémon that were left out, remembers their reasons, and knows one that the API has answered for', () => {
    const sweep = new SweepOrder([1, 2, 7, 9])
    assert.equal(sweep.answered, null)
    sweep.leaveOut(2, 'types is empty')
    assert.equal(sweep.answered, null)
    sweep.complete(7, null)
    const again = new SweepOrder(stored(sweep.progress))
    assert.deepEqual([again.done, again.leftOut, again.answered], [2, 1, 7])
    assert.deepEqual([again.next(), again.next(), again.next()], [1, 9, null])
    again.complete(1, pokemon(1))
    const progress = stored(again.leaveOut(9, 'answered with status 500'))
    assert.equal(again.finished, true)
    assert.deepEqual(leftOutOf(progress), { count: 2, lines: ['#2: types is empty', '#9: answered with status 500'] })
    assert.throws(() => again.leaveOut(9, 'again'), /captured twice/)
    assert.deepEqual(leftOutOf(stored(new SweepOrder([1]).progress)), { count: 0, lines: [] })
  })

  test('stores few reasons, however many Pokémon are left out', () => {
    const sweep = new SweepOrder(POKEDEX)
    for (const id of POKEDEX) sweep.leaveOut(id, 'x'.repeat(10_000))
    const progress = sweep.progress
    assert.ok(JSON.stringify(progress).length < 25_000, `${JSON.stringify(progress).length}`)
    const { count, lines } = leftOutOf(progress)
    assert.deepEqual([count, lines.length], [1351, 20])
  })

  test('has progress of less than 600 bytes for a whole Pokédex', () => {
    const sweep = new SweepOrder(POKEDEX)
    for (const [index, id] of POKEDEX.entries()) sweep.complete(id, pokemon(id, `type-${index % 18}`))
    assert.ok(JSON.stringify(sweep.progress).length < 600, JSON.stringify(sweep.progress))
  })

  test('refuses to complete a Pokémon twice, or one that is not in its list', () => {
    const sweep = new SweepOrder([1, 2])
    sweep.complete(1, pokemon(1))
    assert.throws(() => sweep.complete(1, pokemon(1)), /captured twice/)
    assert.throws(() => sweep.putBack(1), /captured twice/)
    assert.throws(() => sweep.complete(7, pokemon(7)), /not part of this sweep/)
  })

  for (const [what, progress] of Object.entries({
    'too few bits': { ids: '1-9', done: 'AA==', captured: 0, types: {} },
    'ranges that do not ascend': { ids: '5-9,1-3', done: 'AAAA', captured: 0, types: {} },
    'words for ranges': { ids: 'all', done: '', captured: 0, types: {} },
  })) {
    test(`refuses progress with ${what}`, () => assert.throws(() => new SweepOrder(progress), RangeError))
  }

  test('captures each exactly once, however often it is killed and in whatever order captures end', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 40 })
    const moves = fc.infiniteStream(
      fc.record({ kind: fc.constantFrom('name', 'complete', 'missing', 'fail', 'leave out', 'kill'), pick: fc.nat() }),
    )
    fc.assert(
      fc.property(ids, moves, (list, stream) => {
        let sweep = new SweepOrder(list)
        let kept = stored(sweep.progress)
        let underWay: number[] = []
        const completed: number[] = []
        const leftOut: number[] = []
        for (const { kind, pick } of stream) {
          if (sweep.finished) break
          const id = underWay[pick % Math.max(1, underWay.length)]
          if (kind === 'name' || id === undefined) {
            const next = sweep.next()
            if (next !== null) underWay.push(next)
          } else if (kind === 'kill') {
            // What was under way is lost; what was stored is not.
            sweep = new SweepOrder(kept)
            underWay = []
          } else {
            underWay = underWay.filter((other) => other !== id)
            if (kind === 'fail') sweep.putBack(id)
            else if (kind === 'leave out') {
              kept = stored(sweep.leaveOut(id, 'a reason'))
              leftOut.push(id)
            } else {
              kept = stored(sweep.complete(id, kind === 'missing' ? null : pokemon(id)))
              completed.push(id)
            }
          }
        }
        assert.deepEqual(
          [...completed, ...leftOut].sort((a, b) => a - b),
          [...list].sort((a, b) => a - b),
        )
        assert.deepEqual(leftOutOf(kept).count, leftOut.length)
      }),
    )
  })
})
