/** The controller with a mocked PokeAPI, a real outbox and a mocked Kafka: what it captures, stores and sends, and what it does after each failure. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { Controller, type ControllerLimits, type ControllerOptions } from '../src/application/controller.ts'
import { CRASH_POINTS, type CrashPoint } from '../src/application/crash-points.ts'
import type { OutboxChange, OutboxEvent } from '../src/application/ports.ts'
import { OutboxError, PokeApiError, PublishError } from '../src/errors.ts'
import { SqliteOutbox } from '../src/infrastructure/outbox/sqlite-outbox.ts'
import { ManualClock } from './manual-clock.ts'
import { countedIds, MockKafkaProducer, publishFailed } from './mock-kafka-producer.ts'
import { apiIsDown, MockPokeApiClient, type MockPokeApiOptions } from './mock-poke-api-client.ts'
import { capture } from './pokemon.ts'
import { RecordingObserver } from './recording-observer.ts'

/** An outbox that tells what was committed, and fails when its test says so. */
class WatchedOutbox extends SqliteOutbox {
  readonly commits: OutboxChange[] = []
  failure: Error | null = null

  override commit(change: OutboxChange): void {
    if (this.failure !== null) throw this.failure
    super.commit(change)
    this.commits.push(change)
  }
}

interface SetUp {
  readonly api?: MockPokeApiOptions
  readonly publisher?: MockKafkaProducer
  readonly dir?: string
  readonly mode?: ControllerOptions['mode']
  readonly limits?: Partial<ControllerLimits>
  readonly crashPoint?: (point: CrashPoint) => void
  readonly random?: () => number
}

const SWEEP = { order: 'sweep' } as const

function setUp(t: TestContext, options: SetUp = {}) {
  const clock = new ManualClock()
  const api = new MockPokeApiClient({ clock, ...options.api })
  const publisher = options.publisher ?? new MockKafkaProducer()
  const dir = options.dir ?? folder(t)
  const outbox = new WatchedOutbox({ dir })
  t.after(() => outbox.close())
  const observer = new RecordingObserver()
  const controller = new Controller({
    api,
    outbox,
    publisher,
    observer,
    mode: options.mode ?? { order: 'random', interval: 1000 },
    limits: { concurrency: 4, maxEvents: 1000, maxAttempts: 3, drainDeadline: 5000, ...options.limits },
    clock: { wait: clock.wait, now: clock.now, random: options.random ?? (() => 0) },
    ...(options.crashPoint && { crashPoint: options.crashPoint }),
  })
  const stop = new AbortController()
  let ended = false
  const running = controller.run(stop.signal).finally(() => {
    ended = true
  })
  // Asked about again below; a rejection before that is no surprise.
  running.catch(() => {})
  return {
    clock,
    api,
    publisher,
    dir,
    outbox,
    observer,
    /** Lets time pass until the run is over, by itself. */
    async ended(): Promise<void> {
      await clock.until(() => ended, 'the end of the run')
      await running
    },
    /** Tells the run to end, and lets time pass until it has. */
    async finish(): Promise<void> {
      stop.abort()
      await clock.until(() => ended, 'the end of the run')
      await running
    },
    stop: () => stop.abort(),
  }
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'producer-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return dir
}

/** What an earlier run has left: events of those ids, without partitions. */
function leave(dir: string, ...ids: number[]): void {
  const outbox = new SqliteOutbox({ dir })
  outbox.commit({ captures: ids.map((id) => capture(id)), acknowledged: 0, partitionOf: null })
  outbox.close()
}

