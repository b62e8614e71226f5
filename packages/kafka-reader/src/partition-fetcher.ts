import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { StateMachine } from '@poke-api-pipeline/service-kit/state-machine'
import type { Cluster, Leader, LogEnds } from './brokers/cluster.ts'
import type { FetchedPartition, FetchResponse, RequestedPartition } from './brokers/fetch-response.ts'
import { CODE, refusedBy } from './brokers/kafka-failure.ts'
import { compacted, damagedLog, divergence, retention, truncation, unknownEpoch } from './data-loss.ts'
import { KafkaError } from './errors.ts'
import type { DataLoss, PartitionHandler, PartitionSession, ReadOutcome, TopicPartition } from './ports.ts'
import { endOfBatches } from './records/batch-format.ts'
import type { BatchCursor } from './records/record-batch.ts'

export interface FetchContext {
  readonly cluster: Pick<Cluster, 'ends'>
  readonly brokers: readonly string[]
  readonly handler: PartitionHandler
  readonly failures: FailureTracker
  readonly newCursor: () => BatchCursor
  readonly leaderOf: (partition: number) => Leader
  /** Whether the topic is compacted (rule S6). */
  readonly isCompacted: () => boolean
  /** Resolves when the group has lately confirmed that this instance is a member. */
  readonly confirmed: () => Promise<void>
  /** Called when a partition can be requested that could not be before. */
  readonly onRequestable: () => void
  /** Asks for new metadata: the leader or the topic may have changed. */
  readonly requestRefresh: () => void
  /** Called with an error after which reading cannot go on. */
  readonly onFatal: (error: unknown) => void
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** One partition of a Fetch request, and who asked for it. */
export interface FetchRequest extends RequestedPartition {
  readonly fetcher: PartitionFetcher
}

export type FetchState = 'opening' | 'fetching' | 'holding' | 'backing-off' | 'stopped' | 'closed'

/** As drawn in the comment of `PartitionFetcher`. */
export const FETCH_TRANSITIONS: Readonly<Record<FetchState, readonly FetchState[]>> = {
  opening: ['opening', 'fetching', 'stopped', 'closed'],
  fetching: ['holding', 'backing-off', 'opening', 'stopped', 'closed'],
  holding: ['fetching', 'backing-off', 'opening', 'stopped', 'closed'],
  'backing-off': ['fetching', 'opening', 'stopped', 'closed'],
  stopped: ['closed'],
  closed: [],
}

const FIRST_RETRY = 50
const LONGEST_RETRY = 5000
/** A new leader may refuse a valid offset for a moment. If it does so more often than this in a row, the log is not the one that was read: data loss. */
const MOST_CONTRADICTIONS = 4

/**
 * Reads one partition that the group assigned to this member, from where its store says.
 *
 *               ┌──────────────── reopen ───────────────┐
 *               ▼                                       │
 *   start ─▶ opening ──opened──▶ fetching ──check──▶ holding
 *               │                 │  ▲  ▲              │  │
 *               │           refused  │  └──nothing lost┘  │ nothing lost yet
 *               │                 ▼  │ waited             │
 *               │              backing-off ◀──────────────┘
 *               ▼
 *            stopped           (`stopped` follows each of them, where the handler says so)
 *               ▼
 *            closed            (`closed` follows every state)
 *
 * - opening: the handler opens a session and says where reading starts. A `reopen` from any state comes back here, after a pause that grows until a commit succeeds.
 * - fetching: the partition is part of each request to its leader.
 * - holding: a response must be examined before the next request: it begins with bytes that may be damaged, or the offset is out of range.
 * - backing-off: the leader refused the request; the same request is sent again after a growing pause.
 * - stopped: data was lost and the handler stopped. Only a new assignment opens the partition again, with a new fetcher.
 *
 * Responses to requests of an earlier session are dropped (rule S2). Losses are reported to the handler, which decides (rules F1, F5, S6).
 */
export class PartitionFetcher {
  readonly topicPartition: TopicPartition
  readonly #context: FetchContext
  readonly #cursor: BatchCursor
  readonly #openings: BackOff
  readonly #refusals: BackOff
  readonly #states: StateMachine<FetchState>
  #session: PartitionSession | null = null
  /** Replaced when a session ends, so that work of an ended one is recognised. */
  #sessionMark: object = {}
  /** Everything that is done with the session, one thing after the other. */
  #work: Promise<void> = Promise.resolve()
  /** Ends an opening that waits. */
  readonly #closing = new AbortController()
  /** Resolves when no opening is under way. */
  #opening: Promise<void> = Promise.resolve()
  #leader = -1
  /** The request whose response is awaited. */
  #request: FetchRequest | null = null
  #nextOffset = -1
  /** The leader epoch of the last batch before it (rule F1). */
  #lastEpoch = -1
  /** Where reading began in this session. */
  #openedOffset = -1
  /** The last empty response that the session was given, so that the next one with the same log ends is not handed over. */
  #lastReported: FetchedPartition | null = null
  /** Where the broker itself found its log damaged. */
  #damagedAt = -1
  /** How often in a row the leader refused an offset that lies within its log. */
  #contradictions = 0

