/** Publishing dead letters: how long a failure lasts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeadLetterPublishing } from '../src/application/dead-letter-publishing.ts'
import { deadLetterOf, partitionOf } from './contract/store-harness.ts'

const P0 = partitionOf(0)

test('the failure of a partition is over when another instance owns the partition', async () => {
  const heard: string[] = []
  const stop = new AbortController()
  const failed = Promise.withResolvers<void>()
  const publishing = new DeadLetterPublishing({
    store: {
      unpublished: async () => [{ ...deadLetterOf(3), id: 1, partition: P0, state: 'kept' }],
      markPublished: async () => assert.fail('nothing was published'),
    },
    topic: { publish: () => Promise.reject(new Error('refused')), refused: async () => null, close: async () => {} },
    observer: {
      deadLettersPublished: () => heard.push('published'),
      deadLetterPublishingFailed: ({ message }) => {
        heard.push(message)
        failed.resolve()
      },
      deadLetterPublishingWorked: () => heard.push('over'),
    },
    crashPoint: () => {},
    clock: {
      now: () => 0,
      wait: (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
      random: () => 0,
    },
  })
  publishing.own(P0)
  const running = publishing.run(stop.signal)
  await failed.promise
  publishing.disown(P0)
  assert.deepEqual(heard, ['refused', 'over'])
  stop.abort()
  await running
})