function left(dir: string): { ids: number[]; events: OutboxEvent[]; sweep: boolean } {
  const outbox = new SqliteOutbox({ dir })
  const events = outbox.oldest(10_000)
  const sweep = outbox.sweep() !== null
  outbox.close()
  return { ids: events.map((event) => Number(event.key)), events, sweep }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
const ids = (events: readonly OutboxEvent[]) => events.map((event) => Number(event.key))

describe('capturing at random', () => {
  test('a Pokémon is captured after each interval and published', async (t) => {
    const { clock, api, publisher, observer, finish } = setUp(t, { api: { ids: [1, 25, 10001] }, random: alternating([0, 0.5, 0.99]) })
    await clock.until(() => publisher.arrived.length >= 4, 'four captures')
    await finish()
    assert.deepEqual(api.asked.slice(0, 4), [
      { id: 1, at: 0 },
      { id: 25, at: 1000 },
      { id: 10001, at: 2000 },
      { id: 1, at: 3000 },
    ])
    assert.deepEqual(observer.capturedIds.slice(0, 4), [1, 25, 10001, 1])
    assert.equal(observer.publishedEvents, 4)
  })

  test('the interval is kept from beginning to beginning, however long an answer takes', async (t) => {
    const { clock, api, finish } = setUp(t, { api: { latency: 700 } })
    await clock.until(() => api.asked.length >= 5, 'five captures')
    await finish()
    assert.deepEqual(
      api.asked.map(({ at }) => at),
      [0, 1000, 2000, 3000, 4000],
    )
  })

  test('a slow API gets as many requests at once as allowed, and beginnings that are missed are skipped', async (t) => {
    const { clock, api, finish } = setUp(t, { api: { latency: 5500 }, limits: { concurrency: 2 } })
    await clock.until(() => api.asked.length >= 5, 'five captures')
    await finish()
    assert.equal(api.busiest, 2)
    assert.deepEqual(
      api.asked.map(({ at }) => at),
      [0, 1000, 5500, 6500, 11_000],
    )
  })

  test('after a pause it goes on at its pace, without a burst for skipped beginnings', async (t) => {
    const { clock, api, publisher, observer, finish } = setUp(t, { limits: { maxEvents: 5 } })
    await clock.until(() => observer.capturedIds.length === 3, 'three captures')
    publisher.down = publishFailed()
    await clock.until(() => observer.pauses.length === 1, 'a pause')
    await clock.pass(60_500)
    const paused = api.asked.length
    publisher.down = null
    await clock.until(() => observer.pauses.at(-1) === false, 'the end of the pause')
    await clock.pass(5000)
    await finish()
    const later = api.asked.slice(paused).map(({ at }) => at)
    const gaps = later.slice(1).map((at, i) => at - (later[i] as number))
    assert.ok(
      gaps.slice(1).every((gap) => gap === 1000),
      `captures after the pause began at ${later}`,
    )
    assert.equal(
      later.slice(1).every((at) => at % 1000 === 0),
      true,
      `captures after the pause left their grid: ${later}`,
    )
  })

  test('an API that is away is requested less and less often, and each failure is reported', async (t) => {
    const { clock, api, observer, publisher, finish } = setUp(t)
    await clock.until(() => publisher.arrived.length > 0, 'a capture')
    api.down = apiIsDown()
    const before = api.asked.length
    await clock.pass(10 * 60_000)
    const times = api.asked.slice(before).map(({ at }) => at)
    assert.ok(times.length < 30, `asked ${times.length} times in ten minutes: ${times}`)
    assert.equal(observer.captureFailures.length, times.length)
    api.down = null
    const counted = publisher.arrived.length
    await clock.until(() => publisher.arrived.length > counted + 2, 'captures after the API came back')
    await finish()
  })

  test('waits for an API that is away at the start, and sends the events of an earlier run meanwhile', async (t) => {
    const dir = folder(t)
    leave(dir, 7, 8)
    const { clock, api, publisher, observer, finish } = setUp(t, { dir, api: { ids: [1], down: apiIsDown() } })
    await clock.until(() => publisher.arrived.length === 2, 'the stored events')
    assert.ok(observer.captureFailures.length > 0)
    api.down = null
    await clock.until(() => publisher.arrived.length === 3, 'a capture')
    await finish()
    assert.deepEqual(countedIds(publisher.logs), [1, 7, 8])
  })
})

describe('a sweep', () => {
  test('captures each Pokémon once, and ends when Kafka has acknowledged all', async (t) => {
    const { publisher, observer, dir, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 50) } })
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 50))
    assert.equal(publisher.arrived.length, 50)
    assert.deepEqual([observer.done, observer.total], [50, 50])
    assert.deepEqual(left(dir), { ids: [], events: [], sweep: false })
    assert.deepEqual(
      observer.finishedSweeps.map(({ captured, types }) => ({ captured, types })),
      [{ captured: 50, types: { normal: 50 } }],
    )
    assert.equal(publisher.closed, true)
  })

  test('has as many captures under way as allowed and does not wait between them', async (t) => {
    const { api, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 40), latency: 20 }, limits: { concurrency: 8 } })
    await ended()
    assert.equal(api.busiest, 8)
    assert.deepEqual(new Set(api.asked.map(({ at }) => at)), new Set([0, 20, 40, 60, 80]))
  })

  test('stores its last captures without delay', async (t) => {
    const { clock, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 8), latency: 1000 }, limits: { concurrency: 4 } })
    await ended()
    assert.equal(clock.now(), 2000)
  })

  test('requests ahead while the API answers, and no more than needed after it has failed', async (t) => {
    const { clock, api, ended } = setUp(t, {
      mode: SWEEP,
      api: { ids: range(1, 40), latency: 20 },
      limits: { concurrency: 4, ahead: 4 },
    })
    api.failing.set(3, new PokeApiError('not-a-pokemon', 'the body of /pokemon/3 is no Pokémon'))
    await clock.until(() => api.asked.some(({ id }) => id === 9), 'the second round')
    assert.equal(api.busiest, 8)
    const before = api.asked.length
    for (const id of range(1, 40)) api.failing.set(id, new PokeApiError('unreachable', 'the API is away'))
    await clock.pass(60_000)
    const times = api.asked.slice(before).map(({ at }) => at)
    const late = times.filter((at) => at > 1000)
    for (const at of late) assert.ok(late.filter((other) => other === at).length <= 4, `more than four at ${at}`)
    assert.ok(late.length > 0)
    api.failing.clear()
    await ended()
  })

  test('a Pokémon that does not exist is done, and is no event', async (t) => {
    const { publisher, observer, ended } = setUp(t, { mode: SWEEP, api: { ids: [1, 2, 3], missing: [2] } })
    await ended()
    assert.deepEqual(countedIds(publisher.logs), [1, 3])
    assert.deepEqual(observer.missingIds, [2])
    assert.deepEqual([observer.done, observer.total], [3, 3])
    assert.equal(observer.finishedSweeps[0]?.captured, 2)
  })

  test('a Pokémon that cannot be obtained does not delay others, and is requested again until it is obtained', async (t) => {
    const { clock, api, publisher, observer, ended } = setUp(t, {
      mode: SWEEP,
      api: { ids: range(1, 30) },
      limits: { concurrency: 2, maxAttempts: 1000 },
    })
    api.failing.set(3, new PokeApiError('not-a-pokemon', 'the body of /pokemon/3 is no Pokémon'))
    await clock.until(() => publisher.arrived.length === 29, 'all others')
    assert.deepEqual([observer.done, observer.total], [29, 30])
    await clock.pass(5 * 60_000)
    assert.ok(
      observer.captureFailures.length > 2 && observer.captureFailures.length < 20,
      `failed ${observer.captureFailures.length} times: ${api.asked.filter(({ id }) => id === 3).map(({ at }) => at)}`,
    )
    api.failing.clear()
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 30))
  })

  test('leaves out Pokémon that fail repeatedly while the API answers for others, and remembers why', async (t) => {
    const { api, publisher, observer, dir, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 30), latency: 10 } })
    api.failing.set(7, new PokeApiError('not-a-pokemon', 'no Pokémon', { reason: 'types is empty' }))
    api.failing.set(9, new PokeApiError('status', 'no answer', { reason: 'answered with status 500' }))
    await ended()
    assert.deepEqual(
      countedIds(publisher.logs),
      range(1, 30).filter((id) => id !== 7 && id !== 9),
    )
    assert.deepEqual(observer.leftOutIds.toSorted(), [7, 9])
    for (const id of [7, 9]) assert.equal(api.asked.filter((each) => each.id === id).length, 3, `#${id}`)
    assert.deepEqual([observer.done, observer.total], [30, 30])
    const [progress] = observer.finishedSweeps
    assert.equal(progress?.captured, 28)
    assert.deepEqual(progress?.leftOut, { ids: '7,9', reasons: { 7: 'types is empty', 9: 'answered with status 500' } })
    assert.equal(left(dir).sweep, false)
  })

  test('waits for an API that is away, however long, and leaves no Pokémon out because of that', async (t) => {
    const { clock, api, publisher, observer, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 12), latency: 10 } })
    await clock.until(() => publisher.arrived.length >= 8, 'some captures')
    api.down = new PokeApiError('status', 'answered with status 503')
    await clock.pass(24 * 3_600_000)
    assert.deepEqual(observer.leftOutIds, [])
    api.down = null
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 12))
    assert.equal(observer.finishedSweeps[0]?.leftOut, undefined)
  })

  test('leaves nothing out while the API has answered for no Pokémon at all, or asks for fewer requests', async (t) => {
    const { clock, api, observer, ended } = setUp(t, { mode: SWEEP, api: { ids: [1, 2, 3] } })
    for (const id of [1, 2, 3]) api.failing.set(id, new PokeApiError('not-a-pokemon', 'a page of HTML'))
    await clock.pass(3_600_000)
    api.failing.clear()
    api.failing.set(3, new PokeApiError('rate-limited', 'status 429'))
    await clock.pass(3_600_000)
    assert.deepEqual([observer.done, observer.leftOutIds], [2, []])
    api.failing.clear()
    await ended()
    assert.deepEqual(observer.capturedIds.toSorted(), [1, 2, 3])
  })

  test('asks the API once whether it answers, however many captures fail at the same time', async (t) => {
    const { clock, api, observer, ended } = setUp(t, {
      mode: SWEEP,
      api: { ids: range(1, 9), latency: 10 },
      limits: { concurrency: 4, maxAttempts: 1 },
    })
    for (const id of range(2, 9)) api.failing.set(id, new PokeApiError('too-large', 'too large'))
    await clock.until(() => observer.capturedIds.length === 1, 'the first')
    await ended()
    assert.deepEqual(observer.leftOutIds.toSorted(), range(2, 9))
    assert.ok(api.confirmed.length <= 4, `asked ${api.confirmed.length} times`)
    assert.deepEqual(new Set(api.confirmed), new Set([1]))
  })

  test('remembers over a restart which Pokémon it left out, and the next sweep requests them again', async (t) => {
    const dir = folder(t)
    const publisher = new MockKafkaProducer()
    const first = setUp(t, { dir, publisher, mode: SWEEP, api: { ids: range(1, 9), latency: 10 } })
    first.api.failing.set(7, new PokeApiError('not-a-pokemon', 'no Pokémon', { reason: 'types is empty' }))
    publisher.down = publishFailed()
    await first.clock.until(() => first.observer.leftOutIds.length === 1 && first.outbox.depth === 8, 'the one that is left out')
    await first.finish()
    publisher.down = null
    const second = setUp(t, { dir, publisher, mode: SWEEP, api: { ids: range(1, 9) } })
    await second.ended()
    assert.deepEqual(second.api.asked, [])
    assert.deepEqual(second.observer.finishedSweeps[0]?.leftOut, { ids: '7', reasons: { 7: 'types is empty' } })
    const third = setUp(t, { dir, publisher, mode: SWEEP, api: { ids: range(1, 9) } })
    await third.ended()
    assert.deepEqual(
      countedIds(publisher.logs),
      [...range(1, 9), ...range(1, 9).filter((id) => id !== 7)].sort((a, b) => a - b),
    )
  })

  test('continues after a restart, and begins anew once it was finished', async (t) => {
    const dir = folder(t)
    const publisher = new MockKafkaProducer()
    const api = { ids: range(1, 40), latency: 10 }
    const first = setUp(t, { dir, publisher, mode: SWEEP, api })
    await first.clock.until(() => publisher.arrived.length >= 5, 'some captures')
    await first.finish()
    assert.ok(publisher.arrived.length < 40, 'the sweep was over before it was ended')
    const second = setUp(t, { dir, publisher, mode: SWEEP, api })
    await second.ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 40))
    assert.equal(second.observer.finishedSweeps[0]?.captured, 40, 'the sum over both runs')
    const third = setUp(t, { dir, publisher, mode: SWEEP, api })
    await third.ended()
    assert.deepEqual(
      countedIds(publisher.logs),
      range(1, 40).flatMap((id) => [id, id]),
    )
  })

  test('is finished first, not begun anew, when its process ended after the last capture and before the last acknowledgement', async (t) => {
    const dir = folder(t)
    const publisher = new MockKafkaProducer()
    publisher.down = publishFailed()
    const first = setUp(t, { dir, publisher, mode: SWEEP })
    await first.clock.until(() => first.observer.done === 3 && first.outbox.depth === 3, 'all captures')
    await first.finish()
    assert.deepEqual(left(dir).ids, [1, 2, 3])
    publisher.down = null
    const second = setUp(t, { dir, publisher, mode: SWEEP })
    await second.ended()
    assert.deepEqual(second.api.asked, [])
    assert.deepEqual(countedIds(publisher.logs), [1, 2, 3])
  })
})

