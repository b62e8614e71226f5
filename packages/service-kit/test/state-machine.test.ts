import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StateMachine } from '../src/state-machine.ts'

test('a state allows the declared transitions only, and the error of another one names both states', () => {
  const door = new StateMachine('the door', { open: ['closed'], closed: ['open', 'locked'], locked: [] }, 'open')
  assert.throws(() => door.enter('locked'), { message: 'the door cannot go from "open" to "locked"' })
  assert.equal(door.state, 'open')
  door.enter('closed')
  door.enter('locked')
  assert.ok(door.is('open', 'locked'))
  for (const next of ['open', 'closed', 'locked'] as const) assert.throws(() => door.enter(next), /cannot go from "locked"/)
})
