/**
 * One partition that was handed to this member: opened where its store says, asked for, counted, and opened again after any trouble.
 * What was asked for under an earlier opening is void (rule S2). Losses are told to the reader, which decides (rules F1, F5, S6).
 */

import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import type { Cluster, Leader } from './brokers/cluster.ts'
import type { FetchedPartition, FetchQuestion, FetchResponse } from './brokers/fetch-response.ts'
import { CODE, refusedBy } from './brokers/kafka-failure.ts'
import { KafkaError } from './errors.ts'
import type { DataLoss, FetchHandler, PartitionReader, ReadOutcome, TopicPartition } from './ports.ts'
import { endOfBatches } from './records/batch-format.ts'
import type { BatchCursor } from './records/record-batch.ts'

export interface FeedContext {
  readonly cluster: Pick<Cluster, 'ends'>
  readonly brokers: readonly string[]
  readonly handler: FetchHandler
  readonly failures: FailureTracker
  readonly newCursor: () => BatchCursor
  readonly leaderOf: (partition: number) => Leader
  /** Whether the topic is compacted (rule S6). */
  readonly isCompacted: () => boolean
  /** Resolves when the group has lately confirmed that this member is one. */
  readonly confirmed: () => Promise<void>
  /** There is something to ask for that was not there before. */
  readonly ready: () => void
  /** Somebody else seems to lead, or the topic is not as it was. */
  readonly doubt: () => void
  /** It is hopeless. */
  readonly failed: (error: unknown) => void
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** What a leader is asked for this partition. */
export interface Question extends FetchQuestion {
  readonly feed: PartitionFetcher
  readonly session: object
}

type State = 'opening' | 'reading' | 'resting' | 'left-alone' | 'closed'

const FIRST_RETRY = 50
const LONGEST_RETRY = 5000
/** A leader that is behind for a moment says so a few times at most. */
const MOST_CONTRADICTIONS = 4

export class PartitionFetcher {
  readonly at: TopicPartition
  readonly #context: FeedContext
  readonly #cursor: BatchCursor
  readonly #openings: BackOff
  readonly #refusals: BackOff
  #state: State = 'opening'
  #reader: PartitionReader | null = null
  /** Another one after each opening, and at the end. */
  #session: object = {}
  /** Everything that is done with the reader, one thing after the other. */
  #work: Promise<void> = Promise.resolve()
  /** Ends what an opening waits for. */
  readonly #closing = new AbortController()
  /** Resolves when no opening is under way. */
  #opening: Promise<void> = Promise.resolve()
  #leader = -1
  /** What it is being asked for. */
  #asked: Question | null = null
  // What to ask for next.
  #offset = -1
  #lastEpoch = -1
  /** Where reading began at this opening. */
  #stoodAt = -1
  /** What the reader was told last of the log's ends, by an empty response, so that it need not be told the same again. */
  #told: FetchedPartition | null = null
  /** Where the broker itself found its log damaged. */
  #damagedAt = -1
  /** How often in a row the log had the offset after all that it was said not to have. */
  #contradictions = 0

  constructor(at: TopicPartition, context: FeedContext) {
    this.at = at
    this.#context = context
    this.#cursor = context.newCursor()
    const times = { first: FIRST_RETRY, longest: LONGEST_RETRY, clock: context.clock }
    this.#openings = new BackOff(times)
    this.#refusals = new BackOff(times)
  }

  /** What the store has, or where reading begins where nothing was read yet; null before it is opened. */
  get position(): { readonly offset: number; readonly leaderEpoch: number } | null {
    const position = this.#reader?.position
    if (position === undefined) return null
    if (position.offset !== 'log-start') return { offset: position.offset, leaderEpoch: position.leaderEpoch }
    return this.#stoodAt < 0 ? null : { offset: this.#stoodAt, leaderEpoch: -1 }
  }

  /** Where the store stood at this opening; null before. */
  get openedAt(): number | null {
    return this.#stoodAt < 0 ? null : this.#stoodAt
  }