describe('storing', () => {
  test('captures of a sweep that finish within a moment share one transaction, and acknowledged events are removed in the next one (rule P2)', async (t) => {
    const { outbox, publisher, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 64), latency: 20 }, limits: { concurrency: 32 } })
    await ended()
    const withCaptures = outbox.commits.filter(({ captures }) => captures.length > 0)
    assert.deepEqual(
      withCaptures.map(({ captures }) => captures.length),
      [64],
    )
    assert.equal(publisher.arrived.length, 64)
    assert.ok(outbox.commits.length <= 3, `${outbox.commits.length} transactions`)
  })

  test('acknowledged events are removed in the same transaction as captures that arrive a moment later (rule P2)', async (t) => {
    const { clock, outbox, finish } = setUp(t, { mode: { order: 'random', interval: 5 } })
    await clock.until(() => outbox.commits.length === 10, 'ten transactions')
    assert.deepEqual(
      outbox.commits.map(({ captures }) => captures.length),
      Array(10).fill(1),
    )
    await finish()
  })

  test('a capture during a send is stored together with the acknowledgement, and soon where none arrives', async (t) => {
    const publisher = new MockKafkaProducer()
    const { clock, outbox, finish } = setUp(t, { publisher, mode: { order: 'random', interval: 5 } })
    await clock.until(() => publisher.arrived.length > 0, 'a first event')
    let release = publisher.hold()
    await clock.until(() => publisher.outstanding === 1, 'a send under way')
    const before = outbox.commits.length
    await clock.pass(15)
    release()
    await clock.rest()
    const shared = outbox.commits[before]
    assert.deepEqual([shared?.captures.length, Number(shared?.acknowledged) > 0], [3, true])
    release = publisher.hold()
    await clock.until(() => publisher.outstanding === 1, 'a send under way')
    const stored = outbox.depth
    await clock.pass(45)
    assert.ok(outbox.depth >= stored + 4, 'captures are not stored while a send is not answered')
    release()
    await finish()
  })

  test('nothing is sent before it is stored (rule P2)', async (t) => {
    const publisher = new MockKafkaProducer()
    const { outbox, clock, finish, observer } = setUp(t, { publisher })
    outbox.failure = new OutboxError('full', 'the disk is full')
    await clock.until(() => observer.storeFailures.length > 3, 'several failures')
    assert.deepEqual(publisher.sends, [])
    outbox.failure = null
    await clock.until(() => publisher.arrived.length > 2, 'captures')
    await finish()
  })

  test('a disk that is full pauses capturing, loses nothing and goes on by itself', async (t) => {
    const { outbox, api, clock, publisher, observer, ended } = setUp(t, { mode: SWEEP, api: { ids: range(1, 40), latency: 20 } })
    await clock.until(() => publisher.arrived.length >= 8, 'some captures')
    outbox.failure = new OutboxError('full', 'the disk is full')
    await clock.until(() => observer.pauses.at(-1) === true, 'a pause')
    const asked = api.asked.length
    await clock.pass(60_000)
    assert.equal(api.asked.length, asked, 'it went on asking')
    outbox.failure = null
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 40))
    assert.equal(api.asked.length, 40, 'something was captured twice')
    assert.equal(observer.pauses.at(-1), false)
  })

  test('a run that cannot store when it is told to end rejects with the reason', async (t) => {
    const { outbox, clock, observer, finish } = setUp(t)
    outbox.failure = new OutboxError('full', 'the disk is full')
    await clock.until(() => observer.storeFailures.length > 0, 'a failure')
    await assert.rejects(finish(), outbox.failure)
  })

  test('an outbox that is damaged ends the run with its error', async (t) => {
    const { outbox, clock, publisher, ended } = setUp(t)
    await clock.until(() => publisher.arrived.length > 0, 'a capture')
    outbox.failure = new OutboxError('damaged', 'the outbox is damaged')
    await assert.rejects(ended(), outbox.failure)
    assert.equal(publisher.closed, true)
  })
})