  constructor(topicPartition: TopicPartition, context: FetchContext) {
    this.topicPartition = topicPartition
    this.#context = context
    this.#cursor = context.newCursor()
    this.#states = new StateMachine(`partition ${topicPartition.partition}`, FETCH_TRANSITIONS, 'opening')
    this.#openings = this.#newBackOff()
    this.#refusals = this.#newBackOff()
  }

  get state(): FetchState {
    return this.#states.state
  }

  /** The store's position, or where reading begins where nothing was read yet; null before the partition is opened. */
  get position(): { readonly offset: number; readonly leaderEpoch: number } | null {
    const position = this.#session?.position
    if (position === undefined) return null
    if (position.offset !== 'log-start') return { offset: position.offset, leaderEpoch: position.leaderEpoch }
    return this.#openedOffset < 0 ? null : { offset: this.#openedOffset, leaderEpoch: -1 }
  }

  /** The store's position when this session was opened; null before. */
  get openedOffset(): number | null {
    return this.#openedOffset < 0 ? null : this.#openedOffset
  }

  /** Opens the partition once `closed` has resolved: an earlier fetcher of it must be closed by then. */
  start(closed: Promise<void>): void {
    this.#work = closed
    this.#enqueue(() => this.#open())
  }

  /** Names the broker that leads the partition. A response of another one is no longer awaited. */
  setLeader(node: number): void {
    if (this.#leader !== node) this.#request = null
    this.#leader = node
  }

  /** @returns what to ask the leader for; null where nothing is to be asked for now */
  nextRequest(): FetchRequest | null {
    if (!this.#states.is('fetching') || this.#request !== null) return null
    const { partition } = this.topicPartition
    this.#request = {
      fetcher: this,
      partition,
      currentLeaderEpoch: this.#context.leaderOf(partition).leaderEpoch,
      offset: this.#nextOffset,
      lastEpoch: this.#lastEpoch,
    }
    return this.#request
  }

  /** No response to this request will come. */
  onNoResponse(request: FetchRequest): void {
    if (this.#request === request) this.#request = null
  }

  /**
   * Finds the next offset by the heads of the batches alone, so that the next request need not wait until the records are processed.
   * @returns processes the records; resolves when their bytes are not needed any more
   */
  onResponse(request: FetchRequest, part: FetchedPartition, response: FetchResponse): () => Promise<void> {
    if (this.#request !== request) return async () => {}
    this.#request = null
    if (part.errorCode !== CODE.none) return this.#onRefused(part.errorCode, request)
    this.#refusals.reset()
    this.#contradictions = 0
    this.#context.failures.worked(this.#name)
    const { offset } = request
    const { diverging } = part
    if (diverging !== null) return this.#inSession(() => this.#reportLoss(divergence(offset, diverging)))
    if (part.preferredReadReplica >= 0) {
      const message = `Kafka names replica ${part.preferredReadReplica} to read partition ${part.partition} from, although it was not asked for one; the request is sent again`
      return this.#onRetriable(new KafkaError('bad-response', message))
    }
    const end = endOfBatches(response.view, part.recordsStart, part.recordsEnd, offset, request.lastEpoch)
    const empty = part.recordsEnd === part.recordsStart
    if (empty && this.#isReported(part) && this.#session?.state !== 'stale') return async () => {}
    // After records an empty response is reported in any case: only then does the session say that their commit failed.
    this.#lastReported = empty ? part : null
    this.#nextOffset = end.offset
    this.#lastEpoch = end.leaderEpoch
    // No whole batch at the beginning: the same request would bring the same bytes, so it waits until the cursor has examined them.
    if (!empty && end.offset === offset) this.#states.enter('holding')
    return this.#inSession(() => this.#process(offset, part, response))
  }

  /** Reports that the topic is compacted (rule S6), where this partition is being read. */
  refuseCompacted(): void {
    if (this.#states.is('fetching', 'holding', 'backing-off'))
      void this.#inSession(() => this.#reportLoss(compacted(this.topicPartition.topic)))()
  }

  /** Ends reading for good, at once. Resolves when the commit under way is done. */
  async close(): Promise<void> {
    this.#states.enter('closed')
    this.#closing.abort()
    this.#sessionMark = {}
    this.#request = null
    this.#context.failures.worked(this.#name)
    // A session that opens late must be closed before the partition is opened here again.
    await this.#opening
    await this.#session?.close()
  }

  get #name(): string {
    return `partition ${this.topicPartition.partition}`
  }

  async #open(): Promise<void> {
    const { handler, confirmed, isCompacted } = this.#context
    // A process that was frozen would take the partition from the member that has it by now (rule M2).
    await confirmed()
    if (this.#isClosed) return
    const opening = this.#openSession(handler)
    this.#opening = opening.then(ignore, ignore)
    const session = await opening
    if (session === null) return
    this.#session = session
    if (this.#isClosed) return await session.close()
    this.#lastReported = null
    const { position, state } = session
    if (state === 'stopped') this.#states.enter('stopped')
    else if (isCompacted()) await this.#reportLoss(compacted(this.topicPartition.topic))
    // A partition that was never read is requested from offset 0. Where its log begins later, the broker says so.
    else this.#fetchFrom(position.offset === 'log-start' ? 0 : position.offset, position.leaderEpoch)
  }

  /** @returns null where the partition was closed meanwhile */
  async #openSession(handler: PartitionHandler): Promise<PartitionSession | null> {
    const session = await handler.open(this.topicPartition, this.#closing.signal)
    if (!this.#isClosed) return session
    await session.close()
    return null
  }

  #fetchFrom(offset: number, leaderEpoch: number): void {
    this.#nextOffset = offset
    this.#openedOffset = offset
    this.#lastEpoch = leaderEpoch
    this.#states.enter('fetching')
    this.#context.onRequestable()
  }

  async #process(fetchOffset: number, part: FetchedPartition, response: FetchResponse): Promise<void> {
    const { recordsStart, recordsEnd, recordsMissing, highWatermark, lastStableOffset, aborted } = part
    const mark = this.#sessionMark
    const cursor = this.#cursor.reset(response.bytes, recordsStart, recordsEnd, fetchOffset, aborted, recordsMissing)
    const bytes = recordsEnd - recordsStart
    const session = this.#session as PartitionSession
    const outcome = await session.process({ fetchOffset, cursor, bytes, highWatermark, lastStableOffset })
    if (this.#sessionMark !== mark) return
    const { position } = session
    // A commit succeeded in this session, so the next reopening need not be delayed by the failures before it. That a response was processed does not
    // show it: the handler may commit later, and fail.
    if (position.offset !== 'log-start' && position.offset > this.#openedOffset) this.#openings.reset()
    if (outcome !== 'next') this.#endSession(outcome)
    else if (cursor.nextOffset <= fetchOffset && bytes > 0) await this.#backOff()
  }

  async #reportLoss(loss: DataLoss): Promise<void> {
    const mark = this.#sessionMark
    const outcome = await (this.#session as PartitionSession).dataLost(loss)
    // If a gap was recorded, the store's position is behind it already. If not, the loss is found again after the pause.
    if (this.#sessionMark === mark) this.#endSession(outcome === 'stop' ? 'stop' : 'reopen')
  }

  #endSession(outcome: Exclude<ReadOutcome, 'next'>): void {
    this.#sessionMark = {}
    this.#request = null
    this.#states.enter(outcome === 'stop' ? 'stopped' : 'opening')
    if (outcome === 'stop') return
    this.#enqueue(async () => {
      await this.#pause(this.#openings)
      if (!this.#isClosed) await this.#open()
    })
  }

  #onRefused(code: number, request: FetchRequest): () => Promise<void> {
    const { offset } = request
    if (code === CODE.offsetOutOfRange) {
      this.#states.enter('holding')
      return this.#inSession(() => this.#onOutOfRange(request))
    }
    const error = refusedBy(code, { brokers: this.#context.brokers, topic: this.topicPartition.topic })
    if (!error.retriable) this.#context.onFatal(error)
    if (code === CODE.corruptMessage && this.#damagedAt === offset) return this.#inSession(() => this.#reportLoss(damagedLog(offset)))
    if (code === CODE.corruptMessage) this.#damagedAt = offset
    else this.#context.requestRefresh()
    return this.#onRetriable(error)
  }

  /** The log does not have the offset, or has it under another leader epoch. Earlier responses are processed by now. */
  async #onOutOfRange({ offset, lastEpoch }: FetchRequest): Promise<void> {
    const ends = await this.#logEnds()
    if (ends === null || this.#isClosed) return
    const { start, end } = ends
    const session = this.#session as PartitionSession
    // Never read, so no loss: the log begins later by now. But records may have been processed whose commit is still under way.
    if (session.position.offset === 'log-start' && offset === this.#openedOffset && start !== offset) this.#fetchFrom(start, -1)
    else if (offset < start) await this.#reportLoss(retention(offset, start))
    else if (offset > end) await this.#reportLoss(truncation(offset, end))
    else if (lastEpoch >= 0 && ++this.#contradictions > MOST_CONTRADICTIONS) await this.#reportLoss(unknownEpoch(offset, lastEpoch))
    else await this.#backOff()
  }

  /** Asks for both ends of the log until they are known; null where the partition was closed meanwhile. */
  async #logEnds(): Promise<LogEnds | null> {
    const { cluster, leaderOf, failures, requestRefresh, signal } = this.#context
    const { partition } = this.topicPartition
    const retry = this.#newBackOff()
    while (!this.#isClosed && !signal.aborted) {
      const leader = leaderOf(partition)
      try {
        const ends = leader.node < 0 ? null : await cluster.ends(partition, leader)
        if (ends !== null) {
          failures.worked(this.#name)
          return ends
        }
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) throw error
        if (!this.#isClosed) failures.failed(this.#name, error)
      }
      requestRefresh()
      await this.#pause(retry)
    }
    return null
  }

  /** Sends the same request again after a pause. */
  #onRetriable(error: KafkaError): () => Promise<void> {
    this.#context.failures.failed(this.#name, error)
    this.#states.enter('backing-off')
    return this.#inSession(() => this.#backOff())
  }

  async #backOff(): Promise<void> {
    const mark = this.#sessionMark
    if (this.#states.is('holding')) this.#states.enter('backing-off')
    await this.#pause(this.#refusals)
    if (this.#sessionMark !== mark || !this.#states.is('backing-off')) return
    this.#states.enter('fetching')
    this.#context.onRequestable()
  }

  /** @returns queues the work, which is dropped if the session has ended when its turn comes */
  #inSession(work: () => Promise<void>): () => Promise<void> {
    const mark = this.#sessionMark
    return () => this.#enqueue(async () => (this.#sessionMark === mark ? await work() : undefined))
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error) => {
      if (!this.#isClosed) this.#context.onFatal(error)
    })
    return this.#work
  }

  #newBackOff(): BackOff {
    return new BackOff({ first: FIRST_RETRY, longest: LONGEST_RETRY, clock: this.#context.clock })
  }

  async #pause(backOff: BackOff): Promise<void> {
    await this.#context.clock.wait(backOff.next(), this.#context.signal)
  }

  get #isClosed(): boolean {
    return this.#states.is('closed')
  }

  #isReported({ highWatermark, lastStableOffset, logStartOffset }: FetchedPartition): boolean {
    const last = this.#lastReported
    return (
      last !== null &&
      last.highWatermark === highWatermark &&
      last.lastStableOffset === lastStableOffset &&
      last.logStartOffset === logStartOffset
    )
  }
}

const ignore = () => {}
