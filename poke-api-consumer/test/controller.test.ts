/** The controller with a simulated Kafka, a real SQLite store with faults, and a file in memory: counting, commits and writes, also after failures. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { DataLoss } from '@poke-api-pipeline/kafka-reader'
import { encodeValue } from '@poke-api-pipeline/pokemon-event'
import { type Clock, ServiceError } from '@poke-api-pipeline/service-kit'
import { Controller, type ControllerOptions } from '../src/application/controller.ts'
import { OwnKafkaError } from '../src/errors.ts'
import { FaultyStore } from './faulty-store.ts'
import { MockDeadLetterTopic } from './mock-dead-letter-topic.ts'
import { MockFileHandler } from './mock-file-handler.ts'
import { MockCursor, type MockEntry, MockKafkaConsumer, type MockKafkaConsumerOptions, type MockRecord } from './mock-kafka-consumer.ts'
import { RecordingObserver } from './recording-observer.ts'

const TYPES = ['grass', 'poison']
const TOPIC = { topic: 'poke-topic', topicId: '00000000-0000-4000-8000-000000000001' }
/** The service's clock, without randomness. */
const CLOCK: Clock = { now: () => performance.now(), wait, random: () => 0 }
/** A signal that is never aborted. */
const NEVER = new AbortController().signal
const POKEMON = encodeValue({ id: 1, name: 'bulbasaur', types: TYPES.map((name, i) => ({ slot: i + 1, type: { name } })) })

function ours(sequence: number, source = 'a'): MockRecord {
  return { value: POKEMON, source, sequence }
}

type Options = MockKafkaConsumerOptions & Partial<ControllerOptions> & Partial<Clock> & { failingOpens?: Error[] }

function setUp(logs: MockEntry[][], { wait: waiting = wait, now = CLOCK.now, ...options }: Options = {}) {
  const source = new MockKafkaConsumer(logs, options)
  const store = new FaultyStore()
  store.failingOpens = options.failingOpens ?? []
  const sink = new MockFileHandler()
  const observer = new RecordingObserver()
  const deadLetterTopic = new MockDeadLetterTopic()
  const controller = new Controller({
    reader: source,
    store,
    sink,
    observer,
    deadLetterTopic,
    onDataLoss: 'stop',
    sourceMaxCount: 10_000,
    clock: { ...CLOCK, wait: waiting, now },
    ...options,
  })
  const stop = new AbortController()
  const running = controller.run(stop.signal)
  const finish = async () => {
    stop.abort()
    await running
  }
  /** Waits until the store's records, duplicates and dead letters add up to `records`. */
  const handled = async (records: number) => {
    const sum = () => [...store.rows.values()].reduce((n, row) => n + row.counted + row.duplicates + row.deadLetters.length, 0)
    await until(() => sum() >= records)
    assert.equal(sum(), records)
  }
  return { deadLetterTopic, source, store, sink, observer, controller, running, finish, handled }
}

type SetUp = ReturnType<typeof setUp>

/** The records of a log in [from, to), as a fetch returns them. */
function response(log: MockEntry[], from: number, to: number) {
  const cursor = new MockCursor(log, from, to, 0)
  return { fetchOffset: from, cursor, bytes: to - from, highWatermark: log.length, lastStableOffset: log.length }
}

async function countedOnce(): Promise<SetUp> {
  const first = setUp([[ours(1)]])
  await first.handled(1)
  await first.finish()
  return first
}

/** The same store, after the topic was created again under its name. */
function goesOn({ store, sink, handled }: SetUp, onDataLoss: 'stop' | 'continue') {
  const again = setUp([[ours(1)]], { topicId: '00000000-0000-4000-8000-000000000002', store, sink, onDataLoss, wait: nearlyNoTime })
  return { ...again, store, handled }
}

async function madeAgain(onDataLoss: 'stop' | 'continue', ...gapFailures: Error[]) {
  const first = await countedOnce()
  first.store.gapFailures.push(...gapFailures)
  return goesOn(first, onDataLoss)
}

function untilOpened({ heard }: RecordingObserver): string[] {
  return heard.slice(0, heard.findIndex((each) => each.startsWith('opened')) + 1).filter((each) => !each.startsWith('file'))
}

