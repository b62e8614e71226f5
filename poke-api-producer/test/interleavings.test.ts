/**
 * The real controller and the real outbox under a scheduler that decides, at every await, who goes on: captures finish in any order; sends
 * fail before or after they were appended, in part too, are answered late or never, and arrive late; the process dies anywhere and starts
 * again on the same outbox, on an older copy of it, or beside another process on a copy; partitions are added; Kafka is away until the
 * outbox is full; the disk is. Each schedule ends by the invariants.
 */
import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
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
  schedulerWithTurns,
} from '@poke-api-pipeline/service-kit/testing/interleavings'
import fc from 'fast-check'
import { Controller } from '../src/application/controller.ts'
import { CRASH_POINTS, type CrashPoint } from '../src/application/crash-points.ts'
import type { EventPublisher, Outbox, OutboxChange, OutboxEvent, PokeApi } from '../src/application/ports.ts'
import type { Capture } from '../src/entities/pokemon.ts'
import { OutboxError } from '../src/errors.ts'
import { partitionerFor } from '../src/infrastructure/messaging/kafka-producer.ts'
import { SqliteOutbox } from '../src/infrastructure/outbox/sqlite-outbox.ts'
import { publishFailed } from './mock-kafka-producer.ts'
import { apiIsDown } from './mock-poke-api-client.ts'
import { capture } from './pokemon.ts'
import { RecordingObserver } from './recording-observer.ts'

const IDS = [1, 2, 3, 4, 5, 6]
/** Named by the API, and 404. */
const MISSING = 3
const LIMITS = { concurrency: 3, maxEvents: 4, maxAttempts: 3, drainDeadline: 5000 }
const FIRST_PARTITIONS = 2
const MOST_PARTITIONS = 4
const MOST_HOMES = 3

type Order = 'random' | 'sweep'

/** What the world does next. A home is a data directory, with or without a process. */
type Step =
  | { readonly kind: 'start' | 'kill' | 'stop' | 'copy' | 'restore' | 'clone'; readonly home: number }
  | { readonly kind: 'die at'; readonly home: number; readonly point: CrashPoint }
  | { readonly kind: 'Kafka away' | 'Kafka back' | 'partition added' | 'nothing' }

type ApiFault = 'fails'
type DiskFault = 'full'
/** What becomes of a send: `arrives late`: after it was given up, or after its process died; `in part`: one partition's events. */
type SendFault =
  | 'never arrives'
  | 'acknowledgement lost'
  | 'in part, then fails'
  | 'in part, the rest arrives late'
  | 'arrives late'
  | 'too large'

const home = fc.nat(MOST_HOMES - 1)
const ofHome = (...kinds: ('start' | 'kill' | 'stop' | 'copy' | 'restore' | 'clone')[]) =>
  fc.record({ kind: fc.constantFrom(...kinds), home })
/** The later ones are met less often. */
const crashPoint = fc.constantFrom<CrashPoint>(...CRASH_POINTS, 'partitioned', 'partitioned', 'acknowledged', 'forgotten', 'swept', 'swept')
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: ofHome('start') },
  { weight: 3, arbitrary: ofHome('kill', 'kill', 'stop') },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('die at' as const), home, point: crashPoint }) },
  { weight: 3, arbitrary: ofHome('copy', 'restore', 'clone') },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('Kafka away' as const, 'Kafka back' as const, 'Kafka back' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('partition added' as const) }) },
  // Steps of the world come between any others; these make room.
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('nothing' as const) }) },
)
const plan = fc.record({
  order: fc.constantFrom<Order>('random', 'sweep'),
  /** Whether Kafka is away at first, so that events are stored before the topic is known. */
  away: fc.boolean(),
  /** Where the first process to come by dies. */
  dieAt: fc.option(crashPoint),
  steps: fc.array(step, { minLength: 6, maxLength: 40 }),
  api: arbitraryFaults<ApiFault>('fails'),
  disk: arbitraryFaults<DiskFault>('full'),
  sends: arbitraryFaults<SendFault>(
    'never arrives',
    'acknowledgement lost',
    'in part, then fails',
    'in part, the rest arrives late',
    'arrives late',
    'too large',
  ),
})
type Plan = typeof plan extends fc.Arbitrary<infer P> ? P : never

