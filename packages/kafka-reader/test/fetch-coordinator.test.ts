/** The fetch coordinator over a broker that a test plays: what is asked for when, what is counted, and what is told to be lost (rules F1 to F5, S2, S6). */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { FailureTracker, pause, systemClock } from '@poke-api-pipeline/service-kit'
import type { LogEnds } from '../src/brokers/cluster.ts'
import type { WatchedTopic } from '../src/brokers/topic-watch.ts'
import { KafkaError } from '../src/errors.ts'
import { FetchCoordinator } from '../src/fetch-coordinator.ts'
import { Decompressor } from '../src/records/decompress.ts'
import { IdentityHeaders } from '../src/records/identity-headers.ts'
import { BatchCursor } from '../src/records/record-batch.ts'
import { batchOf, marker, TRANSACTIONAL } from '../testing/batch-builder.ts'
import { FakeHandler } from '../testing/fake-handler.ts'
import { type Asked, FakeBroker } from './fake-broker.ts'

const TOPIC_ID = '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d'
const NODE = 1

interface Played {
  readonly broker: FakeBroker
  readonly handler: FakeHandler
  readonly coordinator: FetchCoordinator
  /** What was told of Kafka's troubles. */
  readonly failures: string[]
  /** May be changed by the test. */
  topic: WatchedTopic
  ends: LogEnds
  refreshes: number
  /** How often it waited before it went on. */
  waits: number
  readonly running: Promise<unknown>
  end(): Promise<unknown>
}

async function play(t: TestContext, partitions: number, { compacted = false, longestSilence = 60_000 } = {}): Promise<Played> {
  const broker = await FakeBroker.start()
  const handler = new FakeHandler()
  const stopping = new AbortController()
  const failures: string[] = []
  const identity = new IdentityHeaders(null)
  const leaders = Array.from({ length: partitions }, () => ({ node: NODE, leaderEpoch: 4 }))
  const played = {
    topic: { topicId: TOPIC_ID, partitions: leaders, compacted },
    ends: { start: 0, end: 1_000_000 },
    refreshes: 0,
    waits: 0,
  }
  const coordinator = new FetchCoordinator({
    cluster: { ends: async () => played.ends, address: () => broker.address, fetchVersion: async () => 17 },
    topics: {
      get current() {
        return played.topic
      },
      leaderOf: (partition) => played.topic.partitions[partition] ?? { node: -1, leaderEpoch: -1 },
      requestRefresh: () => {
        played.refreshes++
      },
    },
    brokers: ['fake'],
    topic: 'poke-topic',
    clientId: 'test',
    limits: { maxBytes: 1 << 20, maxWait: 100 },
    longestSilence,
    newCursor: () => new BatchCursor(new Decompressor(1 << 20), identity),
    failures: new FailureTracker({ failed: (error) => failures.push(error.message), over: () => failures.push('back') }),
    quotas: new FailureTracker({ failed: (error) => failures.push(error.message), over: () => failures.push('no quota any more') }),
    confirmed: async () => {},
    clock: {
      ...systemClock(),
      random: () => 0,
      wait: (_, signal) => {
        played.waits++
        return pause(1, signal)
      },
    },
  })
  const running = coordinator.run(handler, stopping.signal)
  running.catch(() => {})
  const end = () => {
    stopping.abort()
    return running
  }
  t.after(async () => {
    await end().catch(() => {})
    broker.stop()
  })
  return Object.assign(played, { broker, handler, coordinator, failures, running, end })
}

const record = (value: string, baseOffset: number, leaderEpoch = 4) => batchOf({ baseOffset, leaderEpoch, records: [{ value }] })
const offsets = (asked: Asked) => asked.partitions.map(({ partition, fetchOffset }) => [partition, fetchOffset])
const byPartition = (a: { partition: number }, b: { partition: number }) => a.partition - b.partition
const all = (count: number) => new Set(Array.from({ length: count }, (_, partition) => partition))