/** Waits like the service. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => {})
}

/** A clock on which the second between two reads of the store passes at once. */
function nearlyNoTime(ms: number, signal: AbortSignal): Promise<void> {
  return wait(Math.min(ms, 5), signal)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn()
}

function expected(records: number): Record<string, number> {
  return Object.fromEntries(TYPES.map((type) => [type, records]))
}

describe('consumer controller', () => {
  test('counts the types of each record and writes them to the file', async () => {
    const { sink, store, observer, finish, handled } = setUp([[ours(1), ours(2)], [ours(3, 'b')]])
    await handled(3)
    await finish()
    assert.deepEqual(Object.fromEntries(observer.latest?.counts ?? []), expected(3), 'the page is told the same')
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(3))
    assert.deepEqual(Object.fromEntries(sink.written.at(-1) ?? []), expected(3))
  })

  test('goes on at the store’s position after a restart, and counts nothing twice', async () => {
    const log = [ours(1), ours(2), ours(3)]
    const first = setUp([log])
    await first.handled(3)
    await first.finish()
    const source = new MockKafkaConsumer([log])
    source.append(0, ours(4))
    const stop = new AbortController()
    const again = new Controller({
      reader: source,
      store: first.store,
      sink: first.sink,
      observer: first.observer,
      deadLetterTopic: new MockDeadLetterTopic(),
      onDataLoss: 'stop',
      sourceMaxCount: 10_000,
      clock: CLOCK,
    })
    const running = again.run(stop.signal)
    await first.handled(4)
    stop.abort()
    await running
    assert.deepEqual(Object.fromEntries((await first.store.totals()).counts), expected(4))
  })

  test('a store that opens partitions but takes no commits is reported as working only when it takes one', async () => {
    const { store, observer, finish, handled } = setUp([[ours(1)]], { wait: nearlyNoTime })
    const commit = store.commit.bind(store)
    let failures = 3
    store.commit = async (change) => {
      if (failures-- > 0) throw new Error('the store takes nothing')
      return await commit(change)
    }
    await handled(1)
    await finish()
    const { heard } = observer
    assert.equal(heard.filter((each) => each === 'store failed').length, 3)
    assert.deepEqual(
      heard.filter((each) => each === 'store works again'),
      ['store works again'],
    )
    assert.equal(heard.indexOf('store works again') > heard.lastIndexOf('store failed'), true)
  })

  test('dead letters of one response that are too large for one commit are stored by several, and the record after them is counted once', async () => {
    const large = Buffer.alloc(1 << 20, 'x')
    const { store, finish, handled } = setUp([[...Array.from({ length: 70 }, () => ({ value: large })), ours(1)]], { wait: nearlyNoTime })
    const kept: number[] = []
    const commit = store.commit.bind(store)
    store.commit = async (change) => {
      kept.push(change.deadLetters.length)
      return await commit(change)
    }
    await handled(71)
    await finish()
    const [row] = store.rows.values()
    assert.deepEqual(
      row?.deadLetters.map(({ offset }) => offset),
      Array.from({ length: 70 }, (_, offset) => offset),
    )
    assert.equal(kept.length > 2, true)
    assert.equal(Math.max(...kept) <= 4, true, 'at most 4 MiB each')
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(1))
  })

  test('a record that cannot be counted is stored as a dead letter, and the records after it are counted', async () => {
    const { store, finish, handled } = setUp([[ours(1), { value: 'OK' }, { value: null }, ours(2)]])
    await handled(4)
    await finish()
    const [row] = store.rows.values()
    assert.deepEqual(
      row?.deadLetters.map(({ reason }) => reason),
      ['not-json', 'null-value'],
    )
    assert.equal(row?.counted, 2)
  })

  test('while there is more to count, the file is written a moment later, and no commit says that it reached the end (rule C3)', async (t) => {
    const waits: number[] = []
    const records = Array.from({ length: 4 }, (_, i) => ours(i + 1))
    const noting = (ms: number, signal: AbortSignal) => {
      waits.push(ms)
      // Only a commit waits for so short a time. Here the wait never ends.
      return wait(ms < 50 ? 60_000 : ms, signal)
    }
    const commit = t.mock.method(FaultyStore.prototype, 'commit')
    const { finish, handled } = setUp([records], { fetchSize: 1, before: () => nextTurn(), wait: noting, now: () => 0 })
    await handled(records.length)
    await finish()
    assert.ok(waits.includes(50), `waited for ${waits} ms`)
    assert.deepEqual(
      commit.mock.calls.map((call) => call.arguments[0].caughtUp),
      [false, true],
      'the first at once, the others as one with the last',
    )
  })

  test('the position moves over holes at the end', async () => {
    const { store, finish } = setUp([[ours(1), 'hole', 'hole']])
    await until(() => [...store.rows.values()][0]?.position.offset === 3)
    await finish()
    assert.deepEqual(
      [...store.rows.values()][0]?.position,
      { offset: 3, leaderEpoch: 1 },
      'with the leader epoch of its last batch (rule F1)',
    )
  })
})

