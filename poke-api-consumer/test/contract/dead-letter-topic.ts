/** What every `DeadLetterTopic` must do: the topic on a real broker and the one in memory run this suite. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { DeadLetterTopic, KeptDeadLetter } from '../../src/application/ports.ts'
import { deadLetterOf, partitionOf } from './store-harness.ts'

export interface DeadLetterTopicHarness {
  readonly topic: DeadLetterTopic
  /** Offsets of the source records of the dead letters in a partition of the topic, in the topic's order. */
  published(partition: number): Promise<number[]>
}

/** @param open called for each test, with its context; returns an empty topic with two partitions */
export function testDeadLetterTopic(name: string, open: (t: TestContext) => Promise<DeadLetterTopicHarness>): void {
  const keptAt = (offset: number, partition = 0): KeptDeadLetter => ({
    ...deadLetterOf(offset, { value: Buffer.from(`value ${offset}`) }),
    id: offset + 1,
    partition: partitionOf(partition),
    state: 'kept',
  })

  describe(`${name} as a topic of dead letters`, () => {
    test('contains every dead letter when publishing has resolved, in order within a partition', async (t) => {
      const { topic, published } = await open(t)
      await topic.publish([keptAt(1), keptAt(2, 1), keptAt(3)])
      await topic.publish([keptAt(4), keptAt(5, 1)])
      assert.deepEqual(await published(0), [1, 3, 4])
      assert.deepEqual(await published(1), [2, 5])
    })

    test('contains a dead letter twice when it is published twice, because the caller prevents repetitions', async (t) => {
      const { topic, published } = await open(t)
      await topic.publish([keptAt(1)])
      await topic.publish([keptAt(1), keptAt(2)])
      assert.deepEqual(await published(0), [1, 1, 2])
    })

    test('reports that it accepts dead letters without a test record', async (t) => {
      const { topic, published } = await open(t)
      assert.equal(await topic.refused(), null)
      await topic.publish([keptAt(7)])
      assert.deepEqual(await published(0), [7])
    })
  })
}
