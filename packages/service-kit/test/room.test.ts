import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Guest, Room } from '../src/room.ts'

const guest = (client: string): Guest => ({ client })

test('a guest finds a free place, and gives it back', () => {
  const room = new Room<Guest>(2)
  const [first, second] = [guest('a'), guest('a')]
  assert.equal(room.enter(first), null)
  assert.equal(room.enter(second), null)
  room.leave(first)
  room.leave(first)
  assert.deepEqual([room.taken, room.takenBy('a'), [...room]], [1, 1, [second]])
  assert.equal(room.enter(guest('a')), null)
})

test('where all are taken, the oldest guest of the client that has the most loses its place', () => {
  const room = new Room<Guest>(4)
  const [lone, oldest, other, newest] = [guest('b'), guest('a'), guest('a'), guest('a')]
  for (const each of [lone, oldest, other, newest]) room.enter(each)
  assert.equal(room.enter(guest('c')), oldest)
  assert.equal(room.enter(guest('a')), other)
  assert.equal(room.enter(guest('c')), newest)
  assert.deepEqual([room.taken, room.takenBy('a'), room.takenBy('b'), room.takenBy('c')], [4, 1, 1, 2])
})

test('a client has a share while another one would still have as many as it', () => {
  const room = new Room<Guest>(4)
  for (let i = 0; i < 4; i++) {
    assert.ok(room.hasShareFor('a'))
    room.enter(guest('a'))
  }
  assert.ok(!room.hasShareFor('a'))
  assert.ok(room.hasShareFor('b'))
  room.enter(guest('b'))
  assert.ok(room.hasShareFor('b'))
  room.enter(guest('b'))
  assert.ok(!room.hasShareFor('b'), 'two each: nobody takes turns for ever')
  assert.ok(!room.hasShareFor('a'))
})

test('whatever clients do, there are never more guests than places, and the newest guest has its place', () => {
  let seed = 1
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let run = 0; run < 50; run++) {
    const places = 1 + random(8)
    const room = new Room<Guest>(places)
    const inside = new Set<Guest>()
    for (let step = 0; step < 200; step++) {
      if (random(3) === 0) {
        const leaving = [...inside][random(inside.size + 1)]
        if (leaving !== undefined) {
          room.leave(leaving)
          inside.delete(leaving)
        }
      } else {
        const entering = guest(`client ${random(4)}`)
        const most = Math.max(0, ...['0', '1', '2', '3'].map((client) => room.takenBy(`client ${client}`)))
        const was = inside.size
        const loser = room.enter(entering)
        assert.equal(loser === null, was < places)
        if (loser !== null) {
          assert.equal(
            loser,
            [...inside].find(({ client }) => client === loser.client),
            'the oldest of its client',
          )
          assert.equal([...inside].filter(({ client }) => client === loser.client).length, most)
          inside.delete(loser)
        }
        inside.add(entering)
      }
      assert.ok(room.taken <= places)
      assert.deepEqual(new Set(room), inside)
    }
  }
})