describe('after every failure the partition is opened again (rule S2)', () => {
  for (const fault of ['refused', 'applied-but-lost'] as const) {
    test(`a commit that was ${fault} counts once`, async () => {
      const { store, source, observer, finish } = setUp([[ours(1), ours(2), ours(3)]], { fetchSize: 1 })
      store.commitFaults.push(undefined, fault)
      await until(() => [...store.rows.values()][0]?.position.offset === 3)
      await finish()
      assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(3))
      assert.deepEqual(source.opened, [0, 0])
      assert.equal(observer.errors.length, 1)
    })
  }

  test('a partition that another instance opened meanwhile is fenced, and this instance writes nothing of it', async () => {
    const { store, source, observer, finish, handled } = setUp([[ours(1), ours(2)]], { fetchSize: 1 })
    let stolen = false
    store.beforeCommit = async () => {
      if (stolen) return
      stolen = true
      await store.open(source.partition(0))
    }
    await handled(2)
    await finish()
    assert.ok(observer.heard.includes('fenced 0'))
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(2))
  })

  test('a partition whose position somebody moved in the store while nothing came is opened again, and another one goes on (rule S1)', async () => {
    let ms = 0
    const { controller, store, source, observer, finish, handled } = setUp([[ours(1), ours(2)], [ours(1)]], {
      wait: nearlyNoTime,
      now: () => (ms += 500),
    })
    await handled(3)
    const readers = [await controller.open(source.partition(0), NEVER), await controller.open(source.partition(1), NEVER)]
    const { token, position } = await store.open(source.partition(0))
    const loss: DataLoss = { kind: 'truncated', message: 'the log was cut', from: 0, to: 0 }
    await store.recordGap({ partition: source.partition(0), token, from: position, loss })
    await until(() => observer.heard.includes('fenced 0'))
    const nothing = (fetchOffset: number) => {
      const cursor = new MockCursor([], fetchOffset, fetchOffset, 0)
      return { fetchOffset, cursor, bytes: 0, highWatermark: fetchOffset, lastStableOffset: fetchOffset }
    }
    assert.deepEqual([await readers[0]?.process(nothing(2)), await readers[1]?.process(nothing(1))], ['reopen', 'next'])
    await finish()
  })

  test('responses counted while a commit is under way are dropped with it', async () => {
    const { store, finish } = setUp([[ours(1), ours(2), ours(3), ours(4)]], { fetchSize: 1 })
    const gate = Promise.withResolvers<void>()
    store.beforeCommit = () => gate.promise
    store.commitFaults.push('refused')
    await until(() => store.rows.size === 1)
    store.beforeCommit = null
    gate.resolve()
    await until(() => [...store.rows.values()][0]?.position.offset === 4)
    await finish()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(4))
  })

  test('a commit of the last records that fails late is noticed although no record comes after them', async () => {
    const gate = Promise.withResolvers<void>()
    // The commit is under way until the empty response behind the records is counted.
    const before = (_: number, offset: number) => (offset === 2 ? void setImmediate(gate.resolve) : undefined)
    const { store, finish, handled } = setUp([[ours(1), ours(2)]], { before })
    store.beforeCommit = () => gate.promise
    store.commitFaults.push('refused')
    await handled(2)
    await finish()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(2))
  })

  test('a partition is opened again when it knows twice as many sources as the store remembers (rule C3)', async () => {
    const store = new FaultyStore()
    const open = store.open.bind(store)
    store.open = async (partition) => {
      const state = await open(partition)
      return { ...state, lastSequences: new Map([...state.lastSequences].slice(-2)) }
    }
    const log = ['a', 'b', 'c', 'd', 'e', 'f'].map((source) => ours(1, source))
    const { source, observer, finish } = setUp([log], { store, sourceMaxCount: 2, fetchSize: 1 })
    await until(() => observer.responses.length > log.length)
    await finish()
    assert.deepEqual(
      observer.heard.filter((each) => each.startsWith('opened')),
      ['opened 0 at log-start', 'opened 0 at 5'],
    )
    assert.equal(source.outcomes.filter((outcome) => outcome === 'reopen').length, 1)
    assert.equal([...store.rows.values()][0]?.counted, log.length)
  })

  test('a response that does not continue the position is not counted', async () => {
    const { controller, store, source, finish } = setUp([[]])
    const reader = await controller.open({ ...source.partition(0), partition: 5 }, NEVER)
    const fetched = (offset: number) => response([ours(1), ours(2), ours(3)], offset, offset + 1)
    assert.equal(await reader.process(fetched(0)), 'next')
    assert.equal(await reader.process(fetched(2)), 'reopen')
    assert.equal(await reader.process(fetched(1)), 'reopen', 'a session that has ended counts nothing more')
    await reader.close()
    assert.equal([...store.rows.values()].find((row) => row.partition === 5)?.counted, 1)
    await finish()
  })

  test('counts of a response whose reading failed are dropped, and are not added to another partition', async () => {
    const { controller, store, source, finish } = setUp([])
    const [failing, other] = [await controller.open(source.partition(0), NEVER), await controller.open(source.partition(1), NEVER)]
    const torn = response([ours(1), ours(2)], 0, 2)
    const next = torn.cursor.next.bind(torn.cursor)
    torn.cursor.next = () => {
      if (torn.cursor.nextOffset === 1) throw new RangeError('Array buffer allocation failed')
      return next()
    }
    // At the same time, like the partitions of one response.
    const [failed, counted] = await Promise.allSettled([failing.process(torn), other.process(response([ours(7)], 0, 1))])
    assert.deepEqual([failed.status, counted], ['rejected', { status: 'fulfilled', value: 'next' }])
    assert.equal(await failing.process(response([ours(1)], 0, 1)), 'stop')
    await other.close()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(1))
    await finish()
  })

  test('counts of a response whose summary failed are dropped, too', async () => {
    const { controller, store, source, finish } = setUp([])
    const [failing, other] = [await controller.open(source.partition(0), NEVER), await controller.open(source.partition(1), NEVER)]
    const fetched = response([ours(1)], 0, 1)
    const { cursor } = fetched
    const next = cursor.next.bind(cursor)
    let over = false
    cursor.next = () => {
      over = !next()
      const { bytes } = cursor
      const subarray = bytes.subarray.bind(bytes)
      bytes.subarray = (...range) => {
        if (over) throw new RangeError('Array buffer allocation failed')
        return subarray(...range)
      }
      return !over
    }
    const [failed, counted] = await Promise.allSettled([failing.process(fetched), other.process(response([ours(7)], 0, 1))])
    assert.deepEqual([failed.status, counted], ['rejected', { status: 'fulfilled', value: 'next' }])
    await other.close()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(1))
    await finish()
  })

  async function openedAgainAfterRefusedCommit() {
    const { controller, store, source, observer, finish } = setUp([])
    store.commitFaults.push('refused')
    const reader = await controller.open(source.partition(0), NEVER)
    await reader.process(response([ours(1)], 0, 1))
    await until(() => observer.heard.includes('store failed'))
    return { again: await controller.open(source.partition(0), NEVER), observer, finish }
  }

  test('the failure of a partition’s commits is over when the partition is stopped', async () => {
    const { again, observer, finish } = await openedAgainAfterRefusedCommit()
    assert.equal(observer.heard.includes('store works again'), false)
    assert.equal(await again.dataLost({ kind: 'retention', message: 'gone', from: 0, to: 5 }), 'stop')
    assert.equal(observer.heard.at(-1), 'store works again')
    await finish()
  })

  test('an empty response below the end of the log does not end the failure of a commit', async () => {
    const { again, observer, finish } = await openedAgainAfterRefusedCommit()
    const nothing = (lastStableOffset: number) => ({ ...response([], 0, 0), lastStableOffset })
    await again.process(nothing(1))
    assert.equal(observer.heard.includes('store works again'), false)
    await again.process(nothing(0))
    assert.equal(observer.heard.includes('store works again'), true)
    await again.close()
    await finish()
  })

  test('the failure of a commit whose answer was lost is over when nothing follows its position', async () => {
    const { store, observer, finish, handled } = setUp([], { wait: nearlyNoTime })
    store.commitFaults.push('applied-but-lost')
    const again = setUp([[ours(1)]], { store, wait: nearlyNoTime })
    await handled(1)
    await until(() => again.observer.heard.includes('store works again'))
    await again.finish()
    assert.deepEqual(observer.errors, [])
    await finish()
  })

  test('the failure of a commit or a gap is over when its partition is taken away', async () => {
    const { controller, store, source, observer, finish } = setUp([], { onDataLoss: 'continue' })
    const gate = Promise.withResolvers<void>()
    store.beforeCommit = () => gate.promise
    store.commitFaults.push('refused')
    const counting = await controller.open(source.partition(0), NEVER)
    assert.equal(await counting.process(response([ours(1)], 0, 1)), 'next')
    const closed = counting.close()
    gate.resolve()
    await closed
    assert.deepEqual(
      observer.heard.filter((each) => each.startsWith('store')),
      ['store failed', 'store works again'],
    )
    store.gapFailures.push(new Error('the store is away'))
    const losing = await controller.open(source.partition(1), NEVER)
    assert.equal(await losing.dataLost({ kind: 'retention', message: 'gone', from: 0, to: 5 }), 'reopen')
    await losing.close()
    assert.equal(observer.heard.filter((each) => each.startsWith('store')).at(-1), 'store works again')
    assert.equal(observer.errors.length, 2)
    await finish()
  })

  test('an opening that is no longer needed does not wait for a store that fails', async () => {
    const failingOpens = Array.from({ length: 1000 }, () => new Error('refused'))
    const { controller, source, observer, finish } = setUp([], { failingOpens })
    const needed = new AbortController()
    const opening = controller.open(source.partition(0), needed.signal)
    await until(() => observer.errors.length > 0)
    const asked = observer.errors.length
    needed.abort()
    await assert.rejects(opening, { message: 'refused' })
    assert.equal(1000 - failingOpens.length, asked, 'not asked once more')
    assert.equal(observer.heard.at(-1), 'store works again')
    await finish()
  })

  test('opening is retried until the store answers', async () => {
    const failingOpens = [new Error('refused'), new Error('refused')]
    const { observer, finish, handled } = setUp([[ours(1)]], { wait: nearlyNoTime, failingOpens })
    await handled(1)
    await finish()
    assert.deepEqual(
      observer.errors.map(({ message }) => message),
      ['refused', 'refused'],
    )
  })

  test('a failure of the store that retrying cannot help ends the service', async () => {
    const hopeless = new ServiceError('the schema is newer than this program', { code: 'SCHEMA', exitCode: 78, retriable: false })
    const source = new MockKafkaConsumer([[ours(1)]])
    const store = new FaultyStore()
    store.failingOpens = [hopeless]
    const controller = new Controller({
      reader: source,
      store,
      sink: new MockFileHandler(),
      observer: new RecordingObserver(),
      deadLetterTopic: new MockDeadLetterTopic(),
      onDataLoss: 'stop',
      sourceMaxCount: 10_000,
      clock: CLOCK,
    })
    await assert.rejects(controller.run(new AbortController().signal), hopeless)
  })
})

