/**
 * Commits what a partition's reader has counted: one commit at a time, in order (rule S2), and several responses as one where counting is ahead.
 *
 * A commit costs a database about as much for four responses as for one, and some take long because its disk does. So while there is more to count,
 * commits begin an interval apart, or with four responses, and counting goes on meanwhile. What reaches the end of the log is committed at once.
 */

import type { FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { FailureTracker } from '@poke-api-pipeline/service-kit'
import type { TallyDelta } from '../entities/tally.ts'
import type { CrashHook } from './crash-points.ts'
import { newestOf } from './newest-event.ts'
import type { CountedResponse, CountObserver, PartitionState, TallyStore } from './ports.ts'

/** What was counted and is not committed: one response, or several that followed each other. */
export interface Uncommitted {
  /** The offset that the first of them was asked for. */
  readonly firstOffset: number
  /** The position after the last of them. */
  readonly to: { readonly offset: number; readonly leaderEpoch: number }
  readonly delta: TallyDelta
  /** What each of them came to, oldest first; at least one. */
  readonly responses: readonly CountedResponse[]
}

export interface CommitContext {
  readonly store: TallyStore
  readonly storeFailures: FailureTracker
  readonly observer: CountObserver
  readonly crashPoint: CrashHook
  /** Told of each commit: whether everything known of was counted, and how many dead letters it kept. */
  readonly onCommitted: (caughtUp: boolean, deadLetters: number) => void
  /** Resolves after that many ms, or as soon as the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
}

/** From the beginning of one commit to that of the next while there is more to count, and fewer responses wait than may, in ms. */
const INTERVAL = 25
/** So many responses wait at most. With one commit under way for as many, and a response in hand, nine are counted in vain when it fails. */
const MOST_WAITING = 4

export class PartitionCommits {
  readonly #partition: TopicPartition
  readonly #context: CommitContext
  readonly #token: number
  #position: FetchPosition
  #waiting: Uncommitted | null = null
  /** Resolves when what waits now does not wait any more. */
  #left: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Resolves when nothing waits any more, and no commit is under way. */
  #running: Promise<void> = Promise.resolve()
  #isResting = true
  #isBroken = false
  #beganAt = Number.NEGATIVE_INFINITY
  /** Somebody waits for what waits. */
  #isHurried = false
  #hurry = new AbortController()

  constructor(partition: TopicPartition, { position, token }: Pick<PartitionState, 'position' | 'token'>, context: CommitContext) {
    this.#partition = partition
    this.#position = position
    this.#token = token
    this.#context = context
  }

  /** What the store has, once the commit under way is through. */
  get position(): FetchPosition {
    return this.#position
  }

  /** Whether nothing waits and no commit is under way, so that the position is the store's. */
  get isResting(): boolean {
    return this.#isResting
  }

  /** Whether a commit came to nothing, and what waited for it with it. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  /** What the store may fail at; that it can be opened again does not mean that it takes commits. */
  get name(): string {
    return `commits of partition ${this.#partition.partition}`
  }

  /** Resolves when what was counted next may be added. Dead letters may be large: they wait for all before them, and nothing joins them. */
  async room({ delta }: Pick<Uncommitted, 'delta'>): Promise<void> {
    if (delta.deadLetters.length > 0) await this.settle()
    else if (this.#waiting !== null && isFull(this.#waiting)) await this.#left.promise
  }

  /** Takes what was counted next, after `room`, to commit it when its time has come. */
  add(counted: Uncommitted): void {
    this.#waiting = this.#waiting === null ? counted : together(this.#waiting, counted)
    if (this.#isResting) this.#running = this.#run()
    else if (isDue(this.#waiting)) this.#hurry.abort()
  }

  /** Commits all that was added as soon as can be. Resolves when that is done, or came to nothing. */
  async settle(): Promise<void> {
    if (this.#isResting) return
    this.#isHurried = true
    this.#hurry.abort()
    await this.#running
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { now, wait } = this.#context
    this.#isResting = false
    while (this.#waiting !== null) {
      const early = this.#beganAt + INTERVAL - now()
      if (early > 0 && !this.#isHurried && !isDue(this.#waiting)) {
        this.#hurry = new AbortController()
        await wait(early, this.#hurry.signal)
      }
      const counted = this.#waiting
      this.#leave()
      await this.#commit(counted)
      if (this.#isBroken) this.#leave()
    }
    this.#isResting = true
  }

  /** Nothing waits any more. */
  #leave(): void {
    this.#waiting = null
    this.#isHurried = false
    this.#left.resolve()
    this.#left = Promise.withResolvers()
  }

  /** Any outcome but "committed" is the end of these commits: the store is to be asked anew (rule S2). */
  async #commit({ firstOffset, to, delta, responses }: Uncommitted): Promise<void> {
    const { store, storeFailures, observer, crashPoint, now, onCommitted } = this.#context
    const caughtUp = hasCaughtUp(responses)
    const beganAt = now()
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
        observer.committed(this.#partition, (now() - beganAt) / 1000)
        for (const response of responses) observer.counted(this.#partition, response)
        onCommitted(caughtUp, delta.deadLetters.length)
        return
      }
      observer.fenced(this.#partition)
    } catch (error) {
      storeFailures.failed(this.name, error as Error)
    }
    this.#isBroken = true
  }
}

/** Both as one; `next` was counted after `first`, and neither has dead letters. */
function together(first: Uncommitted, next: Uncommitted): Uncommitted {
  const counts = new Map(first.delta.counts)
  for (const [type, count] of next.delta.counts) counts.set(type, (counts.get(type) ?? 0) + count)
  return {
    firstOffset: first.firstOffset,
    to: next.to,
    delta: {
      ...next.delta,
      counts,
      // Of the same source the later one holds: they only rise.
      lastSequences: new Map([...first.delta.lastSequences, ...next.delta.lastSequences]),
      counted: first.delta.counted + next.delta.counted,
      duplicates: first.delta.duplicates + next.delta.duplicates,
    },
    responses: [...first.responses, ...next.responses],
  }
}

/** Whether it is committed as soon as no commit is under way. */
function isDue(waiting: Uncommitted): boolean {
  return isFull(waiting) || hasCaughtUp(waiting.responses)
}

/** Whether nothing may join it any more. */
function isFull({ responses, delta }: Uncommitted): boolean {
  return responses.length >= MOST_WAITING || delta.deadLetters.length > 0
}

function hasCaughtUp(responses: readonly CountedResponse[]): boolean {
  const { position, lastStableOffset } = responses.at(-1) as CountedResponse
  return position >= lastStableOffset
}
