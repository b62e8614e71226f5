/** The watch over a topic: waits for it, refreshes its metadata when asked to, reports partitions without a leader. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FailureTracker, systemClock } from '@poke-api-pipeline/service-kit'
import type { Topic } from '../../src/brokers/cluster.ts'
import { TopicWatch, type WatchedTopic } from '../../src/brokers/topic-watch.ts'
import { KafkaError } from '../../src/errors.ts'

const topicOf = (...nodes: number[]): Topic => ({ topicId: 'id', partitions: nodes.map((node) => ({ node, leaderEpoch: 0 })) })

/** A watch that gets the given answers in order, the last one for ever. Its waits end when the test says so. */
function watch(...looks: (Topic | null | KafkaError)[]) {
  const told: string[] = []
  const waits: { readonly ms: number; readonly end: () => void }[] = []
  const state = { looks: 0, compacted: false }
  const topics = new TopicWatch({
    topic: 'poke-topic',
    cluster: {
      fetchVersion: async () => 17,
      isCompacted: async () => state.compacted,
      topic: async () => {
        const look = looks[Math.min(state.looks++, looks.length - 1)] as Topic | null | KafkaError
        if (look instanceof KafkaError) throw look
        return look
      },
    },
    failures: new FailureTracker({ failed: (error) => told.push(error.message), over: () => told.push('back') }),
    waitingForTopic: (topic) => told.push(`waiting for ${topic}`),
    clock: {
      ...systemClock(),
      random: () => 0,
      wait: (ms, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true })
          waits.push({ ms, end: resolve })
        }),
    },
  })
  return { topics, told, waits, state }
}

const turns = async (count = 20) => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate)
}

describe('the watch over a topic', () => {
  test('waits for the topic and reports that once', async () => {
    const { topics, told, waits, state } = watch(new KafkaError('unreachable', 'nobody there'), null, null, topicOf(1))
    const found = topics.found(new AbortController().signal)
    for (let look = 1; look < 4; look++) {
      await turns()
      assert.equal(state.looks, look)
      waits.at(-1)?.end()
    }
    assert.equal(await found, true)
    assert.deepEqual(told, ['nobody there', 'back', 'waiting for poke-topic'])
    assert.deepEqual(topics.leaderOf(0), { node: 1, leaderEpoch: 0 })
    assert.deepEqual(topics.leaderOf(5), { node: -1, leaderEpoch: -1 })
  })

  test('ends if waiting cannot help', async () => {
    const { topics } = watch(new KafkaError('not-authorised', 'no'))
    await assert.rejects(topics.found(new AbortController().signal), /no/)
  })

  test('refreshes the metadata on request, more slowly the more often it is requested', async () => {
    const { topics, waits, state } = watch(topicOf(1))
    const stop = new AbortController()
    await topics.found(stop.signal)
    const seen: WatchedTopic[] = []
    const running = topics.run((topic) => seen.push(topic), stop.signal)
    const pauses: number[] = []
    for (let request = 0; request < 12; request++) {
      topics.requestRefresh()
      topics.requestRefresh()
      await turns()
      pauses.push(waits.at(-1)?.ms ?? 0)
      waits.at(-1)?.end()
      await turns()
    }
    assert.deepEqual(pauses.slice(0, 4), [25, 50, 100, 200])
    assert.equal(pauses.at(-1), 2500)
    assert.equal(seen.length, 12)
    // A poll at its usual time resets the delay.
    waits.at(-1)?.end()
    await turns()
    topics.requestRefresh()
    await turns()
    assert.equal(waits.at(-1)?.ms, 25)
    stop.abort()
    await running
    assert.equal(state.looks, 14)
  })

  test('reports partitions without a leader until they have one, and polls again by itself', async () => {
    const { topics, told, waits } = watch(topicOf(1, -1, -1), topicOf(1, 2, -1), topicOf(1, 2, 3))
    const stop = new AbortController()
    await topics.found(stop.signal)
    assert.match(told.join(), /partition 1, 2 of topic poke-topic has no leader/)
    const running = topics.run(() => {}, stop.signal)
    for (let look = 0; look < 2; look++) {
      await turns()
      waits.at(-1)?.end()
    }
    await turns()
    assert.match(told.at(-2) ?? '', /partition 2 of topic/)
    assert.equal(told.at(-1), 'back')
    stop.abort()
    await running
  })

  test('keeps the last metadata while the topic does not exist, and reports when it exists again under another id', async () => {
    const { topics, told, waits } = watch(topicOf(1), null, null, { ...topicOf(2), topicId: 'new' })
    const stop = new AbortController()
    await topics.found(stop.signal)
    const seen: string[] = []
    const running = topics.run(({ topicId }) => seen.push(topicId), stop.signal)
    topics.requestRefresh()
    for (let look = 0; look < 3; look++) {
      await turns()
      assert.equal(topics.current.topicId, 'id')
      waits.at(-1)?.end()
    }
    await turns()
    assert.deepEqual([seen, topics.current.topicId, new Set(told).size, told.at(-1)], [['new'], 'new', 2, 'back'])
    assert.match(told[0] ?? '', /topic poke-topic is gone: it was deleted/)
    stop.abort()
    await running
  })

  test('polls every ten seconds without a request, and notices when compaction is switched on', async () => {
    const { topics, waits, state } = watch(topicOf(1))
    const stop = new AbortController()
    await topics.found(stop.signal)
    assert.equal(topics.current.compacted, false)
    const running = topics.run(() => {}, stop.signal)
    state.compacted = true
    await turns()
    assert.equal(waits.at(-1)?.ms, 10_000)
    waits.at(-1)?.end()
    await turns()
    assert.equal(topics.current.compacted, true)
    stop.abort()
    await running
  })
})