/** A session over a log whose commits end when the test says so. */
async function openedReader(options: Partial<ControllerOptions> = {}) {
  const { controller, source, store, observer, finish } = setUp([], { wait: (_, signal) => wait(60_000, signal), now: () => 0, ...options })
  const gates: (() => void)[] = []
  let begun = 0
  store.beforeCommit = async () => {
    begun++
    await new Promise<void>((resolve) => gates.push(resolve))
  }
  const log = Array.from({ length: 50 }, (_, i) => ours(i, `source-${i}`))
  const reader = await controller.open(source.partition(0), NEVER)
  return {
    store,
    observer,
    reader,
    finish,
    begun: () => begun,
    row: () => [...store.rows.values()][0],
    countNext: (offset: number) => reader.process(response(log, offset, offset + 1)),
    /** Resolves with `ending`; until then every commit that has begun ends. */
    async lettingEnd<T>(ending: Promise<T>): Promise<T> {
      let ended = false
      const noted = ending.finally(() => {
        ended = true
      })
      await until(() => {
        gates.shift()?.()
        return ended
      })
      return await noted
    },
  }
}

describe('a response that is counted and not committed', () => {
  test('is committed at once when the partition is taken away, with all last sequences, before observers hear of the end', async () => {
    const { reader, countNext, lettingEnd, row, observer, finish } = await openedReader()
    for (let offset = 0; offset < 4; offset++) assert.equal(await countNext(offset), 'next')
    await lettingEnd(reader.close())
    assert.equal(row()?.position.offset, 4)
    assert.deepEqual(
      [...(row()?.lastSequences ?? [])],
      [0, 1, 2, 3].map((i) => [`source-${i}`, i]),
    )
    assert.equal(observer.heard.at(-1), 'closed 0')
    await finish()
  })

  test('waits in a bounded queue, and a response beyond that is dropped when the partition is taken away', async () => {
    const { reader, countNext, lettingEnd, begun, finish } = await openedReader()
    for (let offset = 0; offset < 5; offset++) await countNext(offset)
    let counted = false
    const sixth = countNext(5).finally(() => {
      counted = true
    })
    await nextTurn()
    assert.equal(counted, false)
    await lettingEnd(reader.close())
    assert.equal(await sixth, 'stop')
    assert.equal(await countNext(5), 'stop')
    await nextTurn()
    assert.equal(begun(), 2)
    await finish()
  })

  test('is committed before a loss is decided', async () => {
    const { store, reader, countNext, lettingEnd, finish } = await openedReader({ onDataLoss: 'continue' })
    await countNext(0)
    await countNext(1)
    const outcome = await lettingEnd(reader.dataLost({ kind: 'retention', message: 'gone', from: 2, to: 9 }))
    assert.equal(outcome, 'reopen')
    assert.deepEqual(
      store.gaps.map(({ from }) => from.offset),
      [2],
    )
    await finish()
  })

  test('is dropped when its commit fails, and a partition that was taken away meanwhile stays closed', async () => {
    const { store, reader, countNext, lettingEnd, row, finish } = await openedReader()
    store.commitFaults.push('refused')
    await countNext(0)
    await countNext(1)
    await lettingEnd(reader.close())
    assert.equal(row()?.position.offset, 'log-start')
    assert.equal(await countNext(2), 'stop')
    await finish()
  })
})

