/** The group reader and a topic that does not exist yet, is made again, cut, compacted, or gets more partitions (rules F1, F3, S4, S6). */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { Fetching, type FetchingOptions } from '../fetching.ts'
import { Topics } from '../topics.ts'

const dir = mkdtempSync(join(tmpdir(), 'fetch-topic-'))
let kafka: Kafka
let topics: Topics
let count = 0

before(async () => {
  kafka = await startKafka({ dir })
  topics = new Topics(kafka.brokers)
})
after(async () => {
  await topics.close()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

/** Each test has a topic of its own. */
const newTopic = () => `topic-${++count}`

function fetch(t: TestContext, topic: string, handler = new FakeHandler(), limits?: FetchingOptions['limits']): Fetching {
  const fetching = new Fetching({ brokers: [kafka.brokers], topic, groupId: topic, ...(limits && { limits }) }, handler)
  t.after(() => fetching.stop())
  return fetching
}

describe('the topic', () => {
  test('is waited for, which is reported once', async (t) => {
    const topic = newTopic()
    const fetching = fetch(t, topic)
    await fetching.until(() => fetching.reports.length > 0)
    await topics.make(topic, 2)
    await topics.write(topic, 1, 'pikachu')
    await fetching.handler.until(() => fetching.handler.counted.length === 1)
    assert.deepEqual(fetching.reports, [`waiting for ${topic}`, 'assigned 0 1'])
    assert.deepEqual(fetching.handler.values(1), ['pikachu'])
  })

  test('is read from the beginning of its log if it was never read before', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, 'a', 'b', 'c')
    await topics.removeBefore(topic, 0, 2)
    const { handler } = fetch(t, topic)
    await handler.until(() => handler.counted.length > 0)
    assert.deepEqual([handler.values(), handler.losses], [['c'], []])
  })

  test('is opened under its new id after it was made again', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, 'of the old one')
    const fetching = fetch(t, topic)
    const { handler } = fetching
    await handler.until(() => handler.counted.length === 1)
    await topics.remove(topic)
    await fetching.until(() => fetching.reports.some((event) => event.includes(`topic ${topic} is gone`)))
    handler.positions.clear()
    await topics.make(topic)
    await topics.write(topic, 0, 'of the new one')
    await handler.until(() => handler.counted.length === 2)
    assert.deepEqual(handler.values(), ['of the old one', 'of the new one'])
    assert.equal(fetching.reports.at(-1), 'back')
    assert.deepEqual(
      handler.events.filter((event) => /open|close/.test(event)),
      ['open 0', 'close 0', 'open 0'],
    )
  })

  test('has its positions copied to the group’s offsets, the last ones at the end', async () => {
    const topic = newTopic()
    await topics.make(topic, 2)
    await topics.write(topic, 0, 'a', 'b', 'c')
    const fetching = new Fetching({ brokers: [kafka.brokers], topic, groupId: topic })
    await fetching.handler.until(() => fetching.handler.counted.length === 3)
    while ((await topics.mirrored(topic, topic)).get(0) !== 3);
    await topics.write(topic, 1, 'd')
    await fetching.handler.until(() => fetching.handler.counted.length === 4)
    await fetching.stop()
    assert.deepEqual(
      await topics.mirrored(topic, topic),
      new Map([
        [0, 3],
        [1, 1],
      ]),
    )
  })

  test('gets more partitions, and they are read, too', async (t) => {
    const topic = newTopic()
    await topics.make(topic, 1)
    const fetching = fetch(t, topic)
    await fetching.until(() => fetching.assigned.length === 1)
    await topics.addPartitions(topic, 3, 2)
    await topics.write(topic, 2, 'in a new one')
    await fetching.handler.until(() => fetching.handler.counted.length === 1)
    assert.deepEqual(fetching.assigned, [0, 1, 2])
    // The partitions of before are read on without interruption.
    assert.deepEqual(
      fetching.handler.events.filter((event) => event.endsWith(' 0') && /open|close/.test(event)),
      ['open 0'],
    )
  })

  test('rule F3: has a backlog in one partition, which does not delay another one', async (t) => {
    const topic = newTopic()
    await topics.make(topic, 2)
    const large = 'x'.repeat(50_000)
    for (let i = 0; i < 20; i++) await topics.write(topic, 0, ...Array<string>(10).fill(large))
    await topics.write(topic, 1, 'small')
    const handler = new FakeHandler()
    fetch(t, topic, handler, { maxBytes: 1 << 16, maxWait: 200 })
    await handler.until(() => handler.values(1).length === 1)
    assert.ok(handler.values(0).length < 100, `${handler.values(0).length} of the backlog came first`)
  })
})

describe('a log', () => {
  const lossOf = async (t: TestContext, topic: string, offset: number, leaderEpoch = 0) => {
    const handler = new FakeHandler()
    handler.positions.set(0, { offset, leaderEpoch })
    fetch(t, topic, handler)
    await handler.until(() => handler.losses.length > 0)
    return handler.losses[0]?.loss
  }

  test('from which retention removed unread records is reported as data loss', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, ...'abcdefghij')
    await topics.removeBefore(topic, 0, 7)
    const loss = await lossOf(t, topic, 3)
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['retention', 3, 7])
  })

  test('from which retention removes records while it is read is read on behind the loss if the handler decides so', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, ...'abcdefghij')
    await topics.removeBefore(topic, 0, 7)
    const handler = new FakeHandler()
    handler.positions.set(0, { offset: 3, leaderEpoch: 0 })
    handler.decideLoss = (partition, { to }) => {
      handler.positions.set(partition, { offset: to as number, leaderEpoch: -1 })
      return 'reopen'
    }
    fetch(t, topic, handler)
    await handler.until(() => handler.counted.length === 3)
    assert.deepEqual(handler.values(), ['h', 'i', 'j'])
  })

  test('that ends below the position is reported as data loss', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, 'a', 'b')
    const loss = await lossOf(t, topic, 10)
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['truncated', 2, 2])
  })

  test('that was truncated and written again is reported: the broker does not know the leader epoch of the position', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    await topics.write(topic, 0, ...'abcdefghij')
    const loss = await lossOf(t, topic, 8, 5)
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['truncated', null, null])
    assert.match(loss?.message ?? '', /epoch 5/)
  })

  test('of a compacted topic is not read', async (t) => {
    const topic = newTopic()
    await topics.make(topic, 1, { 'cleanup.policy': 'compact,delete' })
    await topics.write(topic, 0, 'a')
    const { handler } = fetch(t, topic)
    await handler.until(() => handler.losses.length > 0)
    assert.deepEqual([handler.losses[0]?.loss.kind, handler.counted], ['compacted', []])
  })

  test('of a topic is not read any further once the topic is compacted', async (t) => {
    const topic = newTopic()
    await topics.make(topic)
    const { handler } = fetch(t, topic)
    await topics.write(topic, 0, 'a')
    await handler.until(() => handler.counted.length === 1)
    await topics.set(topic, 'cleanup.policy', 'compact')
    await handler.until(() => handler.losses.length > 0)
    assert.equal(handler.losses[0]?.loss.kind, 'compacted')
  })
})
