/**
 * The real controller and the real SQLite store under a scheduler that decides at every await which member continues. Members join, leave and are
 * killed at any await. Partitions move before their old owners know it, and these still publish dead letters. Two responses are under way, and arrive
 * late, twice, not at all, or after the partition was opened again. Opens, commits, gaps and publishing fail before or after they were applied.
 * Retention removes records, and an operator resets. At the end of each schedule the invariants are checked.
 */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { DataLoss, PartitionHandler, PartitionSession, ReadOutcome, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import {
  arbitraryFaults,
  assertEverySchedule,
  Faults,
  Mortal,
  playOut,
  Reached,
  SCHEDULES,
  SCHEDULES_SEED,
  scheduleFolder,
} from '@poke-api-pipeline/service-kit/testing/interleavings'
import fc from 'fast-check'
import { Controller } from '../src/application/controller.ts'
import { CRASH_POINTS, type CrashPoint } from '../src/application/crash-points.ts'
import type {
  CommitOutcome,
  DeadLetterTopic,
  Gap,
  KeptDeadLetter,
  PartitionChange,
  PartitionSnapshot,
  PartitionState,
} from '../src/application/ports.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'
import { MockFileHandler } from './mock-file-handler.ts'
import { MockCursor, type MockEntry, type MockRecord } from './mock-kafka-consumer.ts'
import { RecordingObserver } from './recording-observer.ts'

const PARTITIONS = 2
const TOPIC_ID = '00000000-0000-4000-8000-000000000001'
/** The export of the file waits for longer than this between two polls, in ms. The scheduler skips those waits. */
const REST = 900

/** The next step of a schedule. */
type Step =
  | { readonly kind: 'start' | 'reset' }
  | { readonly kind: 'kill' | 'leave'; readonly member: number }
  | { readonly kind: 'die at'; readonly point: CrashPoint }
  /** The group assigns the partition to another member. The old owner learns that later or never. */
  | { readonly kind: 'move'; readonly partition: number; readonly member: number; readonly told: boolean }
  | { readonly kind: 'grow' | 'retention'; readonly partition: number; readonly records: number }

type OpenFault = 'fails' | 'token taken, answer lost'
/** The outcomes of commits, gaps and marks. */
type WriteFault = 'refused' | 'applied, answer lost'
type ResponseFault = 'twice' | 'lost' | 'to a later opening'
type PublishFault = 'never arrives' | 'acknowledgement lost' | 'arrives late'

/** The crash points, except those of the file and the group's offsets, which do not exist here. */
const POINTS = CRASH_POINTS.filter((point) => point !== 'exported' && point !== 'mirrored')

const partition = fc.nat(PARTITIONS - 1)
const member = fc.nat(3)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('start' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('kill' as const, 'leave' as const), member }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('die at' as const), point: fc.constantFrom(...POINTS) }) },
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('move' as const), partition, member, told: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('grow' as const), partition, records: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('retention' as const), partition, records: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const) }) },
)
const plan = fc.record({
  steps: fc.array(step, { minLength: 8, maxLength: 24 }),
  opens: arbitraryFaults<OpenFault>('fails', 'token taken, answer lost'),
  writes: arbitraryFaults<WriteFault>('refused', 'applied, answer lost'),
  responses: arbitraryFaults<ResponseFault>('twice', 'lost', 'to a later opening'),
  publishes: arbitraryFaults<PublishFault>('never arrives', 'acknowledgement lost', 'arrives late'),
})
type Plan = typeof plan extends fc.Arbitrary<infer P> ? P : never

/** Events that must have happened in some schedule. */
const EVENTS = [
  'joined',
  'killed',
  ...POINTS.map((point) => `killed at "${point}"`),
  'left',
  'two fetches in flight',
  'several responses committed as one',
  'response lost',
  'response twice',
  'response to a later opening',
  'open failed',
  'open taken, answer lost',
  'commit refused',
  'commit applied, answer lost',
  'fenced',
  'records removed that were not read',
  'gap recorded',
  'gap fenced',
  'reset',
  'reset with a commit under way',
  'dead letters sent by a former owner',
  'dead letters arrived late',
  'dead letter published twice',
] as const