describe('nothing is skipped in silence', () => {
  test('bytes that cannot be read are fetched once more (rule F5)', async () => {
    const { store, finish, observer } = setUp([[ours(1), { corrupt: 'CRC', times: 1 }, ours(2)]])
    await until(() => [...store.rows.values()][0]?.position.offset === 3)
    await finish()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(2))
    assert.deepEqual(observer.losses, [])
  })

  test('if they still cannot be read the partition stops, and the records before them are counted', async () => {
    const { store, finish, observer } = setUp([[ours(1), { corrupt: 'CRC-32C is wrong', times: 99 }, ours(2)], [ours(1, 'b')]])
    await until(() => observer.losses.length > 0 && [...store.rows.values()].every((row) => row.counted === 1))
    await finish()
    assert.equal(observer.losses[0]?.kind, 'corrupt')
    assert.match(observer.losses[0]?.message ?? '', /1 offset cannot be read, from 1 to 1: CRC-32C is wrong/)
  })

  test('under `continue` they are recorded as a gap, and the records behind them are counted', async () => {
    const logs: MockEntry[][] = [[ours(1), { corrupt: 'CRC-32C is wrong', times: 99 }, ours(2)]]
    const { store, handled, finish, observer } = setUp(logs, { onDataLoss: 'continue', wait: nearlyNoTime })
    await handled(2)
    await finish()
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(2))
    assert.deepEqual(
      observer.losses.map(({ kind, from, to }) => [kind, from, to]),
      [['corrupt', 1, 2]],
    )
  })

  test('if their end is not known the partition stops, under `continue` too', async () => {
    const logs: MockEntry[][] = [[ours(1), { corrupt: 'the length is -1', times: 99, endUnknown: true }, ours(2)]]
    const { store, finish, observer } = setUp(logs, { onDataLoss: 'continue', wait: nearlyNoTime })
    await until(() => observer.losses.length > 0)
    await finish()
    assert.deepEqual([observer.losses[0]?.from, observer.losses[0]?.to], [1, null])
    assert.match(observer.losses[0]?.message ?? '', /it is not known where the next whole batch begins: the length is -1/)
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(1))
  })

  const withType = (name: string) => ({ value: JSON.stringify({ types: [{ type: { name } }] }) })

  for (const onDataLoss of ['stop', 'continue'] as const) {
    test(`a record with one type name too many stops its partition alone, before that record, under \`${onDataLoss}\` too`, async () => {
      const logs: MockEntry[][] = [
        [withType('a'), withType('b'), withType('c'), withType('a')],
        [withType('a'), withType('b'), withType('a')],
      ]
      const { store, finish, observer } = setUp(logs, { onDataLoss, typeMaxCount: 2, wait: nearlyNoTime })
      await until(() => observer.losses.length > 0 && [...store.rows.values()].some((row) => row.counted === 3))
      await finish()
      assert.deepEqual(
        observer.losses.map(({ kind, from, to, message }) => [kind, from, to, message]),
        [
          [
            'too-many-types',
            2,
            null,
            'the record at offset 2 has a new type name, and 2 names are known already, as many as TYPE_MAX_COUNT allows',
          ],
        ],
      )
      assert.deepEqual([...store.rows.values()].map(({ position }) => position.offset).sort(), [2, 3])
      assert.deepEqual(Object.fromEntries((await store.totals()).counts), { a: 3, b: 2 })
    })
  }

  test('types in the store are known from the start, and new types of other instances a second later', async () => {
    const first = setUp([[withType('a'), withType('b')]], { wait: nearlyNoTime })
    await first.handled(2)
    await first.finish()
    const log: MockEntry[] = [withType('a'), withType('b')]
    const { observer, controller, sink, finish } = setUp([log], { store: first.store, typeMaxCount: 2, wait: nearlyNoTime })
    const another = await first.store.open({ ...TOPIC, partition: 6 })
    await first.store.commit({
      partition: { ...TOPIC, partition: 6 },
      token: another.token,
      from: another.position,
      to: { offset: 1, leaderEpoch: 0 },
      firstOffset: 0,
      counts: new Map([['of another instance', 1]]),
      lastSequences: new Map(),
      deadLetters: [],
      counted: 1,
      duplicates: 0,
      newest: null,
      caughtUp: true,
    })
    await until(() => sink.content?.has('of another instance') === true)
    const partition = { ...TOPIC, partition: 5 }
    const reader = await controller.open(partition, NEVER)
    const next: MockEntry[] = [withType('c')]
    assert.equal(await reader.process(response(next, 0, 1)), 'stop')
    await finish()
    assert.match(observer.losses[0]?.message ?? '', /and 3 names are known/)
  })

  test('a topic made again stops its partitions', async () => {
    const { observer, store, finish } = await madeAgain('stop')
    await until(() => observer.losses.length > 0)
    await finish()
    assert.equal(observer.losses[0]?.kind, 'recreated')
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(1))
  })

  test('under `continue` a topic made again is counted once its gap is recorded and reported, however often the store fails', async () => {
    const { observer, store, handled, finish } = await madeAgain('continue', new Error('the store is away'), new Error('still'))
    await handled(2)
    await finish()
    assert.equal(store.gaps.length, 1)
    assert.deepEqual(untilOpened(observer), ['store failed', 'store failed', 'store works again', 'skipped 0', 'opened 0 at log-start'])
    assert.deepEqual(Object.fromEntries((await store.totals()).counts), expected(2))
  })

  test('a topic made again is not counted while its gap is not recorded: a fenced one is tried under a new token', async () => {
    const first = await countedOnce()
    const recordGap = first.store.recordGap.bind(first.store)
    first.store.recordGap = async (gap) => {
      first.store.recordGap = recordGap
      await first.store.open(gap.partition)
      return await recordGap(gap)
    }
    const { observer, store, handled, finish } = goesOn(first, 'continue')
    await handled(2)
    await finish()
    assert.equal(store.gaps.length, 1)
    assert.deepEqual(untilOpened(observer), ['fenced 0', 'skipped 0', 'opened 0 at log-start'])
  })
})

