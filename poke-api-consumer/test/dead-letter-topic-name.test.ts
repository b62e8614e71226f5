/** The name of the dead-letter topic. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deadLetterTopicOf } from '../src/infrastructure/dead-letters/dead-letter-topic.ts'

test('the name of a dead-letter topic begins with the name of its topic, is not too long for Kafka, and belongs to no other topic', () => {
  assert.equal(deadLetterTopicOf('poke-topic'), 'poke-topic.dead-letters')
  const fits = 'p'.repeat(236)
  assert.equal(deadLetterTopicOf(fits), `${fits}.dead-letters`)
  const long = ['a', 'b'].map((end) => deadLetterTopicOf('p'.repeat(248) + end))
  assert.deepEqual(
    long.map((name) => name.length),
    [249, 249],
  )
  assert.notEqual(long[0], long[1])
  assert.equal(long[0], deadLetterTopicOf(`${'p'.repeat(248)}a`), 'the same each time')
  assert.match(long[0] ?? '', /^p{219}-[0-9a-f]{16}\.dead-letters$/)
})
