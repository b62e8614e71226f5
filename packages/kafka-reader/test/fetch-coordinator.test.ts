/** The fetch coordinator with a fake broker: its requests, the records it hands over, and the losses it reports (rules F1 to F5, S2, S6). */
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
  /** The reported failures of Kafka. */
  readonly failures: string[]
  /** The metadata. A test can change it. */
  topic: WatchedTopic
  ends: LogEnds
  refreshes: number
  /** The number of pauses before retries. */
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

describe('a fetch request', () => {
  test('asks for committed records, without a fetch session, from the stored position or from the start of the log', async (t) => {
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

  test('rules F1 and F2: continues after the last offset of the last batch, with the epoch of that batch', async (t) => {
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

  test('rule F3: begins with another partition each time', async (t) => {
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

  test('is sent while the last response is processed, but not a second one', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    const gate = Promise.withResolvers<void>()
    handler.decide = () => gate.promise.then(() => 'next')
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    const second = await broker.asked()
    assert.deepEqual(offsets(second), [[0, 1]])
    await handler.until(() => handler.calls.length === 1)
    second.answer([{ partition: 0, records: record('b', 1) }])
    // After a round trip the answer has arrived, and a request that it wrongly caused would have arrived, too.
    await broker.roundTrip()
    assert.equal(broker.waiting, 0, 'requested a third response with two in memory')
    gate.resolve()
    assert.deepEqual(offsets(await broker.asked()), [[0, 2]])
    await handler.until(() => handler.counted.length === 2)
    assert.deepEqual(handler.values(), ['a', 'b'])
  })

  test('of several partitions leaves the records of each partition in order', async (t) => {
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

  test('is not sent for a partition that was unassigned while it opened: it is closed before it is opened again', async (t) => {
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

  test('with an empty response is handed over once, until the ends of the log change', async (t) => {
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

  test('with an empty response after records is always handed over, so that the session can report a failed commit', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1)
    handler.decide = ({ fetchOffset }) => (fetchOffset === 1 ? 'reopen' : 'next')
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0), highWatermark: 1 }])
    ;(await broker.asked()).answer([{ partition: 0, highWatermark: 1 }])
    await handler.until(() => handler.events.filter((event) => event.startsWith('open')).length === 2)
  })

  test('does not name partitions without a leader until they have one', async (t) => {
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
  test('records of aborted transactions that a response lists are not shown', async (t) => {
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
  test('after a partition was reopened, responses to earlier requests are dropped, and reading continues from the stored position', async (t) => {
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

  test('after a partition was reopened, responses that had arrived already are dropped, too', async (t) => {
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

  test('records of a partition that was unassigned meanwhile are dropped', async (t) => {
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

  test('a stopped partition is not requested until it is assigned again', async (t) => {
    const { broker, coordinator, handler } = await play(t, 2)
    handler.positions.set(0, { offset: 0, leaderEpoch: 4 }).set(1, { offset: 0, leaderEpoch: 4 })
    handler.decide = ({ partition }) => (partition === 0 ? 'stop' : 'next')
    coordinator.assign(all(2))
    ;(await nextOf(broker, 2)).answer([0, 1].map((partition) => ({ partition, records: record('x', 0) })))
    await handler.until(() => handler.events.includes('counted 0: stop') && handler.values(1).length === 1)
    // A request that was sent before the stop can be under way.
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

  test('a topic that was created again is opened under its new id', async (t) => {
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

describe('rules F1, F5 and S6: a loss', () => {
  const lossOf = async (t: TestContext, position: number, errorCode: number, ends: LogEnds) => {
    const played = await play(t, 1)
    played.handler.positions.set(0, { offset: position, leaderEpoch: 3 })
    played.ends = ends
    played.coordinator.assign(all(1))
    ;(await played.broker.asked()).answer([{ partition: 0, errorCode }])
    await played.handler.until(() => played.handler.losses.length > 0)
    return played.handler.losses[0]?.loss
  }

  test('is reported if retention removed records before they were read', async (t) => {
    const loss = await lossOf(t, 10, 1, { start: 25, end: 90 })
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['retention', 10, 25])
    assert.match(loss?.message ?? '', /15 offsets .* from 10 to 24/)
  })

  test('is reported if the log ends before the position', async (t) => {
    const loss = await lossOf(t, 100, 1, { start: 0, end: 90 })
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['truncated', 90, 90])
    assert.match(loss?.message ?? '', /10 offsets that were read are gone/)
  })

  test('is reported if the log diverges before the position', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.positions.set(0, { offset: 100, leaderEpoch: 5 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, diverging: { epoch: 3, endOffset: 60 }, records: record('not ours', 100) }])
    await handler.until(() => handler.losses.length > 0)
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to, handler.counted], ['truncated', 60, 60, []])
    assert.match(loss?.message ?? '', /40 offsets from 60 on/)
  })

  test('is not reported for a partition without a position whose log does not begin at 0', async (t) => {
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

  test('is not reported if a broker refuses the start of the log that it named: it is asked again after a pause', async (t) => {
    const played = await play(t, 1)
    const { broker, handler, coordinator } = played
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 0]])
    assert.equal(played.waits, 1)
    assert.deepEqual(handler.losses, [])
  })

  test('is reported after the first records even if their commit is still under way', async (t) => {
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

  test('is not reported if the leader was only behind for a moment', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.positions.set(0, { offset: 100, leaderEpoch: 3 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 1 }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 100]])
    assert.deepEqual(handler.losses, [])
  })

  test('is reported if the broker does not know the leader epoch of the position', async (t) => {
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

  test('is not reported for unreadable bytes: the session decides whether they are fetched again', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    handler.decide = ({ corrupt }) => (corrupt === null ? 'next' : 'reopen')
    coordinator.assign(all(1))
    const damaged = record('a', 0)
    damaged[65] = 0xff
    ;(await broker.asked()).answer([{ partition: 0, records: damaged }])
    await handler.until(() => handler.calls.length === 1)
    assert.match(handler.calls[0]?.corrupt ?? '', /checksum/)
    let asked = await broker.asked()
    // A request made from the head of the damaged batch, before its checksum was compared, does not count.
    if (asked.partitions[0]?.fetchOffset === 1) {
      asked.answer([{ partition: 0, records: record('b', 1) }])
      asked = await broker.asked()
    }
    assert.deepEqual(offsets(asked), [[0, 0]])
    asked.answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length > 0)
    assert.deepEqual(handler.values(), ['a'])
  })

  test('is reported if the broker calls its own log damaged twice', async (t) => {
    const { broker, handler, coordinator } = await play(t, 1)
    coordinator.assign(all(1))
    for (let i = 0; i < 2; i++) (await broker.asked()).answer([{ partition: 0, errorCode: 2 }])
    await handler.until(() => handler.losses.length > 0)
    const { loss } = handler.losses[0] ?? {}
    assert.deepEqual([loss?.kind, loss?.from, loss?.to], ['corrupt', 0, null])
  })

  test('that was stored is skipped: reading continues behind it', async (t) => {
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

  test('is reported for each partition of a compacted topic, which is not requested', async (t) => {
    const { handler, coordinator, broker } = await play(t, 2, { compacted: true })
    coordinator.assign(all(2))
    await handler.until(() => handler.losses.length === 2)
    assert.deepEqual(
      handler.losses.map(({ loss }) => loss.kind),
      ['compacted', 'compacted'],
    )
    assert.equal(broker.waiting, 0)
  })

  test('is reported if compaction is switched on later', async (t) => {
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

describe('a failure', () => {
  test('because the leader changed causes a refresh of the metadata and the same request again', async (t) => {
    for (const errorCode of [3, 5, 6, 9, 56, 74, 75, 78, 100, 103, 30_000, -1]) {
      const played = await play(t, 1)
      played.coordinator.assign(all(1))
      ;(await played.broker.asked()).answer([{ partition: 0, errorCode }])
      assert.deepEqual(offsets(await played.broker.asked()), [[0, 0]])
      assert.ok(played.refreshes > 0, `error ${errorCode}`)
      assert.equal(played.failures.length, 1)
    }
  })

  test('of one partition does not delay the others, and is over with its next answer', async (t) => {
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

  test('because the broker names a replica to read from drops the answer and repeats the request', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, preferredReadReplica: 2, records: record('x', 0) }])
    assert.deepEqual(offsets(await broker.asked()), [[0, 0]])
    assert.match(failures.join(), /names replica 2 to read partition 0 from/)
    assert.deepEqual(handler.counted, [])
  })

  test('because this user may not read the topic ends reading', async (t) => {
    const { broker, coordinator, running } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, errorCode: 29 }])
    await assert.rejects(running, (error: unknown) => error instanceof KafkaError && error.kind === 'not-authorised' && !error.retriable)
  })

  test('of the store while a partition is opened ends reading', async (t) => {
    const { coordinator, running, handler } = await play(t, 1)
    handler.open = async () => {
      throw new Error('the store is damaged')
    }
    coordinator.assign(all(1))
    await assert.rejects(running, /the store is damaged/)
  })

  test('of the connection, of the whole answer, or an answer about another partition causes the request again on a new connection', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1)
    coordinator.assign(all(1))
    ;(await broker.asked()).hangUp()
    ;(await broker.asked()).answer([{ partition: 0 }], { errorCode: -1 })
    ;(await broker.asked()).answer([{ partition: 5, records: record('not requested', 0) }])
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length === 1)
    assert.equal(broker.connections, 3)
    assert.deepEqual(failures.filter((message) => message === 'back').length, 2)
  })

  test('because a broker does not answer causes the request again on a new connection', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1, { longestSilence: 100 })
    coordinator.assign(all(1))
    await broker.asked()
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }])
    await handler.until(() => handler.counted.length === 1)
    assert.match(failures[0] ?? '', /nothing came for 200 ms/)
    assert.ok(broker.connections >= 2)
  })

  test('is not reported while a broker enforces a quota: the quota is reported, and the answer is awaited for as long as it announced', async (t) => {
    const { broker, coordinator, handler, failures } = await play(t, 1, { longestSilence: 100 })
    coordinator.assign(all(1))
    ;(await broker.asked()).answer([{ partition: 0, records: record('a', 0) }], { throttleMs: 60_000 })
    const throttled = await broker.asked()
    // Longer than the longest silence.
    setTimeout(() => throttled.answer([{ partition: 0, records: record('b', 1) }]), 400)
    await handler.until(() => handler.counted.length === 2)
    assert.match(failures.shift() ?? '', /broker 1 enforces a quota on this service and makes it wait 60\.0 s/)
    assert.deepEqual([failures, broker.connections], [['no quota any more'], 1])
  })

  test('is not reported while an answer keeps arriving, however slowly', async (t) => {
    const { broker, coordinator, handler } = await play(t, 1, { longestSilence: 1000 })
    coordinator.assign(all(1))
    const records = record('x'.repeat(2000), 0)
    ;(await broker.asked()).answer([{ partition: 0, records }], { pieces: 100 })
    await handler.until(() => handler.counted.length === 1)
    assert.equal(broker.connections, 1)
  })

  test('does not keep the end from closing every partition and returning the last positions', async (t) => {
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

/** The next request for so many partitions. Requests before it, sent while some partitions were not open yet, get empty answers. */
async function nextOf(broker: FakeBroker, partitions: number): Promise<Asked> {
  for (;;) {
    const asked = await broker.asked()
    if (asked.partitions.length === partitions) return asked
    asked.answer(asked.partitions.map(({ partition }) => ({ partition })))
  }
}