describe('publishing', () => {
  test('sends the events of an earlier run first, and capturing does not wait for that', async (t) => {
    const dir = folder(t)
    leave(dir, 101, 102)
    const publisher = new MockKafkaProducer()
    const release = publisher.hold()
    const { clock, outbox, finish } = setUp(t, { dir, publisher })
    await clock.until(() => outbox.depth >= 5, 'captures beside a send that is not answered')
    release()
    await clock.until(() => publisher.arrived.length >= 5, 'all of it')
    await finish()
    assert.deepEqual(ids(publisher.sends[0] ?? []), [101, 102])
  })

  test('one send is outstanding at a time, and it has all stored events without waiting for more (rule P4)', async (t) => {
    const publisher = new MockKafkaProducer()
    const { clock, outbox, finish } = setUp(t, { publisher })
    await clock.until(() => publisher.arrived.length === 1, 'the first')
    const release = publisher.hold()
    await clock.until(() => outbox.depth === 6, 'captures beside a send that is not answered')
    release()
    await clock.until(() => publisher.arrived.length >= 7, 'all of it')
    await finish()
    assert.equal(publisher.mostOutstanding, 1)
    assert.deepEqual(
      publisher.sends.slice(0, 3).map((send) => send.map(({ sequence }) => sequence)),
      [[1], [2], [3, 4, 5, 6, 7]],
    )
  })

  for (const appended of ['all', 'none', { partition: 0 }] as const) {
    const what = typeof appended === 'object' ? 'one partition of it' : appended
    test(`a failed send with ${what} appended is sent again unchanged, and nothing newer before it is acknowledged (rule P4)`, async (t) => {
      const publisher = new MockKafkaProducer()
      const { clock, outbox, finish } = setUp(t, {
        publisher,
        random: Math.random,
        api: { ids: range(1, 30) },
        mode: { order: 'random', interval: 10 },
      })
      const release = publisher.hold()
      publisher.fates.push(
        { appended: 'all', error: null },
        { appended, error: publishFailed() },
        { appended, error: publishFailed('deadline') },
        { appended: 'none', error: publishFailed() },
      )
      await clock.until(() => outbox.depth >= 4, 'captures')
      release()
      await clock.until(() => publisher.sends.length === 2, 'the first failure')
      const doubtful = publisher.sends[1]?.length ?? 0
      await clock.until(() => outbox.depth > doubtful, 'newer captures beside those in doubt')
      await clock.until(() => publisher.arrived.length >= 12, 'more captures')
      await finish()
      const [, failed, again, part] = publisher.sends as [unknown, OutboxEvent[], OutboxEvent[], OutboxEvent[]]
      assert.ok(failed.length >= 3, `${failed.length} events were sent at first`)
      assert.deepEqual(again, failed, 'not the same events')
      assert.deepEqual(part, failed.slice(0, part.length), 'other events than those in doubt')
      assertOrdered(publisher)
      assertCapturesCountedOnce(publisher, outbox)
    })
  }

  test('a send that arrives late was delivered before, so consumers recognise it (rule P4)', async (t) => {
    const publisher = new MockKafkaProducer({ partitions: 1 })
    publisher.fates.push({ appended: 'none', error: publishFailed('deadline') })
    const { clock, outbox, finish } = setUp(t, { publisher })
    await clock.until(() => publisher.sends.length >= 2, 'the send after the deadline')
    const late = publisher.sends[0] as OutboxEvent[]
    await clock.until(() => publisher.arrived.length >= 5, 'newer events')
    for (const event of late) publisher.append(event)
    await finish()
    assertCapturesCountedOnce(publisher, outbox)
  })

  test('the partition of an event that was captured before the topic was known is stored before the first send, and never changes (rule P3)', async (t) => {
    const publisher = new MockKafkaProducer({ partitions: 2 })
    publisher.down = publishFailed()
    const { clock, outbox, dir, finish } = setUp(t, { publisher, mode: SWEEP, api: { ids: range(1, 12) } })
    await clock.until(() => outbox.depth === 12, 'captures')
    assert.ok(outbox.oldest(12).every(({ partition }) => partition === null))
    publisher.down = null
    publisher.fates.push({ appended: 'all', error: publishFailed() })
    await clock.until(() => publisher.sends.length === 1, 'a send')
    const stored = outbox.oldest(12)
    assert.deepEqual(stored, publisher.sends[0], 'the partitions that were sent are not those that are stored')
    // Partitions are added while the send is in doubt.
    publisher.addPartitions(5)
    await finish()
    const second = setUp(t, { publisher, dir, mode: SWEEP, api: { ids: range(1, 12) } })
    await second.ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 12))
  })

  test('a capture gets its partition when it is stored, once the topic is known (rule P3)', async (t) => {
    const { clock, publisher, outbox, finish } = setUp(t)
    await clock.until(() => publisher.prepared > 0, 'the topic')
    const release = publisher.hold()
    await clock.until(() => outbox.depth >= 2, 'a capture')
    assert.ok(outbox.oldest(10).every(({ partition }) => partition !== null))
    release()
    await finish()
  })

  test('sends fewer events, down to one, when the topic does not accept as many', async (t) => {
    const dir = folder(t)
    leave(dir, ...range(1, 100))
    const publisher = new MockKafkaProducer()
    publisher.publish = limitedTo(publisher, 10)
    const { ended } = setUp(t, { dir, publisher, mode: SWEEP, api: { ids: [] } })
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 100))
    assert.equal(publisher.sends.filter((send) => send.length > 10).length, 4, 'after 100, 50, 25 and 12 no send was too large')
  })

  test('sends fewer events when the broker closes the connection, until it accepts them', async (t) => {
    const dir = folder(t)
    leave(dir, ...range(1, 100))
    const publisher = new MockKafkaProducer()
    publisher.publish = limitedTo(publisher, 10, publishFailed('unreachable'))
    const { ended } = setUp(t, { dir, publisher, mode: SWEEP, api: { ids: [] } })
    await ended()
    assert.deepEqual(countedIds(publisher.logs), range(1, 100))
    assert.deepEqual(
      publisher.sends.slice(0, 6).map((send) => send.length),
      [100, 100, 50, 25, 12, 6],
    )
  })

  test('a send holds at most 2000 events and half a mebibyte', async (t) => {
    const dir = folder(t)
    leave(dir, ...range(1, 5000))
    const { publisher, ended } = setUp(t, { dir, mode: SWEEP, api: { ids: [] } })
    await ended()
    assert.equal(publisher.arrived.length, 5000)
    for (const send of publisher.sends) {
      assert.ok(send.length <= 2000)
      assert.ok(send.reduce((bytes, { value }) => bytes + value.length, 0) <= 512 * 1024)
    }
  })

  test('while Kafka is away the outbox fills up to its bound; then capturing pauses, and goes on when a fifth is free', async (t) => {
    const publisher = new MockKafkaProducer()
    publisher.down = publishFailed()
    const { clock, api, outbox, observer, ended } = setUp(t, {
      publisher,
      mode: SWEEP,
      api: { ids: range(1, 100), latency: 5 },
      limits: { maxEvents: 20, concurrency: 8 },
    })
    await clock.until(() => observer.pauses.length === 1, 'a pause')
    await clock.pass(10 * 60_000)
    assert.equal(outbox.depth, 20)
    assert.equal(api.asked.length, 20, 'captures beyond the bound were begun')
    assert.deepEqual(observer.pauses, [true])
    assert.ok(observer.publishFailures.length > 10)
    publisher.down = null
    await ended()
    assert.equal(observer.pauses.at(-1), false)
    assert.ok(observer.deepest <= 20, `${observer.deepest} events waited`)
    assert.deepEqual(countedIds(publisher.logs), range(1, 100))
  })

  test('an error that retrying cannot help ends the run, and the events stay in the outbox', async (t) => {
    const publisher = new MockKafkaProducer()
    const { clock, observer, ended, dir } = setUp(t, { publisher })
    await clock.until(() => observer.publishedEvents === 2, 'two events')
    const refusal = publishFailed('not-authorised')
    publisher.fates.push({ appended: 'none', error: refusal })
    await assert.rejects(ended(), refusal)
    assert.equal(publisher.closed, true)
    assert.equal(left(dir).ids.length, 1)
  })

  test('a mistake in the program ends the run, instead of being retried for ever', async (t) => {
    const publisher = new MockKafkaProducer()
    const mistake = new TypeError('undefined is not a function')
    publisher.fates.push({ appended: 'none', error: mistake })
    const { ended } = setUp(t, { publisher })
    await assert.rejects(ended(), mistake)
  })

  test('an error of PokeAPI that retrying cannot help ends the run, after all captures are published', async (t) => {
    const { clock, api, publisher, ended } = setUp(t)
    await clock.until(() => publisher.arrived.length > 0, 'a capture')
    api.down = new PokeApiError('cache', 'the cache cannot be used')
    await assert.rejects(ended(), api.down)
    assert.equal(publisher.closed, true)
  })
})