/** The topic: each partition's log, with events, repeated events, records that cannot be counted, and missing offsets. */
class Topic {
  readonly logs: MockEntry[][] = Array.from({ length: PARTITIONS }, () => [])
  /** The start of the log: retention has removed the records before it. */
  readonly starts: number[] = Array.from({ length: PARTITIONS }, () => 0)
  readonly #sent = Array.from({ length: PARTITIONS }, () => [] as MockRecord[])
  #sequence = 0

  grow(partition: number, records: number): void {
    for (let i = 0; i < records; i++) this.#append(partition)
  }

  #append(partition: number): void {
    const log = this.logs[partition] as MockEntry[]
    const sent = this.#sent[partition] as MockRecord[]
    const sequence = ++this.#sequence
    // The last few events are sent again in order, as after a lost acknowledgement.
    if (sequence % 5 === 4 && sent.length > 0) log.push(...sent.slice(-2))
    else if (sequence % 7 === 3) log.push('hole')
    else if (sequence % 8 === 2) log.push({ value: 'OK' })
    else {
      const value = sequence % 8 === 5 ? 'OK' : `{"id":${sequence},"name":"n","types":[{"slot":1,"type":{"name":"type-${sequence % 3}"}}]}`
      const record = { value, source: `run-${sequence >> 4}`, sequence }
      log.push(record)
      sent.push(record)
    }
  }
}

/** The part of a response for one partition, or the answer that the log no longer has the offset; null: the response was lost. */
type Answer = { readonly from: number; readonly end: number; fetched(): Parameters<PartitionSession['process']>[0] } | 'out of range' | null

/** A partition that is assigned to a member. */
interface Task {
  dropped: boolean
  readonly drop: PromiseWithResolvers<void>
  readonly read: Promise<void>
}

class ProcessDied extends Error {}

/** A process of the consumer. */
class Member extends Mortal {
  readonly observer = new RecordingObserver()
  readonly #stop = new AbortController()
  readonly #world: World
  readonly #store: Store
  #handler: PartitionHandler | null = null
  #time = 0
  #committing = 0
  readonly #tasks = new Map<number, Task>()
  readonly running: Promise<void>