describe('dead letters (rules D1 and D2)', () => {
  test('are published from the store by the partition’s owner, in order, and marked', async () => {
    const { deadLetterTopic, store, finish } = setUp([[{ value: 'OK' }, ours(1), { value: null }]], { fetchSize: 1 })
    await until(() => deadLetterTopic.published.length === 2)
    await until(() => store.published.size === 2)
    await finish()
    assert.deepEqual(
      deadLetterTopic.published.map(({ offset, reason }) => [offset, reason]),
      [
        [0, 'not-json'],
        [2, 'null-value'],
      ],
    )
  })

  test('stay in the store while their topic is away, hold up nothing, and are published when it is back', async () => {
    const { deadLetterTopic, observer, handled, finish } = setUp([[{ value: 'OK' }, ours(1)]], { wait: nearlyNoTime })
    deadLetterTopic.failures.push(new Error('no leader'), new Error('no leader'))
    await handled(2)
    await until(() => deadLetterTopic.published.length === 1)
    await finish()
    assert.ok(observer.errors.every(({ message }) => message === 'no leader'))
    const heard = observer.heard.filter((event) => /^(1 dead letters published|dead letters)/.test(event))
    const failed = 'dead letters not published'
    assert.deepEqual(heard, [failed, failed, '1 dead letters published', 'dead letters are published again'])
  })
})