describe('ending', () => {
  test('waits for the send under way and stores the captures that have arrived; unsent events stay in the outbox', async (t) => {
    const publisher = new MockKafkaProducer()
    const { clock, outbox, dir, finish, stop } = setUp(t, { publisher })
    await clock.until(() => publisher.arrived.length === 1, 'the first')
    const release = publisher.hold()
    await clock.until(() => outbox.depth === 4, 'captures')
    stop()
    await clock.rest()
    assert.equal(publisher.closed, false, 'closed while a send was under way')
    release()
    await finish()
    assert.equal(publisher.closed, true)
    assert.equal(publisher.arrived.length, 2, 'a send began after the end')
    assert.equal(left(dir).ids.length, 3)
  })

  test('does not wait longer than its deadline', async (t) => {
    const publisher = new MockKafkaProducer()
    const { clock, outbox, dir, finish } = setUp(t, { publisher, limits: { drainDeadline: 3000 } })
    publisher.hold()
    await clock.until(() => outbox.depth === 4, 'captures')
    const told = clock.now()
    await finish()
    assert.equal(clock.now() - told, 3000)
    assert.equal(publisher.closed, true)
    assert.equal(left(dir).ids.length, 4)
  })

  test('aborts the captures under way', async (t) => {
    const { clock, api, observer, finish } = setUp(t, { api: { latency: 60_000 } })
    await clock.until(() => api.underWay > 0, 'a capture')
    const told = clock.now()
    await finish()
    assert.equal(clock.now(), told)
    assert.equal(api.underWay, 0)
    assert.deepEqual(observer.captureFailures, [])
  })

  test('a run that is told to end before it begins ends at once', async (t) => {
    const { finish, api } = setUp(t)
    await finish()
    assert.deepEqual(api.asked, [])
  })
})

