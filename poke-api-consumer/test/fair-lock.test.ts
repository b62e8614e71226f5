/** A lock for work with several awaits: one holder at a time, in the order of the requests, whether the work succeeds or fails. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FairLock } from '../src/application/fair-lock.ts'

test('has one holder at a time, in the order of asking, even when the work of one fails', async () => {
  const lock = new FairLock()
  const order: string[] = []
  let inside = 0
  const work = async (name: string, turns: number) => {
    if (!lock.tryAcquire()) await lock.acquire()
    try {
      assert.equal(++inside, 1)
      order.push(name)
      for (let i = 0; i < turns; i++) await nextTurn()
      if (name === 'b') throw new Error('fails')
    } finally {
      inside--
      lock.release()
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
  assert.equal(lock.tryAcquire(), true)
})

test('is taken without waiting where it is free', () => {
  const lock = new FairLock()
  assert.equal(lock.tryAcquire(), true)
  assert.equal(lock.tryAcquire(), false)
  lock.release()
  assert.equal(lock.tryAcquire(), true)
})
