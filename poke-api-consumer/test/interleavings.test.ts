/**
 * The real controller and the real SQLite store under a scheduler that decides, at every await, who goes on: members join, leave and die
 * anywhere; partitions move while their old owners still believe in them; responses come late, twice or not at all; commits fail before
 * or after they were applied. Each schedule ends by the invariants. `INTERLEAVINGS` sets how many schedules are tried (500), and
 * `INTERLEAVINGS_SEED` repeats one run.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { Controller } from '../src/application/controller.ts'
import type {
  CommitOutcome,
  FetchHandler,
  PartitionChange,
  PartitionReader,
  RecordSource,
  TopicPartition,
} from '../src/application/ports.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'
import { MockDeadLetterTopic } from './mock-dead-letter-topic.ts'
import { MockFileHandler } from './mock-file-handler.ts'
import { MockCursor, type MockEntry, type MockRecord } from './mock-kafka-consumer.ts'
import { RecordingObserver } from './recording-observer.ts'

const RUNS = Number(process.env.INTERLEAVINGS ?? 500)
const SEED = process.env.INTERLEAVINGS_SEED
const PARTITIONS = 2
const TOPIC_ID = '00000000-0000-4000-8000-000000000001'

/** What the world does next. */
type Step =
  | { readonly kind: 'start' }
  | { readonly kind: 'kill'; readonly member: number }
  | { readonly kind: 'leave'; readonly member: number }
  /** The group hands the partition to a member; the old owner is told later, or never. */
  | { readonly kind: 'move'; readonly partition: number; readonly member: number; readonly told: boolean }
  | { readonly kind: 'grow'; readonly partition: number; readonly records: number }

type CommitFault = 'none' | 'refused' | 'applied-but-lost'
type ResponseFault = 'none' | 'twice' | 'lost'

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('start' as const) }) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant('kill' as const), member: fc.nat(3) }),
      fc.record({ kind: fc.constant('leave' as const), member: fc.nat(3) }),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('move' as const), partition: fc.nat(PARTITIONS - 1), member: fc.nat(3), told: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('grow' as const),
      partition: fc.nat(PARTITIONS - 1),
      records: fc.integer({ min: 1, max: 4 }),
    }),
  },
)
const commitFaults = fc.array(fc.constantFrom<CommitFault>('none', 'none', 'refused', 'applied-but-lost'), { maxLength: 12 })
const responseFaults = fc.array(fc.constantFrom<ResponseFault>('none', 'none', 'twice', 'lost'), { maxLength: 12 })

/** The topic: each partition's log, with records sent again, garbage and holes among the first sendings. */
class Topic {
  readonly logs: MockEntry[][] = Array.from({ length: PARTITIONS }, () => [])
  /** What counting each capture once comes to, by partition. */
  readonly expected = Array.from({ length: PARTITIONS }, () => ({
    counts: new Map<string, number>(),
    letters: [] as number[],
    duplicates: 0,
  }))
  readonly #sent = Array.from({ length: PARTITIONS }, () => [] as MockRecord[])
  #sequence = 0

  grow(partition: number, records: number): void {
    for (let i = 0; i < records; i++) this.#append(partition)
  }

  #append(partition: number): void {
    const log = this.logs[partition] as MockEntry[]
    const expected = this.expected[partition] as (typeof this.expected)[number]
    const sent = this.#sent[partition] as MockRecord[]
    const sequence = ++this.#sequence
    const type = `type-${sequence % 3}`
    if (sequence % 5 === 4 && sent.length > 0) {
      // Sent again, as after an acknowledgement that was lost: the last few, in order.
      for (const again of sent.slice(-2)) {
        log.push(again)
        expected.duplicates++
      }
    } else if (sequence % 7 === 3) log.push('hole')
    else if (sequence % 11 === 5) {
      expected.letters.push(log.length)
      log.push({ value: 'OK' })
    } else {
      const record = {
        value: `{"id":${sequence},"name":"n","types":[{"slot":1,"type":{"name":"${type}"}}]}`,
        source: `run-${sequence >> 4}`,
        sequence,
      }
      log.push(record)
      sent.push(record)
      expected.counts.set(type, (expected.counts.get(type) ?? 0) + 1)
    }
  }
}

/** One process: everything of it stops for ever where it is when it dies. */
class Member {
  readonly observer = new RecordingObserver()
  readonly #stop = new AbortController()
  readonly #world: World
  readonly #store: Store
  #dead = false
  #handler: FetchHandler | null = null
  readonly #reading = new Map<number, { dropped: boolean }>()
  readonly running: Promise<void>

