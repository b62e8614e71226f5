/** How the topic of dead letters is called. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deadLetterTopicOf } from '../src/infrastructure/dead-letters/dead-letter-topic.ts'

test('the topic of dead letters has the name of its topic, as far as Kafka has room for it, and no other topic shares it', () => {
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
