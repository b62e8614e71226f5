/** What every `ReadableTopic` must do: the one of Kafka and the one in memory run this suite. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { ReadableTopic } from '../../src/application/verify.ts'

export interface TopicReaderHarness {
  readonly reader: ReadableTopic
  /** Appends records with these values to partition 0. The topic has two. */
  append(...values: string[]): Promise<void>
}

/** @param open called for each test, with its context; returns a reader of an empty topic with two partitions */
export function testTopicReader(name: string, open: (t: TestContext) => Promise<TopicReaderHarness>): void {
  describe(`${name} as a reader of a topic`, () => {
    test('describes each partition: where its log starts and ends', async (t) => {
      const { reader, append } = await open(t)
      await append('a', 'b', 'c')
      const { topicId, compacted, partitions } = await reader.describe()
      assert.match(topicId, /^[0-9a-f-]{36}$/)
      assert.equal(compacted, false)
      assert.deepEqual(partitions, [
        { logStartOffset: 0, endOffset: 3, readableEndOffset: 3 },
        { logStartOffset: 0, endOffset: 0, readableEndOffset: 0 },
      ])
    })

    test('reads exactly the records of a range, in order, and reports how far it is', async (t) => {
      const { reader, append } = await open(t)
      const values = Array.from({ length: 20 }, (_, i) => `value ${i}`)
      await append(...values)
      for (const [from, to] of [
        [0, 20],
        [3, 17],
        [19, 20],
        [5, 5],
      ] as const) {
        const read: [number, string][] = []
        const reached: number[] = []
        const each: Parameters<ReadableTopic['read']>[3] = ({ offset, bytes, valueStart, valueEnd }) =>
          read.push([offset, bytes.toString('utf8', valueStart, valueEnd)])
        assert.equal(await reader.read(0, from, to, each, (offset) => reached.push(offset)), null)
        assert.deepEqual(
          read,
          values.slice(from, to).map((value, i) => [from + i, value]),
        )
        assert.deepEqual(
          reached,
          reached.toSorted((a, b) => a - b),
        )
        if (to > from) assert.equal(reached.at(-1), to)
      }
    })
  })
}