describe('a process that is killed', () => {
  for (const point of CRASH_POINTS) {
    test(`at each "${point}" of a sweep: each Pokémon is counted once`, async (t) => {
      let crashes = 0
      for (let nth = 1; ; nth++) {
        if (!(await sweepThatDies(t, point, nth))) break
        crashes++
      }
      assert.ok(crashes > 0, `no sweep came by "${point}"`)
    })
  }
})

/** Runs a sweep whose process is killed at its nth arrival at that point, then another process on the same files. False if it never came there. */
async function sweepThatDies(t: TestContext, point: CrashPoint, nth: number): Promise<boolean> {
  const dir = folder(t)
  const remains = folder(t)
  const publisher = new MockKafkaProducer()
  const api = { ids: range(1, 9), latency: 10, missing: [4] }
  let logs: OutboxEvent[][] | null = null
  let passed = 0
  const die = (at: CrashPoint) => {
    if (at !== point || ++passed !== nth) return
    // What is left of a process are its files and what it has sent, as they are now.
    cpSync(dir, remains, { recursive: true })
    logs = publisher.logs.map((log) => [...log])
    throw new Error('died')
  }
  // Without the topic at first, so that partitions are chosen late.
  publisher.down = publishFailed()
  const first = setUp(t, { dir, publisher, api, mode: SWEEP, crashPoint: die, limits: { concurrency: 2 } })
  try {
    await first.clock.until(() => first.outbox.depth >= 2 || logs !== null, 'captures')
    publisher.down = null
    await first.ended()
    return false
  } catch (error) {
    if (logs === null) throw error
  }
  publisher.logs = logs
  const second = setUp(t, { dir: remains, publisher, api, mode: SWEEP })
  await second.ended()
  const expected = range(1, 9).filter((id) => id !== 4)
  // Dead after the sweep was finished: the next start begins a new one.
  const sweeps = countedIds(publisher.logs).length === 2 * expected.length && point === 'forgotten' ? 2 : 1
  assert.deepEqual(
    countedIds(publisher.logs),
    expected.flatMap((id) => Array(sweeps).fill(id)),
    `died at "${point}" for the ${nth}th time`,
  )
  return true
}

