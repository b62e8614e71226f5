/**
 * Queues counted responses of one partition and commits them in order, one transaction at a time (rule S2).
 *
 *   idle ──enqueue──▶ waiting ──timer, full, end of the log, or flush──▶ committing ──committed──▶ waiting or idle
 *                                                                            └──fenced or failed──▶ broken (the partition must be opened again)
 *
 * While the reader is behind, up to four responses share a transaction, and transactions begin at least 25 ms apart: a database takes about as long
 * for four responses as for one. Responses are counted and enqueued while a transaction is under way. At the end of the log every response is
 * committed at once.
 */

import type { FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { type Clock, type FailureTracker, StateMachine } from '@poke-api-pipeline/service-kit'
import type { CountDelta } from '../entities/tally.ts'
import type { CrashHook } from './crash-points.ts'
import { newestOf } from './newest-event.ts'
import type { CountedResponse, CountObserver, PartitionState, TallyStore } from './ports.ts'

/** The content of one transaction: a counted response, or several that follow each other. */
export interface CountedBatch {
  /** The offset at which its first response begins. */
  readonly firstOffset: number
  /** The position after its last response. */
  readonly to: { readonly offset: number; readonly leaderEpoch: number }
  readonly delta: CountDelta
  /** Oldest first; at least one. */
  readonly responses: readonly CountedResponse[]
}

export interface CommitContext {
  readonly store: TallyStore
  readonly storeFailures: FailureTracker
  readonly observer: CountObserver
  readonly crashPoint: CrashHook
  /** Called after each commit: whether it reached the end of the log, and how many dead letters it stored. */
  readonly onCommitted: (caughtUp: boolean, deadLetters: number) => void
  readonly clock: Clock
}

/** Between the beginnings of two commits while there is more to count and the queue is not full, in ms. */
const INTERVAL = 25
/** Responses in the queue at most. With as many being committed and one being counted, a failed commit makes nine responses be counted again. */
const MAX_RESPONSES = 4

type State = 'idle' | 'waiting' | 'committing' | 'broken'

const TRANSITIONS: Readonly<Record<State, readonly State[]>> = {
  idle: ['waiting'],
  waiting: ['committing'],
  committing: ['waiting', 'idle', 'broken'],
  broken: [],
}

export class CommitQueue {
  readonly #partition: TopicPartition
  readonly #context: CommitContext
  readonly #token: number
  #position: FetchPosition
  readonly #states = new StateMachine<State>('a commit queue', TRANSITIONS, 'idle')
  #queued: CountedBatch | null = null
  /** Resolves when the queued batch has been handed to the store, or dropped because a commit failed. */
  #batchTaken = Promise.withResolvers<void>()
  /** Resolves when the queue is idle or broken. */
  #running: Promise<void> = Promise.resolve()
  /** When the last commit began. */
  #beganAt = Number.NEGATIVE_INFINITY
  /** A caller is waiting in `flush`: do not delay the next commit. */
  #flushRequested = false
  /** Ends the wait before the next commit. */
  #wake = new AbortController()

  constructor(partition: TopicPartition, { position, token }: Pick<PartitionState, 'position' | 'token'>, context: CommitContext) {
    this.#partition = partition
    this.#position = position
    this.#token = token
    this.#context = context
  }

  /** The position after the last successful commit. */
  get position(): FetchPosition {
    return this.#position
  }

  /** Whether nothing is queued or being committed, so that `position` is the store's position unless somebody else moved it. */
  get isIdle(): boolean {
    return this.#states.is('idle')
  }

  /** Whether a commit was fenced or failed. What was queued behind it was dropped; the partition must be opened again. */
  get isBroken(): boolean {
    return this.#states.is('broken')
  }

  /** Under this name its failures are tracked, apart from those of opening the partition: a store may open partitions and take no commits. */
  get name(): string {
    return `commits of partition ${this.#partition.partition}`
  }

  /**
   * Resolves when the queue can take another response, or is broken.
   * A response with dead letters can be large, so it is committed alone: it waits until the queue is empty.
   */
  async waitForCapacity({ delta }: Pick<CountedBatch, 'delta'>): Promise<void> {
    if (delta.deadLetters.length > 0) await this.flush()
    else if (this.#queued !== null && isFull(this.#queued)) await this.#batchTaken.promise
  }

  /** Adds a response. Call `waitForCapacity` first. A broken queue takes none. */
  enqueue(counted: CountedBatch): void {
    this.#queued = this.#queued === null ? counted : merge(this.#queued, counted)
    // A broken queue has no way to `waiting`: this throws.
    if (this.isIdle || this.isBroken) {
      this.#states.enter('waiting')
      this.#running = this.#run()
    } else if (isDue(this.#queued)) this.#wake.abort()
  }

  /** Commits everything in the queue without delay. Resolves when that has succeeded or failed; see `isBroken`. */
  async flush(): Promise<void> {
    if (this.isIdle || this.isBroken) return
    this.#flushRequested = true
    this.#wake.abort()
    await this.#running
  }

  /** Commits batch after batch until the queue is empty or broken. Never rejects. */
  async #run(): Promise<void> {
    const { clock } = this.#context
    while (this.#queued !== null) {
      const early = this.#beganAt + INTERVAL - clock.now()
      if (early > 0 && !this.#flushRequested && !isDue(this.#queued)) {
        this.#wake = new AbortController()
        await clock.wait(early, this.#wake.signal)
      }
      const batch = this.#queued
      this.#states.enter('committing')
      this.#clear()
      const isCommitted = await this.#commit(batch)
      if (!isCommitted) this.#clear()
      else this.#states.enter(this.#queued === null ? 'idle' : 'waiting')
    }
  }

  #clear(): void {
    this.#queued = null
    this.#flushRequested = false
    this.#batchTaken.resolve()
    this.#batchTaken = Promise.withResolvers()
  }

  /** @returns false where the commit was fenced or failed. Then the store alone knows the position, so the queue is broken. */
  async #commit({ firstOffset, to, delta, responses }: CountedBatch): Promise<boolean> {
    const { store, storeFailures, observer, crashPoint, clock, onCommitted } = this.#context
    const caughtUp = hasCaughtUp(responses)
    const beganAt = clock.now()
    this.#beganAt = beganAt
    try {
      const committing = store.commit({
        ...delta,
        partition: this.#partition,
        token: this.#token,
        from: this.#position,
        to,
        firstOffset,
        newest: newestOf(responses),
        caughtUp,
      })
      crashPoint('committing')
      const outcome = await committing
      storeFailures.worked(this.name)
      if (outcome === 'committed') {
        crashPoint('committed')
        this.#position = to
        observer.committed(this.#partition, (clock.now() - beganAt) / 1000)
        for (const response of responses) observer.counted(this.#partition, response)
        onCommitted(caughtUp, delta.deadLetters.length)
        return true
      }
      observer.fenced(this.#partition)
    } catch (error) {
      storeFailures.failed(this.name, error as Error)
    }
    this.#states.enter('broken')
    return false
  }
}

/** @returns both as one batch. `next` was counted after `first`, and neither has dead letters. */
function merge(first: CountedBatch, next: CountedBatch): CountedBatch {
  const counts = new Map(first.delta.counts)
  for (const [type, count] of next.delta.counts) counts.set(type, (counts.get(type) ?? 0) + count)
  return {
    firstOffset: first.firstOffset,
    to: next.to,
    delta: {
      ...next.delta,
      counts,
      // Last sequences only rise, so the later one of a source replaces the earlier one.
      lastSequences: new Map([...first.delta.lastSequences, ...next.delta.lastSequences]),
      counted: first.delta.counted + next.delta.counted,
      duplicates: first.delta.duplicates + next.delta.duplicates,
    },
    responses: [...first.responses, ...next.responses],
  }
}

/** Whether the batch is committed as soon as no other commit is under way. */
function isDue(batch: CountedBatch): boolean {
  return isFull(batch) || hasCaughtUp(batch.responses)
}

/** Whether no other response may be merged into the batch. */
function isFull({ responses, delta }: CountedBatch): boolean {
  return responses.length >= MAX_RESPONSES || delta.deadLetters.length > 0
}

/** Whether the last response reaches the end of the log. */
function hasCaughtUp(responses: readonly CountedResponse[]): boolean {
  const { position, lastStableOffset } = responses.at(-1) as CountedResponse
  return position >= lastStableOffset
}