describe('what is asked for', () => {
  test('everything committed, without a session, from where the store says, or from the start of the log', async (t) => {
    const { broker, handler, coordinator } = await play(t, 2)
    handler.positions.set(0, { offset: 42, leaderEpoch: 3 })
    coordinator.assign(all(2))
    const asked = await nextOf(broker, 2)
    assert.deepEqual([asked.topicId, asked.isolation, asked.session], [TOPIC_ID, 1, [0, -1]])
    assert.deepEqual([...asked.partitions].sort(byPartition), [
      { partition: 0, currentLeaderEpoch: 4, fetchOffset: 42, lastFetchedEpoch: 3, maxBytes: 1 << 20 },
      { partition: 1, currentLeaderEpoch: 4, fetchOffset: 0, lastFetchedEpoch: -1, maxBytes: 1 << 20 },
    ])
  })

  test('rule F1, F2: then what follows the last batch, holes included, with the epoch of that batch', async (t) => {
    const { broker, coordinator } = await play(t, 1)
    coordinator.assign(all(1))
    const bytes = Buffer.concat([
      record('a', 0, 4),
      batchOf({ baseOffset: 5, leaderEpoch: 7, lastOffsetDelta: 9, records: [{ value: 'b' }] }),
      record('cut off', 15).subarray(0, 40),
    ])
    ;(await broker.asked()).answer([{ partition: 0, records: bytes }])
    const [next] = (await broker.asked()).partitions
    assert.deepEqual([next?.fetchOffset, next?.lastFetchedEpoch], [15, 7])
  })

  test('rule F3: another partition is the first one in each request', async (t) => {
    const { broker, coordinator, handler } = await play(t, 3)
    coordinator.assign(all(3))
    await handler.until(() => handler.events.filter((event) => event.startsWith('open')).length === 3)
    let asked = await nextOf(broker, 3)
    const firsts: number[] = []
    for (let turn = 0; turn < 6; turn++) {
      firsts.push(asked.partitions[0]?.partition ?? -1)
      asked.answer(asked.partitions.map(({ partition }) => ({ partition })))
      asked = await nextOf(broker, 3)
    }
    assert.deepEqual([...new Set(firsts.slice(0, 3))].sort(), [0, 1, 2])
    assert.deepEqual(firsts.slice(0, 3), firsts.slice(3))
  })

  test('the next response is asked for while the last one is counted, and the one after it only then', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    const gate = Promise.withResolvers<void>()
    handler.decide = () => gate.promise.then(() => 'next')
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    const second = await broker.asked()
    assert.deepEqual(offsets(second), [[0, 1]])
    await handler.until(() => handler.calls.length === 1)
    second.answer([{ partition: 0, records: record('b', 1) }])
    // The answer arrives; that nothing follows it shows only after a round trip: by then every response that was sent has arrived, and every request that follows one at once.
    await broker.roundTrip()
    assert.equal(broker.waiting, 0, 'asked for a third response with two in memory')
    gate.resolve()
    assert.deepEqual(offsets(await broker.asked()), [[0, 2]])
    await handler.until(() => handler.counted.length === 2)
    assert.deepEqual(handler.values(), ['a', 'b'])
  })

  test('a slow partition does not mix up its own order, nor the others', async (t) => {
    const { broker, coordinator, handler } = await play(t, 2)
    coordinator.assign(all(2))
    let next = [0, 0]
    for (let turn = 0; turn < 20; turn++) {
      const asked = await broker.asked()
      asked.answer(
        asked.partitions.map(({ partition, fetchOffset }) => {
          next = next.with(partition, fetchOffset + 1)
          return { partition, records: record(`${partition}/${fetchOffset}`, fetchOffset) }
        }),
      )
    }
    await handler.until(() => handler.values(0).length >= (next[0] as number) && handler.values(1).length >= (next[1] as number))
    for (const partition of [0, 1]) {
      assert.deepEqual(
        handler.values(partition),
        Array.from({ length: next[partition] as number }, (_, i) => `${partition}/${i}`),
      )
    }
  })

  test('an opening that is late is closed before the partition is opened again', async (t) => {
    const { coordinator, handler } = await play(t, 1)
    const late = Promise.withResolvers<void>()
    handler.opening = () => late.promise
    coordinator.assign(all(1))
    await handler.until(() => handler.events.length === 1)
    coordinator.assign(new Set())
    coordinator.assign(all(1))
    late.resolve()
    await handler.until(() => handler.events.length === 3)
    assert.deepEqual(handler.events, ['open 0', 'close 0', 'open 0'])
  })

  test('an empty response is told once, as long as the ends of the log stay as they are', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    coordinator.assign(all(1))
    for (const highWatermark of [5, 5, 5, 6]) (await broker.asked()).answer([{ partition: 0, highWatermark }])
    await broker.asked()
    assert.deepEqual(
      handler.calls.map((call) => [call.fetchOffset, call.nextOffset, call.highWatermark]),
      [
        [0, 0, 5],
        [0, 0, 6],
      ],
    )
  })

  test('after records an empty response is told, whatever the ends: only then the reader can say what became of their commit', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    handler.decide = ({ fetchOffset }) => (fetchOffset === 1 ? 'reopen' : 'next')
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0), highWatermark: 1 }])
    ;(await broker.asked()).answer([{ partition: 0, highWatermark: 1 }])
    await handler.until(() => handler.events.filter((event) => event.startsWith('open')).length === 2)
  })

  test('partitions without a leader are left out until they have one', async (t) => {
    const played = await play(t, 2)
    const { broker, coordinator, handler } = played
    handler.positions.set(0, { offset: 1, leaderEpoch: 4 }).set(1, { offset: 2, leaderEpoch: 4 })
    const [first] = played.topic.partitions
    assert.ok(first)
    played.topic = { ...played.topic, partitions: [first, { node: -1, leaderEpoch: 5 }] }
    coordinator.assign(all(2))
    const asked = await broker.asked()
    assert.deepEqual(offsets(asked), [[0, 1]])
    played.topic = { ...played.topic, partitions: [first, { node: NODE, leaderEpoch: 6 }] }
    coordinator.topicRefreshed()
    asked.answer([{ partition: 0 }])
    const both = await nextOf(broker, 2)
    assert.deepEqual(both.partitions.find(({ partition }) => partition === 1)?.currentLeaderEpoch, 6)
  })
})

