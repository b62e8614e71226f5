/** Turns: one at a time, in the order of asking, however the waits end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Turns } from '../src/application/turns.ts'

test('one at a time has it, and who waited has it before who comes later', async () => {
  const turns = new Turns()
  const order: string[] = []
  let inside = 0
  const work = async (name: string, waits: number) => {
    if (turns.taken) await turns.turn()
    turns.take()
    try {
      assert.equal(++inside, 1)
      order.push(name)
      for (let i = 0; i < waits; i++) await nextTurn()
      if (name === 'b') throw new Error('fails')
    } finally {
      inside--
      turns.end()
    }
  }
  const all = [work('a', 3), work('b', 2), work('c', 0)]
  await nextTurn()
  all.push(work('d', 1))
  const results = await Promise.allSettled(all)
  assert.deepEqual(order, ['a', 'b', 'c', 'd'])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  )
  assert.equal(turns.taken, false)
})

test('where nobody has it nothing is waited for', () => {
  const turns = new Turns()
  turns.take()
  turns.end()
  assert.equal(turns.taken, false)
})