  constructor(world: World, store: Store) {
    this.#world = world
    this.#store = store
    const source: RecordSource = { run: (handler, signal) => this.#run(handler, signal) }
    const controller = new Controller({
      source,
      store: this.#faulty(),
      sink: new MockFileHandler(),
      observer: this.observer,
      deadLetterTopic: new MockDeadLetterTopic(),
      onDataLoss: 'stop',
      sourceMaxCount: 10_000,
      wait: (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
      now: () => 0,
      random: () => 0,
    })
    this.running = controller.run(this.#stop.signal)
  }

  get dead(): boolean {
    return this.#dead
  }

  assign(partition: number): void {
    const before = this.#reading.get(partition)
    if (before !== undefined && !before.dropped) return
    const task = { dropped: false }
    this.#reading.set(partition, task)
    void this.#read(partition, task)
  }

  drop(partition: number): void {
    const task = this.#reading.get(partition)
    if (task !== undefined) task.dropped = true
  }

  kill(): void {
    this.#dead = true
  }

  leave(): void {
    this.#stop.abort()
    for (const task of this.#reading.values()) task.dropped = true
  }

  /** Waits until the scheduler lets it go on; for ever if the process has died meanwhile. */
  async #point(label: string): Promise<void> {
    await this.#world.scheduler.schedule(Promise.resolve(), label)
    if (this.#dead) await new Promise(() => {})
  }

  async #run(handler: FetchHandler, signal: AbortSignal): Promise<void> {
    this.#handler = handler
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }

  async #read(partition: number, task: { dropped: boolean }): Promise<void> {
    const log = this.#world.topic.logs[partition] as MockEntry[]
    let reader: PartitionReader | null = null
    let offset = 0
    await this.#point('told of a partition')
    while (!task.dropped) {
      if (reader === null) {
        reader = await (this.#handler as FetchHandler).open(partitionOf(partition))
        offset = reader.position.offset === 'log-start' ? 0 : reader.position.offset
      }
      const end = log.length
      const size = 1 + (offset % 3)
      const response = () => ({
        fetchOffset: offset,
        cursor: new MockCursor(log, offset, Math.min(offset + size, end), 1),
        bytes: 1,
        highWatermark: end,
        lastStableOffset: end,
        logStartOffset: 0,
      })
      const fault = this.#world.responseFault()
      await this.#point('response')
      if (fault === 'lost') continue
      if (task.dropped) break
      const fetched = response()
      const again = response()
      let outcome = await reader.count(fetched)
      // The same response once more: only an empty one continues the position.
      if (fault === 'twice' && outcome === 'next' && fetched.cursor.nextOffset > offset) {
        outcome = await reader.count(again)
        this.#world.check(outcome !== 'next', 'a response that came twice was counted twice')
      }
      if (outcome === 'stop') return
      if (outcome === 'reopen') reader = null
      else {
        const caughtUp = fetched.cursor.nextOffset === offset
        offset = fetched.cursor.nextOffset
        if (caughtUp && offset >= log.length) await this.#world.moreOrDone(partition, offset)
      }
    }
    await reader?.close()
  }

  /** The real store, each call between two awaits of the scheduler, and commits with the outcomes that the schedule asks for. */
  #faulty(): Store {
    const store = this.#store
    const around = async <T>(label: string, call: () => Promise<T>): Promise<T> => {
      await this.#point(`${label} sent`)
      const result = await call()
      await this.#point(`${label} answered`)
      return result
    }
    const commit = async (change: PartitionChange): Promise<CommitOutcome> => {
      const fault = this.#world.commitFault()
      await this.#point('commit sent')
      if (fault === 'refused') throw new Error('the connection was cut')
      const outcome = await store.commit(change)
      if (outcome === 'committed') this.#world.committed(change)
      await this.#point('commit answered')
      if (fault === 'applied-but-lost') throw new Error('the answer was lost')
      return outcome
    }
    return new Proxy(store, {
      get(target, name) {
        if (name === 'commit') return commit
        if (name === 'open') return (p: TopicPartition) => around('open', () => target.open(p))
        if (name === 'totals') return () => around('totals', () => target.totals())
        const value = target[name as keyof Store] as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

class World {
  readonly topic = new Topic()
  readonly scheduler: fc.Scheduler
  readonly members: Member[] = []
  readonly #store: Store
  readonly #commitFaults: CommitFault[]
  readonly #responseFaults: ResponseFault[]
  readonly #positions = new Map<number, number>()
  readonly #grown: PromiseWithResolvers<void>[] = Array.from({ length: PARTITIONS }, () => Promise.withResolvers())
  #faultless = false
  readonly #done = Promise.withResolvers<void>()
  /** The first invariant that was broken where nobody could be told at once. */
  #broken: Error | null = null

  constructor(scheduler: fc.Scheduler, store: Store, commits: CommitFault[], responses: ResponseFault[]) {
    this.scheduler = scheduler
    this.#store = store
    this.#commitFaults = [...commits]
    this.#responseFaults = [...responses]
  }

  commitFault(): CommitFault {
    return this.#faultless ? 'none' : (this.#commitFaults.shift() ?? 'none')
  }

  responseFault(): ResponseFault {
    return this.#faultless ? 'none' : (this.#responseFaults.shift() ?? 'none')
  }

  /** Notes what must never happen; the schedule ends by it. */
  check(holds: boolean, message: string): void {
    if (holds) return
    this.#broken ??= new assert.AssertionError({ message })
    this.#done.resolve()
  }

  /** Positions never go backwards, and continue where they were. */
  committed({ partition, from, to }: PartitionChange): void {
    const before = this.#positions.get(partition.partition) ?? 0
    const start = from.offset === 'log-start' ? 0 : from.offset
    this.check(start === before, `partition ${partition.partition}: a commit was accepted from ${start}, the position was ${before}`)
    this.check(to.offset > before, `partition ${partition.partition}: the position went from ${before} to ${to.offset}`)
    this.#positions.set(partition.partition, to.offset)
    if (this.#faultless && this.#complete()) this.#done.resolve()
  }

  async moreOrDone(partition: number, offset: number): Promise<void> {
    if ((this.topic.logs[partition] as MockEntry[]).length > offset) return
    await (this.#grown[partition] as PromiseWithResolvers<void>).promise
  }

  grow(partition: number, records: number): void {
    this.topic.grow(partition, records)
    const grown = this.#grown[partition] as PromiseWithResolvers<void>
    this.#grown[partition] = Promise.withResolvers()
    grown.resolve()
  }

  play(step: Step): void {
    const living = this.members.filter((member) => !member.dead)
    const chosen = 'member' in step ? living[step.member % Math.max(living.length, 1)] : undefined
    if (step.kind === 'start') this.members.push(new Member(this, this.#store))
    else if (step.kind === 'grow') this.grow(step.partition, step.records)
    else if (chosen === undefined) return
    else if (step.kind === 'kill') chosen.kill()
    else if (step.kind === 'leave') chosen.leave()
    else {
      if (step.told) for (const member of living) if (member !== chosen) member.drop(step.partition)
      chosen.assign(step.partition)
    }
  }

  /** No more faults: everybody leaves or dies, and one healthy member reads to the end. */
  async finish(): Promise<void> {
    this.#faultless = true
    for (const member of this.members) member.kill()
    for (let partition = 0; partition < PARTITIONS; partition++) this.grow(partition, 1)
    const last = new Member(this, this.#store)
    for (let partition = 0; partition < PARTITIONS; partition++) last.assign(partition)
    if (!this.#complete()) await this.#done.promise
  }

  #complete(): boolean {
    return this.topic.logs.every((log, partition) => (this.#positions.get(partition) ?? 0) === log.length)
  }

  async assertCountedExactlyOnce(): Promise<void> {
    if (this.#broken !== null) throw this.#broken
    for (const partition of await this.#store.snapshot()) {
      const expected = this.topic.expected[partition.partition]
      assert.deepEqual(
        Object.fromEntries(partition.counts),
        Object.fromEntries([...(expected?.counts ?? [])].sort()),
        `partition ${partition.partition}`,
      )
      assert.equal(partition.duplicates, expected?.duplicates, `duplicates of partition ${partition.partition}`)
    }
  }

  async assertDeadLettersComplete(): Promise<void> {
    for (const partition of await this.#store.snapshot()) {
      assert.deepEqual(
        partition.letters.map(({ offset }) => offset),
        this.topic.expected[partition.partition]?.letters,
        `dead letters of partition ${partition.partition}`,
      )
    }
  }
}

function partitionOf(partition: number): TopicPartition {
  return { topic: 'poke-topic', topicId: TOPIC_ID, partition }
}

describe('interleavings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'interleavings-'))
  after(async () => {
    await (await held).close()
    rmSync(folder, { recursive: true, force: true })
  })
  let schedules = 0
  // Held open, so that closing a schedule's store is not each time the last one, which rewrites the file.
  const held = openStore(`sqlite:${join(folder, 'counts.db')}`, { groupId: 'nobody' })

  test(`${RUNS} schedules end with every record counted exactly once`, async () => {
    const store = (group: number) => openStore(`sqlite:${join(folder, 'counts.db')}`, { groupId: `group-${group}`, now: () => 0 })
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(step, { minLength: 4, maxLength: 16 }),
        commitFaults,
        responseFaults,
        async (s, steps, commits, responses) => {
          const opened = await store(schedules++)
          const world = new World(s, opened, commits, responses)
          world.play({ kind: 'start' })
          world.play({ kind: 'grow', partition: 0, records: 3 })
          world.play({ kind: 'move', partition: 0, member: 0, told: true })
          const script = (async () => {
            for (const next of steps) {
              await s.schedule(Promise.resolve(), `world: ${next.kind}`)
              world.play(next)
            }
            await world.finish()
          })()
          await s.waitFor(script)
          await world.assertCountedExactlyOnce()
          await world.assertDeadLettersComplete()
          await opened.close()
        },
      ),
      { numRuns: RUNS, timeout: 20_000, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    )
    assert.ok(schedules >= RUNS)
  })
})