describe('rule F4', () => {
  test('aborted transactions that a response names are not shown', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    coordinator.assign(all(1))
    const records = Buffer.concat([
      batchOf({ baseOffset: 0, producerId: 9n, attributes: TRANSACTIONAL, records: [{ value: 'no' }] }),
      marker('abort', 9n, 1),
      batchOf({ baseOffset: 2, producerId: 9n, attributes: TRANSACTIONAL, records: [{ value: 'no' }] }),
      marker('abort', 9n, 3),
      batchOf({ baseOffset: 4, producerId: 9n, attributes: TRANSACTIONAL, records: [{ value: 'yes' }] }),
    ])
    const aborted = [0, 2].map((firstOffset) => ({ producerId: 9n, firstOffset }))
    ;(await broker.asked()).answer([{ partition: 0, records, aborted }])
    await handler.until(() => handler.counted.length > 0)
    assert.deepEqual([handler.values(), handler.positions.get(0)?.offset], [['yes'], 5])
  })
})

describe('rule S2', () => {
  test('after a reopening nothing is counted that was asked for before, and the store says where to go on', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length === 1)
    handler.decide = () => {
      handler.positions.set(0, { offset: 500, leaderEpoch: 4 })
      handler.decide = () => 'next'
      return 'reopen'
    }
    ;(await broker.asked()).answer([{ partition: 0, records: record('b', 1) }])
    const stale = await broker.asked()
    assert.deepEqual(offsets(stale), [[0, 2]])
    await handler.until(() => handler.events.filter((event) => event === 'open 0').length === 2)
    stale.answer([{ partition: 0, records: record('c', 2) }])
    const asked = await broker.asked()
    assert.deepEqual(offsets(asked), [[0, 500]])
    asked.answer([{ partition: 0, records: record('d', 500) }])
    await handler.until(() => handler.counted.length === 2)
    assert.deepEqual(handler.values(), ['a', 'd'])
  })

  test('what had arrived already is void too', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    const gate = Promise.withResolvers<void>()
    handler.decide = () =>
      gate.promise.then(() => {
        handler.decide = () => 'next'
        return 'reopen'
      })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    ;(await broker.asked()).answer([{ partition: 0, records: record('b', 1) }])
    await handler.until(() => handler.calls.length === 1)
    await broker.roundTrip()
    gate.resolve()
    await handler.until(() => handler.events.filter((event) => event === 'open 0').length === 2)
    let asked = await broker.asked()
    if (asked.partitions[0]?.fetchOffset !== 0) {
      asked.answer([{ partition: 0, records: record('c', 2) }])
      asked = await broker.asked()
    }
    asked.answer([{ partition: 0, records: Buffer.concat([record('a', 0), record('b', 1)]) }])
    await handler.until(() => handler.counted.length === 2)
    assert.deepEqual(handler.values(), ['a', 'b'])
  })

  test('what arrives for a partition that was taken away meanwhile is not counted', async (t) => {
    const { broker, coordinator, handler } = await play(t, 2)
    handler.positions.set(0, { offset: 0, leaderEpoch: 4 }).set(1, { offset: 0, leaderEpoch: 4 })
    coordinator.assign(all(2))
    const asked = await nextOf(broker, 2)
    coordinator.assign(new Set([1]))
    asked.answer([0, 1].map((partition) => ({ partition, records: record(`of ${partition}`, 0) })))
    await handler.until(() => handler.counted.length > 0)
    const next = await broker.asked()
    assert.deepEqual(offsets(next), [[1, 1]])
    assert.deepEqual([handler.values(0), handler.values(1)], [[], ['of 1']])
    assert.ok(handler.events.includes('close 0'))
  })

  test('a partition that stopped is left alone until it is handed out again', async (t) => {
    const { broker, coordinator, handler } = await play(t, 2)
    handler.positions.set(0, { offset: 0, leaderEpoch: 4 }).set(1, { offset: 0, leaderEpoch: 4 })
    handler.decide = ({ partition }) => (partition === 0 ? 'stop' : 'next')
    coordinator.assign(all(2))
    ;(await nextOf(broker, 2)).answer([0, 1].map((partition) => ({ partition, records: record('x', 0) })))
    await handler.until(() => handler.events.includes('counted 0: stop') && handler.values(1).length === 1)
    // One that was asked for before the stop may be under way still.
    let asked = await broker.asked()
    if (asked.partitions.length > 1) {
      asked.answer([])
      asked = await broker.asked()
    }
    assert.deepEqual(offsets(asked), [[1, 1]])
    coordinator.assign(new Set([1]))
    handler.decide = () => 'next'
    coordinator.assign(all(2))
    await handler.until(() => handler.events.filter((event) => event === 'open 0').length === 2)
    asked.answer([{ partition: 1 }])
    assert.equal((await nextOf(broker, 2)).partitions.length, 2)
  })

  test('a topic made again is opened under its new id', async (t) => {
    const played = await play(t, 1)
    const { broker, coordinator, handler } = played
    coordinator.assign(all(1))
    const asked = await broker.asked()
    played.topic = { ...played.topic, topicId: TOPIC_ID.replace('0a', 'ff') }
    coordinator.topicRefreshed()
    asked.answer([{ partition: 0, records: record('of the old topic', 0) }])
    const next = await broker.asked()
    assert.equal(next.topicId, TOPIC_ID.replace('0a', 'ff'))
    assert.deepEqual(handler.events, ['open 0', 'close 0', 'open 0'])
    assert.deepEqual(handler.counted, [])
  })
})