/** A data directory. */
interface Home {
  readonly dir: string
  process: Producer | null
  /** Where the next process that comes by dies. */
  dieAt: CrashPoint | null
  copy: { readonly dir: string; readonly events: readonly OutboxEvent[] } | null
  /** Whether its history is its own: a restored or copied one repeats a part of its sweep. */
  original: boolean
  sweepsFinished: number
}

/** What the schedules must have met. */
const EVENTS = [
  'killed with captures that were not stored',
  'killed during a send',
  ...CRASH_POINTS.map((point) => `killed at "${point}"`),
  'ended in order',
  'restored',
  'captures thrown away by restoring',
  'cloned',
  'partition chosen twice',
  'partition added while events wait',
  'paused because the outbox is full',
  'disk full',
  'Kafka away',
  'late arrival',
  'duplicate',
  'sweep finished',
] as const

class ProcessDied extends Error {}

/** One process, from its start to its end or death. */
class Producer extends Mortal implements Outbox {
  readonly observer = new RecordingObserver()
  readonly #world: World
  readonly #home: Home
  readonly #outbox: SqliteOutbox
  readonly #stop = new AbortController()
  readonly #empty = Promise.withResolvers<void>()
  #outstanding = 0
  #partitions = 0
  #obtained = 0
  ended = false
  readonly running: Promise<void>