  constructor(world: World, store: Store) {
    super(world.scheduler)
    this.#world = world
    this.#store = store
    const controller = new Controller({
      reader: { run: (handler, signal) => this.#run(handler, signal) },
      store: this.#faulty(),
      sink: new MockFileHandler(),
      observer: Object.assign(this.observer, { fenced: () => world.reached.note('fenced') }),
      deadLetterTopic: this.#deadLetterTopic(),
      onDataLoss: 'continue',
      sourceMaxCount: 10_000,
      clock: { now: () => this.#time, wait: (ms, signal) => this.#wait(ms, signal), random: () => 0 },
      crashPoint: (point) => {
        if (world.dieAt !== point || this.dead) return
        world.dieAt = null
        world.reached.note(`killed at "${point}"`)
        this.kill()
        throw new ProcessDied()
      },
    })
    this.running = controller.run(this.#stop.signal).catch((error) => world.check(this.dead, `a member ended by an error: ${error.stack}`))
  }

  get committing(): boolean {
    return this.#committing > 0 && !this.dead
  }

  assign(partition: number): void {
    const before = this.#tasks.get(partition)
    if (this.#stop.signal.aborted || (before !== undefined && !before.dropped)) return
    const task: { -readonly [K in keyof Task]: Task[K] } = {
      dropped: false,
      drop: Promise.withResolvers<void>(),
      read: Promise.resolve(),
    }
    // A partition is opened again only after it was closed.
    task.read = (before?.read ?? Promise.resolve())
      .then(() => this.#read(partition, task))
      .catch((error) => this.#world.check(error instanceof ProcessDied, `reading ended by an error: ${error.stack}`))
    this.#tasks.set(partition, task)
  }

  drop(partition: number): void {
    const task = this.#tasks.get(partition)
    if (task === undefined) return
    task.dropped = true
    task.drop.resolve()
  }

  leave(): void {
    this.#stop.abort()
  }

  async #run(handler: PartitionHandler, signal: AbortSignal): Promise<void> {
    this.#handler = handler
    await this.aborted(signal)
    for (const partition of this.#tasks.keys()) this.drop(partition)
    await Promise.all([...this.#tasks.values()].map(({ read }) => read))
  }

  async #read(partition: number, task: Task): Promise<void> {
    const { topic, responses, reached } = this.#world
    await this.point('told of a partition')
    let stale: Answer = null
    while (!task.dropped) {
      const reader = await this.#open(partition)
      if (reader === null) return
      let outcome: ReadOutcome = 'next'
      const known = reader.position.offset !== 'log-start'
      // The source does not let it come so far; nor would the reader take it for its own.
      if (known && stale !== null && stale !== 'out of range') {
        reached.note('response to a later opening')
        outcome = await reader.process(stale.fetched())
        this.#world.check(
          outcome === (stale.from === reader.position.offset ? 'next' : 'reopen'),
          'a response of an earlier opening was counted',
        )
        outcome = 'reopen'
      }
      stale = null
      let offset = reader.position.offset === 'log-start' ? (topic.starts[partition] as number) : reader.position.offset
      let stoodAt = offset
      let waiting = false
      let flying = this.#ask(partition, offset, waiting, task)
      while (outcome === 'next' && !task.dropped) {
        const answer: Answer = await flying
        if (task.dropped) break
        const fault = responses.next()
        if (answer === null || fault === 'lost') {
          reached.note('response lost')
          flying = this.#ask(partition, offset, false, task)
        } else if (answer === 'out of range') {
          outcome = await this.#outOfRange(partition, offset, stoodAt, reader)
          offset = topic.starts[partition] as number
          stoodAt = offset
          if (outcome === 'next') flying = this.#ask(partition, offset, false, task)
        } else {
          // The next response is requested before this one is counted.
          waiting = answer.end === offset
          if (!waiting) reached.note('two fetches in flight')
          flying = this.#ask(partition, answer.end, waiting, task)
          outcome = await reader.process(answer.fetched())
          if (fault === 'twice' && outcome === 'next' && answer.end > offset) {
            reached.note('response twice')
            outcome = await reader.process(answer.fetched())
            this.#world.check(outcome !== 'next', 'a response that came twice was counted twice')
          }
          offset = answer.end
        }
        if (outcome === 'reopen' && responses.next() === 'to a later opening') stale = await flying
      }
      if (outcome === 'stop') return
      if (task.dropped) await reader.close()
    }
  }

  async #open(partition: number): Promise<PartitionSession | null> {
    try {
      return await (this.#handler as PartitionHandler).open(partitionOf(partition), this.#stop.signal)
    } catch (error) {
      // Opening may fail only while this member ends.
      this.#world.check(this.#stop.signal.aborted || this.dead, `an opening failed: ${error}`)
      return null
    }
  }

  async #outOfRange(partition: number, offset: number, stoodAt: number, reader: PartitionSession): Promise<ReadOutcome> {
    const { topic, reached } = this.#world
    // A partition that was never read begins at the present start of its log.
    if (reader.position.offset === 'log-start' && offset === stoodAt) return 'next'
    reached.note('records removed that were not read')
    return await reader.dataLost(retention(offset, topic.starts[partition] as number))
  }

  /** Fetches from the leader. @param waits until there are records, as after an empty response */
  async #ask(partition: number, offset: number, waits: boolean, task: Task): Promise<Answer> {
    const { topic } = this.#world
    const log = topic.logs[partition] as MockEntry[]
    await this.point('request')
    while (waits && offset >= log.length && !task.dropped) await Promise.race([this.#world.grows(partition), task.drop.promise])
    if (offset < (topic.starts[partition] as number)) return 'out of range'
    const highWatermark = log.length
    const end = Math.min(responseEnd(offset), highWatermark)
    await this.point('response')
    return {
      from: offset,
      end,
      fetched: () => ({
        fetchOffset: offset,
        cursor: new MockCursor(log, offset, end, 1),
        bytes: 1,
        highWatermark,
        lastStableOffset: highWatermark,
      }),
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const aborted = this.aborted(signal)
    if (ms > REST) return await aborted
    const until = this.#time + ms
    const passed = this.point(`waited ${ms} ms`).then(() => {
      this.#time = Math.max(this.#time, until)
    })
    await Promise.race([aborted, passed])
  }

  /** The real store. The scheduler can switch before and after each call, and the schedule decides on its outcome. */
  #faulty(): Store {
    const store = this.#store
    const world = this.#world
    const write = async <T>(label: string, call: () => Promise<T>, applied: (result: T) => void): Promise<T> => {
      const fault = world.writes.next()
      await this.point(`${label} sent`)
      if (fault === 'refused') throw new Error('the connection was cut')
      const result = await call()
      applied(result)
      await this.point(`${label} answered`)
      if (fault === 'applied, answer lost') throw new Error('the answer was lost')
      return result
    }
    const overrides: Partial<Store> = {
      open: async (p: TopicPartition): Promise<PartitionState> => {
        const fault = world.opens.next()
        if (fault === 'fails') world.reached.note('open failed')
        await this.point('open sent')
        if (fault === 'fails') throw new Error('the connection was cut')
        const state = await store.open(p)
        world.owners.set(p.partition, this)
        await this.point('open answered')
        if (fault === 'none') return state
        world.reached.note('open taken, answer lost')
        throw new Error('the answer was lost')
      },
      commit: async (change: PartitionChange): Promise<CommitOutcome> => {
        this.#committing++
        let outcome: CommitOutcome | null = null
        const commit = write(
          'commit',
          () => store.commit(change),
          (result) => {
            outcome = result
            if (result === 'committed') world.committed(change)
          },
        )
        try {
          return await commit
        } catch (error) {
          world.reached.note(outcome === null ? 'commit refused' : 'commit applied, answer lost')
          throw error
        } finally {
          this.#committing--
        }
      },
      recordGap: (gap: Gap) =>
        write(
          'gap',
          () => store.recordGap(gap),
          (outcome) => {
            world.reached.note(outcome === 'committed' ? 'gap recorded' : 'gap fenced')
            if (outcome === 'committed') world.skipped(gap)
          },
        ),
      markPublished: (ids: readonly number[]) =>
        write(
          'mark',
          () => store.markPublished(ids),
          () => world.look(),
        ),
      unpublished: (...asked) => this.call('unpublished', () => store.unpublished(...asked)),
      totals: () => this.call('totals', () => store.totals()),
      partitions: () => this.call('partitions', () => store.partitions()),
    }
    return new Proxy(store, {
      get(target, name) {
        const value = (overrides[name as keyof Store] ?? target[name as keyof Store]) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  #deadLetterTopic(): DeadLetterTopic {
    const world = this.#world
    return {
      publish: async (deadLetters) => {
        const fault = world.publishes.next()
        // A send that is under way arrives even if its sender was killed, or has lost the partition.
        await this.scheduler.schedule(Promise.resolve(), 'dead letters on their way')
        if (world.owners.get(deadLetters[0]?.partition.partition ?? -1) !== this) world.reached.note('dead letters sent by a former owner')
        if (fault === 'arrives late') world.arrivesLate(deadLetters)
        else if (fault !== 'never arrives') world.published(deadLetters)
        await this.point('dead letters answered')
        if (fault !== 'none') throw new Error('the topic did not answer')
      },
      refused: async () => null,
      close: async () => {},
    }
  }
}

/** The effect of one commit or gap on a partition. */
interface Range {
  readonly kind: 'read' | 'gap'
  readonly from: number
  readonly to: number
}

class World {
  readonly topic = new Topic()
  readonly scheduler: fc.Scheduler
  readonly opens: Faults<OpenFault>
  readonly writes: Faults<WriteFault>
  readonly responses: Faults<ResponseFault>
  readonly publishes: Faults<PublishFault>
  readonly reached: Reached
  readonly members: Member[] = []
  /** The crash point at which the next member is killed. */
  dieAt: CrashPoint | null = null
  /** The member that opened each partition last. */
  readonly owners = new Map<number, Member>()
  /** The dead-letter topic: offsets of the source records, by partition. */
  readonly deadLetters: number[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly #store: Store
  readonly #late: Promise<void>[] = []
  /** The commits and gaps of each partition since the last reset. */
  #ranges: Range[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly #grown: PromiseWithResolvers<void>[] = Array.from({ length: PARTITIONS }, () => Promise.withResolvers())
  #finishing = false
  readonly #done = Promise.withResolvers<void>()
  /** The first broken invariant that could not be thrown at once. */
  #broken: Error | null = null

  constructor(scheduler: fc.Scheduler, store: Store, { opens, writes, responses, publishes }: Plan, reached: Reached) {
    this.scheduler = scheduler
    this.#store = store
    this.opens = new Faults(opens)
    this.writes = new Faults(writes)
    this.responses = new Faults(responses)
    this.publishes = new Faults(publishes)
    this.reached = reached
  }

  /** Stores the error if an invariant is broken. The end of the schedule throws it. */
  check(holds: boolean, message: string): void {
    if (holds) return
    this.#broken ??= new assert.AssertionError({ message })
    this.#done.resolve()
  }

  committed({ partition, from, to, firstOffset }: PartitionChange): void {
    this.#moved(partition, from.offset, { kind: 'read', from: firstOffset, to: to.offset })
    // More than one response can have: see `#ask`.
    if (to.offset > responseEnd(firstOffset)) this.reached.note('several responses committed as one')
    this.check(to.offset > firstOffset, `partition ${partition.partition}: the position went from ${firstOffset} to ${to.offset}`)
  }

  skipped({ partition, from, loss }: Gap): void {
    this.#moved(partition, from.offset, { kind: 'gap', from: loss.from as number, to: loss.to as number })
    const start = this.topic.starts[partition.partition] as number
    this.check((loss.to as number) <= start, `partition ${partition.partition}: the gap to ${loss.to} skips records from ${start} on`)
  }

  /** Checks that a change begins at the last position, and does not go back. */
  #moved({ partition }: TopicPartition, from: number | 'log-start', range: Range): void {
    const ranges = this.#ranges[partition] as Range[]
    const before = ranges.at(-1)?.to ?? 'log-start'
    this.check(from === before, `partition ${partition}: the position was moved from ${from}, and was ${before}`)
    this.check(before === 'log-start' || range.from === before, `partition ${partition}: after ${before} it went on at ${range.from}`)
    ranges.push(range)
    this.look()
  }

  published(deadLetters: readonly KeptDeadLetter[]): void {
    for (const { partition, offset } of deadLetters) {
      const published = this.deadLetters[partition.partition] as number[]
      if (published.includes(offset)) this.reached.note('dead letter published twice')
      published.push(offset)
    }
  }

  arrivesLate(deadLetters: readonly KeptDeadLetter[]): void {
    const arrival = this.scheduler.schedule(Promise.resolve(), 'dead letters arrive late').then(() => {
      this.reached.note('dead letters arrived late')
      this.published(deadLetters)
    })
    this.#late.push(arrival)
  }

  /** Whether everything is counted and published. Called after the last fault. */
  look(): void {
    if (this.#finishing) void this.#store.snapshot().then((partitions) => (this.#complete(partitions) ? this.#done.resolve() : undefined))
  }

  async grows(partition: number): Promise<void> {
    await (this.#grown[partition] as PromiseWithResolvers<void>).promise
  }

  play(step: Step): void {
    const living = this.members.filter((each) => !each.dead)
    const chosen = 'member' in step ? living[step.member % Math.max(living.length, 1)] : undefined
    if (step.kind === 'start') this.#start()
    else if (step.kind === 'grow') this.#grow(step.partition, step.records)
    else if (step.kind === 'retention') this.#remove(step.partition, step.records)
    else if (step.kind === 'reset') this.#reset()
    else if (step.kind === 'die at') this.dieAt = step.point
    else if (chosen === undefined) return
    else if (step.kind === 'kill') {
      this.reached.note('killed')
      chosen.kill()
    } else if (step.kind === 'leave') {
      this.reached.note('left')
      chosen.leave()
    } else if (step.kind === 'move') {
      if (step.told) for (const each of living) if (each !== chosen) each.drop(step.partition)
      chosen.assign(step.partition)
    }
  }

  #start(): Member {
    this.reached.note('joined')
    const started = new Member(this, this.#store)
    this.members.push(started)
    return started
  }

  #grow(partition: number, records: number): void {
    this.topic.grow(partition, records)
    const grown = this.#grown[partition] as PromiseWithResolvers<void>
    this.#grown[partition] = Promise.withResolvers()
    grown.resolve()
  }

  #remove(partition: number, records: number): void {
    const { logs, starts } = this.topic
    starts[partition] = Math.min((starts[partition] as number) + records, (logs[partition] as MockEntry[]).length)
  }

  #reset(): void {
    this.reached.note('reset')
    if (this.members.some(({ committing }) => committing)) this.reached.note('reset with a commit under way')
    // A call of SQLite is done when it returns.
    void this.#store.reset()
    this.#ranges = Array.from({ length: PARTITIONS }, () => [])
  }

  /** Ends all faults: all members are killed, and a new one, or the one after it, reads to the end. */
  async finish(): Promise<void> {
    this.#finishing = true
    for (const faults of [this.opens, this.writes, this.responses, this.publishes]) faults.end()
    for (const each of this.members) each.kill()
    for (let partition = 0; partition < PARTITIONS; partition++) this.#grow(partition, 1)
    let last: Member
    do {
      last = this.#start()
      for (let partition = 0; partition < PARTITIONS; partition++) last.assign(partition)
      await Promise.race([this.#done.promise, last.death])
    } while (last.dead)
    if (this.#broken !== null) return
    last.leave()
    await Promise.race([last.running, last.death])
    await Promise.all(this.#late)
    // Node.js keeps the listeners of a combined signal in memory until it is aborted, so killed members would never be freed.
    for (const each of this.members) each.leave()
  }

  #complete(partitions: readonly PartitionSnapshot[]): boolean {
    const published = partitions.every(({ deadLetterList: deadLetters }) => [...deadLetters].every(({ state }) => state === 'published'))
    return published && this.topic.logs.every((log, partition) => this.#ranges[partition]?.at(-1)?.to === log.length)
  }

  assertNothingBroke(): void {
    if (this.#broken !== null) throw this.#broken
  }

  /** Applies rule C2 to the records that were read, one after the other. The store must have exactly this result. */
  async assertCountedExactlyOnce(): Promise<void> {
    for (const found of await this.#store.snapshot()) {
      const { partition } = found
      const expected = countOf(this.topic.logs[partition] as MockEntry[], this.#ranges[partition] as Range[])
      const { counts, counted, duplicates, deadLetterList: deadLetters } = found
      const actual = { counts: Object.fromEntries(counts), counted, duplicates, deadLetters: [...deadLetters].map(({ offset }) => offset) }
      assert.deepEqual(actual, expected, `partition ${partition}`)
    }
  }

  /** Promise 5: every offset up to the end was read, or is in a recorded gap. */
  async assertNothingSkippedInSilence(): Promise<void> {
    for (const { partition, gaps } of await this.#store.snapshot()) {
      const ranges = this.#ranges[partition] as Range[]
      assert.equal(ranges.at(-1)?.to, this.topic.logs[partition]?.length, `the position of partition ${partition}`)
      const expected = ranges.filter(({ kind }) => kind === 'gap').map(({ from, to }) => ({ from, to }))
      assert.deepEqual(
        gaps.map(({ from, to }) => ({ from, to })),
        expected,
        `gaps of partition ${partition}`,
      )
    }
  }

  /** Promise 3: each dead letter was published at least once, and the first time in order. */
  async assertDeadLettersPublishedInOrder(): Promise<void> {
    for (const { partition, deadLetterList: deadLetters } of await this.#store.snapshot()) {
      const kept = [...deadLetters].map(({ offset }) => offset)
      const first = [...new Set(this.deadLetters[partition])].filter((offset) => kept.includes(offset))
      assert.deepEqual(first, kept, `published dead letters of partition ${partition}`)
    }
  }
}

/** The end of a response that was requested at this offset. */
function responseEnd(offset: number): number {
  return offset + 1 + (offset % 3)
}

/** The result of counting each record of the ranges by the rules. */
function countOf(log: readonly MockEntry[], ranges: readonly Range[]) {
  const last = new Map<string, number>()
  const types = new Map<string, number>()
  const deadLetters: number[] = []
  let counted = 0
  let duplicates = 0
  for (const { kind, from, to } of ranges) {
    for (let offset = from; kind === 'read' && offset < to; offset++) {
      const entry = log[offset] as MockEntry
      if (entry === 'hole' || 'corrupt' in entry) continue
      const { source, sequence = -1, value } = entry
      if (source !== undefined && sequence <= (last.get(source) ?? -1)) duplicates++
      else {
        if (source !== undefined) last.set(source, sequence)
        if (value === 'OK') deadLetters.push(offset)
        else {
          counted++
          const type = /type-\d/.exec(String(value))?.[0] as string
          types.set(type, (types.get(type) ?? 0) + 1)
        }
      }
    }
  }
  return { counts: Object.fromEntries([...types].sort()), counted, duplicates, deadLetters }
}

function partitionOf(partition: number): TopicPartition {
  return { topic: 'poke-topic', topicId: TOPIC_ID, partition }
}

function retention(from: number, to: number): DataLoss {
  return { kind: 'retention', message: `retention removed ${from} to ${to - 1}`, from, to }
}

describe('interleavings', () => {
  const folder = scheduleFolder('consumer-interleavings')
  const url = `sqlite:${join(folder, 'counts.db')}`
  after(async () => {
    await (await held).close()
    rmSync(folder, { recursive: true, force: true })
  })
  let schedules = 0
  const reached = new Reached(...EVENTS)
  // One store stays open, because closing the last one of a file makes SQLite rewrite the file.
  const held = openStore(url, { groupId: 'nobody' })

  test(`${SCHEDULES} schedules (seed ${SCHEDULES_SEED}) end with every record counted exactly once`, async (t) => {
    await assertEverySchedule(
      fc.asyncProperty(fc.scheduler(), plan, async (scheduler, drawn) => {
        const store = await openStore(url, { groupId: `group-${schedules++}`, now: () => 0 })
        const world = new World(scheduler, store, drawn, reached)
        world.play({ kind: 'start' })
        world.play({ kind: 'grow', partition: 0, records: 3 })
        world.play({ kind: 'move', partition: 0, member: 0, told: true })
        await playOut(scheduler, drawn.steps, world)
        await world.assertCountedExactlyOnce()
        await world.assertNothingSkippedInSilence()
        await world.assertDeadLettersPublishedInOrder()
        await store.close()
      }),
    )
    t.diagnostic(`reached: ${reached}`)
    reached.assertAll()
    assert.ok(schedules >= SCHEDULES)
  })
})