describe('a dead-letter topic that refuses dead letters', () => {
  const refusing = (times: number) => {
    const deadLetterTopic = new MockDeadLetterTopic()
    for (let i = 0; i < times; i++) deadLetterTopic.refusals.push(new OwnKafkaError('dead-letters-not-authorised', 'misty lacks Write'))
    return deadLetterTopic
  }

  test('is reported before there are any, checked again, and reported when it accepts them', async () => {
    const { observer, handled, finish } = setUp([[ours(1)]], { wait: nearlyNoTime, deadLetterTopic: refusing(2) })
    await handled(1)
    await until(() => observer.heard.includes('dead letters are published again'))
    await finish()
    assert.deepEqual(
      observer.errors.map(({ message }) => message),
      ['misty lacks Write', 'misty lacks Write'],
    )
  })

  test('leaves them in the store, and gets them when it accepts them', async () => {
    const deadLetterTopic = refusing(3)
    const { handled, finish } = setUp([[{ value: 'OK' }, ours(1)]], { wait: nearlyNoTime, deadLetterTopic })
    await handled(2)
    await until(() => deadLetterTopic.published.length === 1)
    await finish()
    assert.equal(deadLetterTopic.refusals.length, 0)
  })
})

describe('the file', () => {
  test('is written again after it could not be written', async () => {
    const { sink, handled, observer, finish } = setUp([[ours(1)]], {
      wait: (ms, signal) => sleep(Math.min(ms, 5), undefined, { signal }).catch(() => {}),
    })
    sink.failures.push(new Error('read-only file system'))
    await handled(1)
    await until(() => Object.fromEntries(sink.written.at(-1) ?? [])[TYPES[0] as string] === 1)
    await finish()
    assert.deepEqual(
      observer.errors.map(({ message }) => message),
      ['read-only file system'],
    )
  })

  test('older counts that another instance wrote are replaced', async () => {
    const { sink, handled, finish } = setUp([[ours(1), ours(2)]], {
      wait: (ms, signal) => sleep(Math.min(ms, 5), undefined, { signal }).catch(() => {}),
    })
    await handled(2)
    await until(() => sink.written.length > 0)
    sink.overwrite(new Map([['old', 1]]))
    await until(() => !Object.hasOwn(Object.fromEntries(sink.content ?? []), 'old'))
    await finish()
    assert.deepEqual(Object.fromEntries(sink.content ?? []), expected(2))
  })
})
