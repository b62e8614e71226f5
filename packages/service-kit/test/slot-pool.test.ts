import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SlotHolder, SlotPool } from '../src/slot-pool.ts'

const holder = (client: string): SlotHolder => ({ client })

test('a free slot is acquired and released once', () => {
  const pool = new SlotPool<SlotHolder>(2)
  const [first, second] = [holder('a'), holder('a')]
  assert.equal(pool.acquire(first), null)
  assert.equal(pool.acquire(second), null)
  pool.release(first)
  pool.release(first)
  assert.deepEqual([pool.used, pool.usedBy('a'), [...pool]], [1, 1, [second]])
  assert.equal(pool.acquire(holder('a')), null)
})

test('evicts the oldest holder of the client with the most slots when none is free', () => {
  const pool = new SlotPool<SlotHolder>(4)
  const [lone, oldest, other, newest] = [holder('b'), holder('a'), holder('a'), holder('a')]
  for (const each of [lone, oldest, other, newest]) pool.acquire(each)
  assert.equal(pool.acquire(holder('c')), oldest)
  assert.equal(pool.acquire(holder('a')), other)
  assert.equal(pool.acquire(holder('c')), newest)
  assert.deepEqual([pool.used, pool.usedBy('a'), pool.usedBy('b'), pool.usedBy('c')], [4, 1, 1, 2])
})

test('a client has a share while another client would keep as many slots', () => {
  const pool = new SlotPool<SlotHolder>(4)
  for (let i = 0; i < 4; i++) {
    assert.ok(pool.hasShareFor('a'))
    pool.acquire(holder('a'))
  }
  assert.ok(!pool.hasShareFor('a'))
  assert.ok(pool.hasShareFor('b'))
  pool.acquire(holder('b'))
  assert.ok(pool.hasShareFor('b'))
  pool.acquire(holder('b'))
  assert.ok(!pool.hasShareFor('b'), 'two each: neither evicts the other for ever')
  assert.ok(!pool.hasShareFor('a'))
})

test('never exceeds its size, and the newest holder always has a slot', () => {
  let seed = 1
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let run = 0; run < 50; run++) {
    const size = 1 + random(8)
    const pool = new SlotPool<SlotHolder>(size)
    const inside = new Set<SlotHolder>()
    for (let step = 0; step < 200; step++) {
      if (random(3) === 0) {
        const leaving = [...inside][random(inside.size + 1)]
        if (leaving !== undefined) {
          pool.release(leaving)
          inside.delete(leaving)
        }
      } else {
        const entering = holder(`client ${random(4)}`)
        const most = Math.max(0, ...['0', '1', '2', '3'].map((client) => pool.usedBy(`client ${client}`)))
        const was = inside.size
        const evicted = pool.acquire(entering)
        assert.equal(evicted === null, was < size)
        if (evicted !== null) {
          assert.equal(
            evicted,
            [...inside].find(({ client }) => client === evicted.client),
            'the oldest holder of its client',
          )
          assert.equal([...inside].filter(({ client }) => client === evicted.client).length, most)
          inside.delete(evicted)
        }
        inside.add(entering)
      }
      assert.ok(pool.used <= size)
      assert.deepEqual(new Set(pool), inside)
    }
  }
})