  /** Begins to read, once this was closed where it was read before. */
  start(closed: Promise<void>): void {
    this.#work = closed
    this.#enqueue(() => this.#open())
  }

  /** Another broker leads: an answer of the one before is not waited for. */
  ledBy(node: number): void {
    if (this.#leader !== node) this.#asked = null
    this.#leader = node
  }

  /** What to ask the leader for; null: nothing now. */
  ask(): Question | null {
    if (this.#state !== 'reading' || this.#asked !== null) return null
    this.#asked = {
      feed: this,
      session: this.#session,
      partition: this.at.partition,
      currentLeaderEpoch: this.#context.leaderOf(this.at.partition).leaderEpoch,
      offset: this.#offset,
      lastEpoch: this.#lastEpoch,
    }
    return this.#asked
  }

  /** The answer to a question will not come. */
  forget(question: Question): void {
    if (this.#asked === question) this.#asked = null
  }

  /**
   * The answer came: what to ask for next is known by the heads of the batches, before the records are looked at.
   * @returns counts the records; resolves when their bytes are not needed any more
   */
  answered(question: Question, part: FetchedPartition, response: FetchResponse): () => Promise<void> {
    if (this.#asked !== question) return async () => {}
    this.#asked = null
    if (part.errorCode !== CODE.none) return this.#refused(part.errorCode, question)
    this.#refusals.reset()
    this.#contradictions = 0
    this.#context.failures.worked(this.#name)
    const { offset } = question
    if (part.diverging !== null)
      return this.#later(() => this.#lose(divergence(part.diverging as NonNullable<typeof part.diverging>, offset)))
    if (part.preferredReadReplica >= 0) {
      const message = `Kafka names replica ${part.preferredReadReplica} to read partition ${part.partition} from, unasked; it is tried again`
      return this.#rest(new KafkaError('bad-response', message))
    }
    const end = endOfBatches(response.view, part.recordsStart, part.recordsEnd, offset, question.lastEpoch)
    const empty = part.recordsEnd === part.recordsStart
    if (empty && this.#isTold(part) && this.#reader?.outdated !== true) return async () => {}
    // After records an empty response is told all the same: the reader learns only then that their commit came to nothing.
    this.#told = empty ? part : null
    this.#offset = end.offset
    this.#lastEpoch = end.leaderEpoch
    // Nothing whole at the beginning: the cursor will say what is wrong, and it is of no use to ask for the same meanwhile.
    if (!empty && end.offset === offset) this.#state = 'resting'
    return this.#later(() => this.#count(offset, part, response))
  }

  /** Compaction was switched on. */
  refuseCompacted(): void {
    if (this.#state === 'reading' || this.#state === 'resting') void this.#later(() => this.#lose(compacted(this.at)))()
  }

  /** It was taken away, or all ends. Resolves when what was being committed is. */
  async close(): Promise<void> {
    this.#state = 'closed'
    this.#closing.abort()
    this.#session = {}
    this.#asked = null
    this.#context.failures.worked(this.#name)
    // What opens late is closed before the partition is opened here again.
    await this.#opening
    await this.#reader?.close()
  }

  get #name(): string {
    return `partition ${this.at.partition}`
  }

  async #open(): Promise<void> {
    const { handler, confirmed, isCompacted } = this.#context
    // A member that was frozen for long asks the group first, lest it take the partition from whoever has it by now (rule M2).
    await confirmed()
    if (this.#isClosed()) return
    const opening = this.#openReader(handler)
    this.#opening = opening.then(ignore, ignore)
    const reader = await opening
    if (reader === null) return
    this.#reader = reader
    if (this.#isClosed()) return await reader.close()
    this.#told = null
    if (reader.stopped) this.#state = 'left-alone'
    else if (isCompacted()) await this.#lose(compacted(this.at))
    // One that was never read is asked for from the first offset there is: most logs begin there, and the others say that they do not.
    else this.#standAt(reader.position.offset === 'log-start' ? 0 : reader.position.offset, reader.position.leaderEpoch)
  }

  /** @returns null where it was closed meanwhile */
  async #openReader(handler: FetchHandler): Promise<PartitionReader | null> {
    const reader = await handler.open(this.at, this.#closing.signal)
    if (!this.#isClosed()) return reader
    await reader.close()
    return null
  }

  #standAt(offset: number, leaderEpoch: number): void {
    this.#offset = offset
    this.#stoodAt = offset
    this.#lastEpoch = leaderEpoch
    this.#state = 'reading'
    this.#context.ready()
  }

  async #count(fetchOffset: number, part: FetchedPartition, response: FetchResponse): Promise<void> {
    const { recordsStart, recordsEnd, recordsMissing, highWatermark, lastStableOffset, aborted } = part
    const session = this.#session
    const cursor = this.#cursor.reset(response.bytes, recordsStart, recordsEnd, fetchOffset, aborted, recordsMissing)
    const bytes = recordsEnd - recordsStart
    const reader = this.#reader as PartitionReader
    const outcome = await reader.count({ fetchOffset, cursor, bytes, highWatermark, lastStableOffset })
    if (this.#session !== session) return
    const { position } = reader
    // Committed already: it is not for a trouble that it is opened again.
    if (position.offset !== 'log-start' && position.offset > fetchOffset) this.#openings.reset()
    if (outcome !== 'next') this.#leave(outcome)
    else if (cursor.nextOffset > fetchOffset) this.#openings.reset()
    else if (bytes > 0) await this.#restAndGoOn()
  }

  async #lose(loss: DataLoss): Promise<void> {
    const session = this.#session
    const outcome = await (this.#reader as PartitionReader).lost(loss)
    // Whatever was decided, the position is the store's: what is still lost there is found again, more slowly.
    if (this.#session === session) this.#leave(outcome === 'stop' ? 'stop' : 'reopen')
  }

  /** This reader is done with. */
  #leave(outcome: Exclude<ReadOutcome, 'next'>): void {
    this.#session = {}
    this.#asked = null
    this.#state = outcome === 'stop' ? 'left-alone' : 'opening'
    if (outcome === 'stop') return
    this.#enqueue(async () => {
      await this.#pause(this.#openings)
      if (!this.#isClosed()) await this.#open()
    })
  }

  #refused(code: number, question: Question): () => Promise<void> {
    const { offset } = question
    if (code === CODE.offsetOutOfRange) {
      this.#state = 'resting'
      return this.#later(() => this.#outOfRange(question))
    }
    const error = refusedBy(code, { brokers: this.#context.brokers, topic: this.at.topic })
    if (!error.retriable) this.#context.failed(error)
    if (code === CODE.corruptMessage && this.#damagedAt === offset) {
      const message = `the broker says that its log is damaged at offset ${offset}, twice`
      return this.#later(() => this.#lose({ kind: 'corrupt', message, from: offset, to: null }))
    }
    if (code === CODE.corruptMessage) this.#damagedAt = offset
    else this.#context.doubt()
    return this.#rest(error)
  }

  /** The log does not have the offset, or not as we know it. What was asked for before it is counted by now. */
  async #outOfRange({ offset, lastEpoch }: Question): Promise<void> {
    const ends = await this.#ends()
    if (ends === null || this.#isClosed()) return
    const { start, end } = ends
    const reader = this.#reader as PartitionReader
    // It was never read, and begins wherever its log does by now: no loss. Unless something was, and its commit is still under way.
    if (reader.position.offset === 'log-start' && offset === this.#stoodAt && start !== offset) this.#standAt(start, -1)
    else if (offset < start) await this.#lose(retention(offset, start))
    else if (offset > end) await this.#lose(truncation(offset, end))
    else if (lastEpoch >= 0 && ++this.#contradictions > MOST_CONTRADICTIONS) await this.#lose(unknownEpoch(offset, lastEpoch))
    else await this.#restAndGoOn()
  }

  /** Both ends of the log, asked for until they are known; null where the partition was closed meanwhile. */
  async #ends(): Promise<{ readonly start: number; readonly end: number } | null> {
    const { cluster, leaderOf, failures, doubt, clock, signal } = this.#context
    const retry = new BackOff({ first: FIRST_RETRY, longest: LONGEST_RETRY, clock })
    while (!this.#isClosed() && !signal.aborted) {
      const leader = leaderOf(this.at.partition)
      try {
        const ends = leader.node < 0 ? null : await cluster.ends(this.at.partition, leader)
        if (ends !== null) {
          failures.worked(this.#name)
          return ends
        }
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) throw error
        if (!this.#isClosed()) failures.failed(this.#name, error)
      }
      doubt()
      await this.#pause(retry)
    }
    return null
  }

  /** Waits before the same is asked for again. */
  #rest(error: KafkaError): () => Promise<void> {
    this.#context.failures.failed(this.#name, error)
    this.#state = 'resting'
    return this.#later(() => this.#restAndGoOn())
  }

  async #restAndGoOn(): Promise<void> {
    const session = this.#session
    await this.#pause(this.#refusals)
    if (this.#session !== session) return
    this.#state = 'reading'
    this.#context.ready()
  }

  /** @returns begins something in its turn, which is left out where the partition was opened anew before */
  #later(work: () => Promise<void>): () => Promise<void> {
    const session = this.#session
    return () => this.#enqueue(async () => (this.#session === session ? await work() : undefined))
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error) => {
      if (!this.#isClosed()) this.#context.failed(error)
    })
    return this.#work
  }

  async #pause(backOff: BackOff): Promise<void> {
    await this.#context.clock.wait(backOff.next(), this.#context.signal)
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #isTold({ highWatermark, lastStableOffset, logStartOffset }: FetchedPartition): boolean {
    const told = this.#told
    return (
      told !== null &&
      told.highWatermark === highWatermark &&
      told.lastStableOffset === lastStableOffset &&
      told.logStartOffset === logStartOffset
    )
  }
}

const ignore = () => {}

function compacted({ topic }: TopicPartition): DataLoss {
  return {
    kind: 'compacted',
    message: `topic ${topic} is compacted: it forgets records that have a newer one of the same key, and counts of it would mean nothing. Set its cleanup.policy to delete; what was removed by then cannot come back, and is told of as missing: count a new topic to which the records are sent again, or accept the gaps with ON_DATA_LOSS=continue`,
    from: null,
    to: null,
  }
}

function divergence({ leaderEpoch, endOffset }: NonNullable<FetchedPartition['diverging']>, position: number): DataLoss {
  const from = Math.min(endOffset, position)
  return {
    kind: 'truncated',
    message: `the log was cut below the position ${position}, and may have been refilled: the ${position - from} offsets from ${from} on that were counted are not what is there now (the last leader epoch in common is ${leaderEpoch})`,
    from,
    to: from,
  }
}

function retention(position: number, start: number): DataLoss {
  return {
    kind: 'retention',
    message: `retention removed ${start - position} offsets before they were read: from ${position} to ${start - 1}`,
    from: position,
    to: start,
  }
}

function truncation(position: number, end: number): DataLoss {
  return {
    kind: 'truncated',
    message: `the log ends at offset ${end}, below the position ${position}: ${position - end} offsets that were counted are gone`,
    from: end,
    to: end,
  }
}

/** KIP-320: brokers answer so where the epoch is higher than any of theirs. */
function unknownEpoch(position: number, epoch: number): DataLoss {
  return {
    kind: 'truncated',
    message: `the log is another one: what was counted below the position ${position} was written under leader epoch ${epoch}, which the broker has never heard of`,
    from: null,
    to: null,
  }
}