/** In each partition, first arrivals are in the order of their sequences. */
function assertOrdered(publisher: MockKafkaProducer): void {
  for (const log of publisher.logs) {
    const firsts = [...new Set(log.map(({ sequence }) => sequence))]
    assert.deepEqual(
      firsts,
      firsts.toSorted((a, b) => a - b),
      'newer events arrived before older ones',
    )
  }
}

/** Everything that left the outbox is counted once, and nothing else. */
function assertCapturesCountedOnce(publisher: MockKafkaProducer, outbox: WatchedOutbox): void {
  const captured = outbox.commits.flatMap(({ captures }) => captures.map(({ pokemon }) => pokemon.id))
  const counted = countedIds(publisher.logs)
  const arrived = captured.slice(0, counted.length).sort((a, b) => a - b)
  assert.deepEqual(counted, arrived)
}

function alternating(numbers: readonly number[]): () => number {
  let next = 0
  return () => numbers[next++ % numbers.length] as number
}

/** A topic, or a broker, that takes so many events at once and no more. */
function limitedTo(
  publisher: MockKafkaProducer,
  most: number,
  error = new PublishError('too-large', 'too many events at once'),
): MockKafkaProducer['publish'] {
  const publish = publisher.publish.bind(publisher)
  return async (events) => {
    if (events.length > most) publisher.fates.push({ appended: 'none', error })
    await publish(events)
  }
}