describe('rules F1, F5 and S6: what is lost', () => {
  const lossOf = async (t: TestContext, position: number, errorCode: number, ends: LogEnds) => {
    const played = await play(t, 1)
    played.handler.positions.set(0, { offset: position, leaderEpoch: 3 })
    played.ends = ends
    played.coordinator.assign(all(1))
    ;(await played.broker.asked()).answer([{ partition: 0, errorCode }])
    await played.handler.until(() => played.handler.losses.length > 0)
    return played.handler.losses[0]?.loss
  }

  test('retention removed records before they were read', async (t) => {
    const loss = await lossOf(t, 10, 1, { start: 25, end: 90 })
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['retention', 10, 25])
    assert.match(loss?.message ?? '', /15 offsets .* from 10 to 24/)
  })

  test('the log ends below the position', async (t) => {
    const loss = await lossOf(t, 100, 1, { start: 0, end: 90 })
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['truncated', 90, 90])
    assert.match(loss?.message ?? '', /10 offsets that were counted are gone/)
  })

  test('the log went another way below the position', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.positions.set(0, { offset: 100, leaderEpoch: 5 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, diverging: { epoch: 3, endOffset: 60 }, records: record('not ours', 100) }])
    await handler.until(() => handler.losses.length > 0)
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to, handler.counted], ['truncated', 60, 60, []])
    assert.match(loss?.message ?? '', /40 offsets from 60 on/)
  })

  test('no loss: a partition that was never read, whose log begins later by now', async (t) => {
    const played = await play(t, 1)
    const { broker, handler, coordinator } = played
    coordinator.assign(all(1))
    const asked = await broker.asked()
    assert.deepEqual(offsets(asked), [[0, 0]])
    played.ends = { start: 30, end: 40 }
    asked.answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 30]])
    assert.deepEqual(handler.losses, [])
  })

  test('no loss either: a broker that has no first record where it says that the log begins; it is asked again after a while', async (t) => {
    const played = await play(t, 1)
    const { broker, handler, coordinator } = played
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 0]])
    assert.equal(played.waits, 1)
    assert.deepEqual(handler.losses, [])
  })

  test('a loss, though nothing is committed yet: the first records were counted, and their commit is under way', async (t) => {
    const played = await play(t, 1)
    const { broker, handler, coordinator } = played
    handler.positions.set = () => handler.positions
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    const asked = await broker.asked()
    assert.deepEqual(offsets(asked), [[0, 1]])
    played.ends = { start: 30, end: 40 }
    asked.answer([{ partition: 0, errorCode: 1 }])
    await handler.until(() => handler.losses.length > 0)
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['retention', 1, 30])
  })

  test('no loss: a leader that was behind for a moment', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.positions.set(0, { offset: 100, leaderEpoch: 3 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 100]])
    assert.deepEqual(handler.losses, [])
  })

  test('a leader epoch that the broker has never heard of', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.positions.set(0, { offset: 100, leaderEpoch: 30 })
    coordinator.assign(all(1))
    while (handler.losses.length === 0) {
      const asked = await Promise.race([broker.asked(), handler.until(() => handler.losses.length > 0)])
      asked?.answer([{ partition: 0, errorCode: 1 }])
    }
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['truncated', null, null])
    assert.match(loss?.message ?? '', /epoch 30, which the broker has never heard of/)
  })

  test('bytes that cannot be read are given to the reader, and fetched again where it says so', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.decide = ({ corrupt }) => (corrupt === null ? 'next' : 'reopen')
    coordinator.assign(all(1))
    const damaged = record('a', 0)
    damaged[65] = 0xff
    ;(await broker.asked()).answer([{ partition: 0, records: damaged }])
    await handler.until(() => handler.calls.length === 1)
    assert.match(handler.calls[0]?.corrupt ?? '', /checksum/)
    let asked = await broker.asked()
    // What was asked for by the head of the damaged batch, before it was looked at, is void.
    if (asked.partitions[0]?.fetchOffset === 1) {
      asked.answer([{ partition: 0, records: record('b', 1) }])
      asked = await broker.asked()
    }
    assert.deepEqual(offsets(asked), [[0, 0]])
    asked.answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length > 0)
    assert.deepEqual(handler.values(), ['a'])
  })

  test('a broker that finds its own log damaged is asked once more, then that is a loss', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    coordinator.assign(all(1))
    for (let i = 0; i < 2; i++) (await broker.asked()).answer([{ partition: 0, errorCode: 2 }])
    await handler.until(() => handler.losses.length > 0)
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['corrupt', 0, null])
  })

  test('a loss that is recorded is gone on behind', async (t) => {
    const played = await play(t, 1)
    const { broker, handler, coordinator } = played
    handler.positions.set(0, { offset: 10, leaderEpoch: 3 })
    played.ends = { start: 25, end: 90 }
    handler.decideLoss = (_, { to }) => {
      handler.positions.set(0, { offset: to as number, leaderEpoch: -1 })
      return 'reopen'
    }
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 25]])
  })

  test('of a compacted topic nothing is asked for', async (t) => {
    const { handler, coordinator, broker } = await play(t, 2, { compacted: true })
    coordinator.assign(all(2))
    await handler.until(() => handler.losses.length === 2)
    assert.deepEqual(
      handler.losses.map(({ loss }) => loss.kind),
      ['compacted', 'compacted'],
    )
    assert.equal(broker.waiting, 0)
  })

  test('compaction that is switched on later stops every partition', async (t) => {
    const played = await play(t, 1)
    const { handler, coordinator, broker } = played
    coordinator.assign(all(1))
    const asked = await broker.asked()
    played.topic = { ...played.topic, compacted: true }
    coordinator.topicRefreshed()
    await handler.until(() => handler.losses.length === 1)
    asked.answer([{ partition: 0, records: record('a', 0) }])
    assert.equal(handler.losses[0]?.loss.kind, 'compacted')
    assert.deepEqual(handler.counted, [])
  })
})