  constructor(world: World, at: Home) {
    super(world.scheduler)
    this.#world = world
    this.#home = at
    this.#outbox = new SqliteOutbox({ dir: at.dir })
    if (this.#outbox.depth === 0) this.#empty.resolve()
    const controller = new Controller({
      api: this.#api(),
      outbox: this,
      publisher: this.#publisher(),
      observer: Object.assign(this.observer, {
        sweepFinished: () => world.sweepFinished(at),
        paused: (paused: boolean) => {
          this.observer.pauses.push(paused)
          if (paused && this.depth >= LIMITS.maxEvents) world.reached.note('paused because the outbox is full')
        },
      }),
      mode: world.order === 'sweep' ? { order: 'sweep' } : { order: 'random', interval: 1000 },
      limits: LIMITS,
      clock: { wait: (ms, signal) => this.#wait(ms, signal), now: () => world.time, random: () => world.random() },
      crashPoint: (point) => {
        if (at.dieAt !== point || this.dead) return
        at.dieAt = null
        world.reached.note(`killed at "${point}"`)
        this.kill()
        throw new ProcessDied()
      },
    })
    this.running = controller.run(this.#stop.signal).then(
      () => {
        this.ended = true
        world.reached.note('ended in order')
      },
      (error) => {
        this.ended = true
        // What is left running of a dead process finds its outbox gone; one that is told to end does not wait for a full disk.
        const told = this.#stop.signal.aborted && error instanceof OutboxError && error.kind === 'full'
        world.check(this.dead || told, `a process ended by an error: ${error}`)
      },
    )
  }

  override kill(): void {
    if (this.dead || this.ended) return
    if (this.#outstanding > 0) this.#world.reached.note('killed during a send')
    if (this.#obtained > this.observer.capturedIds.length) this.#world.reached.note('killed with captures that were not stored')
    super.kill()
    this.#outbox.close()
  }

  stop(): void {
    this.#stop.abort()
  }

  /** Resolves when its work is done: its sweep; or, of captures at random, whatever was waiting. False: it died before. */
  async finishes(): Promise<boolean> {
    const done = this.#world.order === 'sweep' ? this.running : this.#empty.promise
    await Promise.race([done, this.death])
    if (this.dead) return false
    this.stop()
    await Promise.race([this.running, this.death])
    return !this.dead
  }

  // The outbox: what it does takes no time, so that the process can die before it and after it.

  /** Events in the outbox, for the world to look at. */
  get waiting(): number {
    return this.ended ? 0 : this.#outbox.depth
  }

  get depth(): number {
    return this.#alive.depth
  }

  get captured(): number {
    return this.#alive.captured
  }

  commit(change: OutboxChange): void {
    const outbox = this.#alive
    this.#world.write()
    outbox.commit(change)
    this.#world.stored(this.#home, change)
    this.#world.check(outbox.depth <= LIMITS.maxEvents, `the outbox holds ${outbox.depth} events, its bound is ${LIMITS.maxEvents}`)
    if (outbox.depth === 0) this.#empty.resolve()
  }

  oldest(limit: number): OutboxEvent[] {
    return this.#alive.oldest(limit)
  }

  assignPartitions(partitions: ReadonlyMap<number, number>): void {
    this.#world.write()
    this.#alive.assignPartitions(partitions)
  }

  sweep() {
    return this.#alive.sweep()
  }

  close(): void {
    this.#outbox.close()
  }

  get #alive(): SqliteOutbox {
    if (this.dead) throw new ProcessDied()
    return this.#outbox
  }

  #api(): PokeApi {
    const world = this.#world
    return {
      list: () =>
        this.call('list', () => {
          if (world.api.next() === 'fails' || (world.finishing && world.order === 'random')) throw apiIsDown()
          return IDS
        }),
      capture: (id) =>
        this.call('capture', () => {
          if (world.api.next() === 'fails' || (world.finishing && world.order === 'random')) throw apiIsDown()
          if (id === MISSING) return null
          this.#obtained++
          return world.newCapture(id)
        }),
      confirm: () =>
        this.call('confirm', () => {
          // What fails here is the whole API.
          throw apiIsDown()
        }),
    }
  }

  #publisher(): EventPublisher {
    const self = this
    return {
      get partitionOf() {
        return self.#partitions === 0 ? null : partitionerFor(self.#partitions)
      },
      prepare: () =>
        this.call('prepare', () => {
          if (this.#world.away) throw publishFailed()
          this.#partitions = this.#world.logs.length
        }),
      publish: (events) => this.#publish(events),
      close: () => this.point('publisher closed'),
    }
  }

  async #publish(events: readonly OutboxEvent[]): Promise<void> {
    const world = this.#world
    world.check(++this.#outstanding === 1, `${this.#outstanding} sends are outstanding at once`)
    const fault = world.sends.next()
    try {
      // On its way a send does not ask whether its sender lives.
      await this.scheduler.schedule(Promise.resolve(), 'send on its way')
      const failed = world.deliver(events, fault)
      this.#partitions = world.away ? this.#partitions : world.logs.length
      await this.point('send answered')
      if (failed !== null) throw failed
    } finally {
      this.#outstanding--
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const until = this.#world.time + ms
    const aborted = this.aborted(signal)
    const passed = this.point(`waited ${ms} ms`).then(() => {
      if (!signal.aborted) this.#world.time = Math.max(this.#world.time, until)
    })
    await Promise.race([aborted, passed])
  }
}

class World {
  readonly scheduler: fc.Scheduler
  readonly order: Order
  readonly api: Faults<ApiFault>
  readonly disk: Faults<DiskFault>
  readonly sends: Faults<SendFault>
  /** The topic: what each partition holds, as the consumers will read it. */
  readonly logs: OutboxEvent[][] = Array.from({ length: FIRST_PARTITIONS }, () => [])
  away: boolean
  finishing = false
  time = 0
  readonly #dir: string
  readonly #homes: Home[] = []
  readonly #late: Promise<void>[] = []
  /** Every capture that was stored, by its name: where, and of which Pokémon. */
  readonly #stored = new Map<string, { readonly home: Home; readonly id: number }>()
  /** Captures that were thrown away with an outbox for which an older copy was put in place. */
  readonly #thrownAway = new Set<string>()
  /**
   * Captures of which two outboxes choose the partition, because one is a copy that was made before it was chosen. A limit, if partitions are
   * added in between: they may be chosen differently, and nobody can recognise the event in the other partition.
   */
  readonly #chosenTwice = new Set<string>()
  #captures = 0
  #copies = 0
  #draws = 0
  #broken: Error | null = null

  readonly reached: Reached

  constructor(scheduler: fc.Scheduler, { order, away, api, disk, sends }: Plan, dir: string, reached: Reached) {
    this.reached = reached
    this.scheduler = scheduler
    this.order = order
    this.away = away
    this.api = new Faults(api)
    this.disk = new Faults(disk)
    this.sends = new Faults(sends)
    this.#dir = dir
    this.#homes.push(this.#newHome(true))
  }

  /** Notes what must never happen. */
  check(holds: boolean, message: string): void {
    if (!holds) this.#broken ??= new assert.AssertionError({ message })
  }

  /** A write to a disk that may be full. */
  write(): void {
    if (this.disk.next() !== 'full') return
    this.reached.note('disk full')
    throw new OutboxError('full', 'the disk is full')
  }

  random(): number {
    return (++this.#draws * 0.6180339887498949) % 1
  }

  /** Each capture is told from all others by its name. */
  newCapture(id: number): Capture {
    const made = capture(id)
    return { ...made, pokemon: { ...made.pokemon, name: `capture-${++this.#captures}` } }
  }

  stored(at: Home, { captures, sweep }: OutboxChange): void {
    for (const { pokemon } of captures) this.#stored.set(pokemon.name, { home: at, id: pokemon.id })
    if (sweep === null) at.sweepsFinished++
  }

  sweepFinished(at: Home): void {
    this.reached.note('sweep finished')
    const counted = new Set(this.#counted())
    for (const [name, { home }] of this.#stored)
      this.check(
        home !== at || this.#thrownAway.has(name) || counted.has(name),
        `the sweep was said to be finished, and ${name} is not in the topic`,
      )
  }

  /** @returns what the sender hears; null: acknowledged */
  deliver(events: readonly OutboxEvent[], fault: SendFault | 'none'): Error | null {
    if (this.away) this.reached.note('Kafka away')
    if (this.away || fault === 'never arrives') return publishFailed()
    if (fault === 'too large') return publishFailed('too-large')
    const first = events[0]?.partition
    const part = fault.startsWith('in part')
      ? events.filter(({ partition }) => partition === first)
      : fault === 'arrives late'
        ? []
        : events
    for (const event of part) this.#append(event)
    if (fault.endsWith('late')) {
      const rest = events.filter((event) => !part.includes(event))
      this.#late.push(this.#deliverLate(rest))
    }
    return fault === 'none' ? null : publishFailed(fault === 'in part, then fails' ? 'not-enough-brokers' : 'deadline')
  }

  async #deliverLate(events: readonly OutboxEvent[]): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), 'late arrival')
    if (events.length > 0) this.reached.note('late arrival')
    for (const event of events) this.#append(event)
  }

  play(next: Step): void {
    if (next.kind === 'Kafka away') this.away = true
    else if (next.kind === 'Kafka back') this.away = false
    else if (next.kind === 'partition added') {
      if (this.logs.length === MOST_PARTITIONS) return
      if (this.#homes.some(({ process }) => process !== null && !process.dead && process.waiting > 0))
        this.reached.note('partition added while events wait')
      this.logs.push([])
    } else if ('home' in next) this.#playAt(this.#homes[next.home % this.#homes.length] as Home, next)
  }

  #playAt(at: Home, next: Exclude<Step, { kind: 'Kafka away' | 'Kafka back' | 'partition added' | 'nothing' }>): void {
    const living = at.process !== null && !at.process.dead && !at.process.ended ? at.process : null
    if (next.kind === 'start') at.process = living ?? new Producer(this, at)
    else if (next.kind === 'copy') this.#copy(at)
    else if (next.kind === 'restore') this.#restore(at)
    else if (next.kind === 'clone') this.#clone(at)
    else if (next.kind === 'die at') at.dieAt = next.point
    else if (next.kind === 'kill') living?.kill()
    else if (next.kind === 'stop') living?.stop()
  }

  #newHome(original: boolean): Home {
    return { dir: join(this.#dir, `home-${this.#homes.length}`), process: null, dieAt: null, copy: null, original, sweepsFinished: 0 }
  }

  #copy(at: Home): void {
    if (at.process === null) return
    const dir = join(this.#dir, `copy-${this.#copies++}`)
    cpSync(at.dir, dir, { recursive: true })
    at.copy = { dir, events: eventsIn(dir) }
  }

  /** An older copy takes the place of the data directory: what was stored since and not sent is gone, as its operator knows. */
  #restore(at: Home): void {
    if (at.copy === null) return
    this.reached.note('restored')
    at.process?.kill()
    const kept = new Set(at.copy.events.map(nameOf))
    for (const event of eventsIn(at.dir)) if (!kept.has(nameOf(event))) this.#throwAway(event)
    this.#choosesAgain(at.copy.events)
    rmSync(at.dir, { recursive: true })
    cpSync(at.copy.dir, at.dir, { recursive: true })
    at.original = false
  }

  /** A second producer on a copy of the data directory. */
  #clone(at: Home): void {
    if (at.process === null || this.#homes.length === MOST_HOMES) return
    this.reached.note('cloned')
    const twin = this.#newHome(false)
    cpSync(at.dir, twin.dir, { recursive: true })
    this.#choosesAgain(eventsIn(twin.dir))
    this.#homes.push(twin)
    twin.process = new Producer(this, twin)
  }

  #throwAway(event: OutboxEvent): void {
    this.reached.note('captures thrown away by restoring')
    this.#thrownAway.add(nameOf(event))
  }

  #choosesAgain(events: readonly OutboxEvent[]): void {
    for (const event of events) {
      if (event.partition !== null) continue
      this.reached.note('partition chosen twice')
      this.#chosenTwice.add(nameOf(event))
    }
  }

  #mayMove(name: string): boolean {
    return this.#chosenTwice.has(name) && this.logs.length > FIRST_PARTITIONS
  }

  #append(event: OutboxEvent): void {
    this.check(event.partition !== null, `event ${event.sequence} was sent before its partition was chosen`)
    this.logs[event.partition as number]?.push(event)
  }

  /** No more faults: everything dies, and each home's next process, or the one after it, brings its work to the end. */
  async finish(): Promise<void> {
    this.finishing = true
    this.away = false
    for (const faults of [this.api, this.disk, this.sends]) faults.end()
    for (const each of this.#homes) each.process?.kill()
    for (const each of this.#homes) {
      do each.process = new Producer(this, each)
      while (!(await each.process.finishes()))
      const paused = each.process.observer.pauses.at(-1) === true
      this.check(!paused || this.order === 'random', 'capturing paused, and never went on')
    }
    await Promise.all(this.#late)
  }

  /** The names that a consumer counts, by rule C2. */
  #counted(): string[] {
    return this.logs.flatMap((log) => {
      const last = new Map<string, number>()
      return log.filter((event) => isNew(event, last)).map(nameOf)
    })
  }

  assertNothingBroke(): void {
    if (this.#broken !== null) throw this.#broken
  }

  /** Promise 2. */
  assertEachCaptureCountedOnce(): void {
    const times = new Map<string, number>()
    for (const name of this.#counted()) times.set(name, (times.get(name) ?? 0) + 1)
    for (const name of times.keys()) assert.ok(this.#stored.has(name), `${name} was counted, and never stored`)
    for (const name of this.#stored.keys()) {
      const counted = times.get(name) ?? 0
      if (counted === 0 && this.#thrownAway.has(name)) continue
      if (this.#mayMove(name)) continue
      assert.equal(counted, 1, `${name} was counted ${counted} times`)
    }
  }

  /** Rule P1: whatever is taken for a duplicate is one, to the byte. */
  assertNoNewCaptureTakenForADuplicate(): void {
    for (const log of this.logs) {
      const last = new Map<string, number>()
      const values = new Map<string, string>()
      for (const event of log) {
        const identity = `${event.source} ${event.sequence}`
        const value = event.value.toString()
        if (!isNew(event, last) && !this.#mayMove(nameOf(event))) {
          this.reached.note('duplicate')
          assert.equal(values.get(identity), value, `${nameOf(event)} is dropped as a duplicate of another capture`)
        }
        values.set(identity, value)
      }
    }
  }

  /** Rule P4: of each source, what arrives for the first time in a partition arrives in the order of its sequence. */
  assertFirstArrivalsInOrder(): void {
    for (const [partition, log] of this.logs.entries()) {
      const arrived = new Map<string, number[]>()
      for (const event of log) {
        if (this.#mayMove(nameOf(event))) continue
        const { source, sequence } = event
        const sequences = arrived.get(source) ?? []
        if (!sequences.includes(sequence)) arrived.set(source, [...sequences, sequence])
      }
      for (const [source, sequences] of arrived)
        assert.deepEqual(
          sequences,
          sequences.toSorted((a, b) => a - b),
          `first arrivals of ${source} in partition ${partition}`,
        )
    }
  }

  /** Rule P3. */
  assertPartitionsStay(): void {
    const chosen = new Map<string, number>()
    for (const [partition, log] of this.logs.entries()) {
      for (const event of log) {
        const name = nameOf(event)
        if (!this.#chosenTwice.has(name)) assert.equal(chosen.get(name) ?? partition, partition, `${name} was sent to two partitions`)
        chosen.set(name, partition)
      }
    }
  }

  assertSweepsCaptureEachOnce(): void {
    if (this.order !== 'sweep') return
    for (const each of this.#homes) {
      if (!each.original) continue
      const captured = [...this.#stored.values()].filter(({ home }) => home === each).map(({ id }) => id)
      const expected = IDS.filter((id) => id !== MISSING).flatMap((id) => Array.from({ length: each.sweepsFinished }, () => id))
      assert.deepEqual(
        captured.sort((a, b) => a - b),
        expected,
        `captures of ${each.sweepsFinished} sweeps`,
      )
    }
  }
}

function nameOf(event: OutboxEvent): string {
  return (JSON.parse(event.value.toString()) as { name: string }).name
}

function isNew({ source, sequence }: OutboxEvent, last: Map<string, number>): boolean {
  if (sequence <= (last.get(source) ?? 0)) return false
  last.set(source, sequence)
  return true
}

/** What waits in an outbox that nobody has open. */
function eventsIn(dir: string): OutboxEvent[] {
  const outbox = new SqliteOutbox({ dir })
  try {
    return outbox.oldest(Number.MAX_SAFE_INTEGER)
  } finally {
    outbox.close()
  }
}

describe('interleavings', () => {
  const folder = scheduleFolder('producer-interleavings')
  after(() => rmSync(folder, { recursive: true }))
  let schedules = 0
  const reached = new Reached(...EVENTS)

  test(`${SCHEDULES} schedules (seed ${SCHEDULES_SEED}) end with every capture counted exactly once`, async (t) => {
    await assertEverySchedule(
      fc.asyncProperty(schedulerWithTurns(), plan, async (scheduler, drawn) => {
        const dir = join(folder, String(schedules++))
        const world = new World(scheduler, drawn, dir, reached)
        world.play({ kind: 'start', home: 0 })
        if (drawn.dieAt !== null) world.play({ kind: 'die at', home: 0, point: drawn.dieAt })
        await playOut(scheduler, drawn.steps, world)
        world.assertEachCaptureCountedOnce()
        world.assertNoNewCaptureTakenForADuplicate()
        world.assertFirstArrivalsInOrder()
        world.assertPartitionsStay()
        world.assertSweepsCaptureEachOnce()
        rmSync(dir, { recursive: true })
      }),
    )
    t.diagnostic(`reached: ${reached}`)
    reached.assertAll()
    assert.ok(schedules >= SCHEDULES)
  })
})