describe('trouble', () => {
  test('a leader that is none any more: the topic is looked at, and the same is asked for again', async (t) => {
    for (const errorCode of [3, 5, 6, 9, 56, 74, 75, 78, 100, 103, 30_000, -1]) {
      const played = await play(t, 1)
      played.coordinator.assign(all(1))
      ;(await played.broker.asked()).answer([{ partition: 0, errorCode }])
      assert.deepEqual(offsets(await played.broker.asked()), [[0, 0]])
      assert.ok(played.refreshes > 0, `error ${errorCode}`)
      assert.equal(played.failures.length, 1)
    }
  })

  test('a refusal of one partition does not hold up the others, and is over when it is answered', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 2)
    handler.positions.set(0, { offset: 0, leaderEpoch: 4 }).set(1, { offset: 0, leaderEpoch: 4 })
    coordinator.assign(all(2))
    ;(await nextOf(broker, 2)).answer([
      { partition: 0, errorCode: 56 },
      { partition: 1, records: record('x', 0) },
    ])
    await handler.until(() => handler.values(1).length === 1)
    const asked = await nextOf(broker, 2)
    assert.match(failures.join(), /KAFKA_STORAGE_ERROR/)
    asked.answer([{ partition: 0 }, { partition: 1 }])
    await broker.asked()
    assert.equal(failures.at(-1), 'back')
  })

  test('a replica that is named to read from, unasked: nothing of the answer is counted, and the same is asked for again', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, preferredReadReplica: 2, records: record('x', 0) }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 0]])
    assert.match(failures.join(), /names replica 2 to read partition 0 from/)
    assert.deepEqual(handler.counted, [])
  })

  test('a topic that this user may not read ends reading', async (t) => {
    const { broker, coordinator, running } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 29 }])
    await assert.rejects(running, (error: unknown) => error instanceof KafkaError && error.kind === 'not-authorised' && !error.retriable)
  })

  test('an error of the store that nothing can help against ends reading', async (t) => {
    const { coordinator, running, handler } = await play(t, 1)
    handler.open = async () => {
      throw new Error('the store is of another world')
    }
    coordinator.assign(all(1))
    await assert.rejects(running, /another world/)
  })

  test('a connection that breaks, an answer that makes no sense, and an error of the whole answer: asked again on a new connection', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).hangUp()
    ;(await broker.asked()).answer([{ partition: 0 }], { errorCode: -1 })
    ;(await broker.asked()).answer([{ partition: 5, records: record('of no question', 0) }])
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length === 1)
    assert.equal(broker.connections, 3)
    assert.deepEqual(failures.filter((message) => message === 'back').length, 2)
  })

  test('a broker that falls silent is asked again on a new connection', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1, { longestSilence: 100 })
    coordinator.assign(all(1))
    await broker.asked()
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length === 1)
    assert.match(failures[0] ?? '', /nothing came for 200 ms/)
    assert.ok(broker.connections >= 2)
  })

  test('a broker that enforces a quota is waited for as long as it said, which is called a quota until it is over', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1, { longestSilence: 100 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }], { throttleMs: 60_000 })
    const throttled = await broker.asked()
    // Longer than it may be silent otherwise.
    setTimeout(() => throttled.answer([{ partition: 0, records: record('b', 1) }]), 400)
    await handler.until(() => handler.counted.length === 2)
    assert.match(failures.shift() ?? '', /broker 1 enforces a quota on this service and makes it wait 60\.0 s/)
    assert.deepEqual([failures, broker.connections], [['no quota any more'], 1])
  })

  test('an answer that takes its time, but keeps coming, is waited for', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1, { longestSilence: 150 })
    coordinator.assign(all(1))
    const records = record('x'.repeat(2000), 0)
    ;(await broker.asked()).answer([{ partition: 0, records }], { pieces: 60 })
    await handler.until(() => handler.counted.length === 1)
    assert.equal(broker.connections, 1)
  })

  test('at the end every partition is closed, whatever is under way, and the last positions are given', async (t) => {
    const { broker, coordinator, handler, end } = await play(t, 2)
    coordinator.assign(all(2))
    ;(await nextOf(broker, 2)).answer([0, 1].map((partition) => ({ partition, records: record('a', 0) })))
    await handler.until(() => handler.counted.length === 2)
    await broker.asked()
    assert.deepEqual(
      await end(),
      new Map([
        [0, { offset: 1, leaderEpoch: 4 }],
        [1, { offset: 1, leaderEpoch: 4 }],
      ]),
    )
    assert.deepEqual(handler.events.slice(-2).sort(), ['close 0', 'close 1'])
  })
})

/** The next request with so many partitions; those before it, which were sent while some were not opened yet, are answered with nothing. */
async function nextOf(broker: FakeBroker, partitions: number): Promise<Asked> {
  for (;;) {
    const asked = await broker.asked()
    if (asked.partitions.length === partitions) return asked
    asked.answer(asked.partitions.map(({ partition }) => ({ partition })))
  }
}
