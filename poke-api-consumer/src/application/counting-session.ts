/** One opened partition: counts its responses and queues them to be committed (rules C1, C2, S1, S2 and F5). */

import type { FetchedRecords, FetchPosition, PartitionSession, ReadOutcome, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { PartitionTally, TypeCounter } from '../entities/tally.ts'
import { type CommitContext, CommitQueue, type CountedBatch } from './commit-queue.ts'
import type { FairLock } from './fair-lock.ts'
import type { CountedResponse, PartitionState, StopReason } from './ports.ts'

export interface CountingSessionContext extends CommitContext {
  readonly counter: TypeCounter
  readonly onClosed: () => void
  /** Decides what follows from lost records; may record a gap. Rejects where the store fails. */
  readonly onLost: (partition: TopicPartition, position: FetchPosition, token: number, reason: StopReason) => Promise<ReadOutcome>
  /** Whether bytes at this offset cannot be read for the first time: then they are fetched once more (rule F5). */
  readonly isFirstCorruption: (partition: TopicPartition, offset: number) => boolean
  /** The partition is opened again when more sources than this are known: the store has forgotten those that were silent for longest (rule C3). */
  readonly maxSources: number
  /** Held by the partition whose response is being counted. */
  readonly counting: FairLock
  /** Resolves after everything else that waits on the event loop has had its turn. */
  readonly yieldToOthers: () => Promise<void>
}

/**
 * About how many bytes of dead letters and sources one commit may hold; its last dead letter may exceed it. A dead letter counts with all bytes of its
 * record, because a part that is cut is hashed as a whole. One compressed batch can hold a thousand times its own size in records that cannot be
 * counted, and while they are hashed, and while SQLite stores them, this process does nothing else.
 */
const MAX_COMMIT_SIZE = 4 * 1024 * 1024

/** A response, or the part of a large one, that was counted without a pause. */
interface CountedPiece extends CountedBatch {
  readonly responses: readonly [CountedResponse]
  /** The response goes on behind it. */
  readonly isMore: boolean
  /** The offset of the record behind it, if that has one type name too many; otherwise null. */
  readonly newTypeAt: number | null
}

export class CountingSession implements PartitionSession {
  readonly #partition: TopicPartition
  readonly #context: CountingSessionContext
  readonly #tally: PartitionTally
  readonly #token: number
  readonly #commits: CommitQueue
  /** The fetch offset of the next response; `log-start`: any. */
  #expected: number | 'log-start'
  /** Set when nothing more is counted here for a reason other than a broken commit queue. */
  #ended: 'reopen' | 'stop' | null

  constructor(partition: TopicPartition, state: PartitionState, context: CountingSessionContext, stopped: boolean) {
    this.#partition = partition
    this.#context = context
    this.#tally = context.counter.tally(state.lastSequences)
    this.#token = state.token
    this.#commits = new CommitQueue(partition, state, context)
    this.#expected = state.position.offset
    this.#ended = stopped ? 'stop' : null
  }

  get position(): FetchPosition {
    return this.#commits.position
  }

  get state(): 'active' | 'stale' | 'stopped' {
    if (this.#end === null) return 'active'
    return this.#end === 'stop' ? 'stopped' : 'stale'
  }

  /** Whether nothing is queued to be committed, so that the store should have `position`. */
  get isIdle(): boolean {
    return this.#commits.isIdle && this.#end === null
  }

  /** The store has another position: the next response leads to opening the partition again. */
  superseded(): void {
    if (!this.isIdle) return
    this.#context.observer.fenced(this.#partition)
    this.#ended = 'reopen'
  }

  async process(fetched: FetchedRecords): Promise<ReadOutcome> {
    const { crashPoint, counting, yieldToOthers } = this.#context
    if (this.#end !== null) return this.#end
    crashPoint('fetched')
    // 1. Only the response that continues the last one is counted (rule S2).
    if (this.#expected !== 'log-start' && fetched.fetchOffset !== this.#expected) return this.#finish('reopen')
    // 2. Count every record. A large response is counted in pieces, so that health probes are answered between them. Other partitions wait until
    // it is counted, because each response may hold a whole decompressed batch.
    if (!counting.tryAcquire()) await counting.acquire()
    let piece: CountedPiece
    try {
      if (this.#end !== null) return this.#end
      piece = this.#countPiece(fetched, fetched.fetchOffset)
      while (piece.isMore) {
        await this.#enqueue(piece)
        // Dead letters take memory: these are stored before more are collected.
        if (piece.delta.deadLetters.length > 0) await this.#commits.flush()
        await yieldToOthers()
        if (this.#end !== null) return this.#end
        piece = this.#countPiece(fetched, piece.to.offset)
      }
    } finally {
      counting.release()
    }
    // 3. Commit position, counts, last sequences and dead letters together, after all responses before.
    const ended = piece.to.offset > piece.firstOffset ? await this.#enqueue(piece) : await this.#reportEmpty(fetched, piece)
    if (ended !== null) return ended
    // 4. Act on everything else that the records have shown.
    const { corrupt } = fetched.cursor
    if (piece.newTypeAt !== null) return await this.dataLost(this.#tooManyTypes(piece.newTypeAt))
    if (corrupt !== null) return await this.#onCorruption(fetched, corrupt)
    if (this.#tally.sources > this.#context.maxSources) {
      await this.#commits.flush()
      return this.#finish('reopen')
    }
    return 'next'
  }

  /** Counts up to the end or the next pause of the cursor, or until one commit has enough. @throws where memory runs out; then nothing more is counted here */
  #countPiece({ cursor, bytes, highWatermark, lastStableOffset }: FetchedRecords, firstOffset: number): CountedPiece {
    let counted: ReturnType<PartitionTally['count']>
    try {
      counted = this.#tally.count(cursor, MAX_COMMIT_SIZE)
    } catch (error) {
      this.#ended = 'stop'
      throw error
    }
    const { delta, summary, endedBy } = counted
    if (endedBy === 'new-type') cursor.endBefore()
    else if (endedBy === 'size') cursor.endBehind()
    const isMore = endedBy === 'size' || (endedBy === 'cursor' && cursor.paused)
    const to = { offset: cursor.nextOffset, leaderEpoch: cursor.lastLeaderEpoch }
    const response = { ...summary, bytes: isMore ? 0 : bytes, position: to.offset, highWatermark, lastStableOffset }
    this.#context.crashPoint('walked')
    return { firstOffset, to, delta, responses: [response], isMore, newTypeAt: endedBy === 'new-type' ? cursor.offset : null }
  }

  /** Queues the piece as soon as there is capacity. @returns why nothing more is counted here; null if it was queued */
  async #enqueue(piece: CountedPiece): Promise<ReadOutcome | null> {
    await this.#commits.waitForCapacity(piece)
    if (this.#end !== null) return this.#end
    this.#expected = piece.to.offset
    this.#commits.enqueue(piece)
    return null
  }

  /**
   * The response did not move the position, so there is nothing to commit. Another response may not come for hours, so a failed commit must be
   * noticed now.
   * @returns why nothing more is counted here; null where counting goes on
   */
  async #reportEmpty(
    { bytes, lastStableOffset }: FetchedRecords,
    { to, responses: [response] }: CountedPiece,
  ): Promise<ReadOutcome | null> {
    await this.#commits.flush()
    if (this.#end !== null) return this.#end
    // If the log has nothing behind the store's position, an earlier commit whose answer was lost has succeeded after all.
    if (bytes === 0 && to.offset >= lastStableOffset) this.#context.storeFailures.worked(this.#commits.name)
    this.#context.observer.counted(this.#partition, response)
    return null
  }

  async dataLost(loss: StopReason): Promise<ReadOutcome> {
    await this.#commits.flush()
    if (this.#end !== null) return this.#end
    try {
      const outcome = this.#finish(await this.#context.onLost(this.#partition, this.position, this.#token, loss))
      // A stopped partition commits nothing more, so its failure is over.
      if (outcome === 'stop') this.#context.storeFailures.worked(this.#commits.name)
      return outcome
    } catch (error) {
      // The gap is not recorded. It is found again when the partition is opened again. If this session was closed meanwhile, nobody waits for it.
      if (this.#end === null) this.#context.storeFailures.failed(this.#commits.name, error as Error)
      return this.#finish('reopen')
    }
  }

  async close(): Promise<void> {
    this.#ended = 'stop'
    this.#context.onClosed()
    await this.#commits.flush()
    // Last, because observers forget the partition now.
    this.#context.observer.closed(this.#partition)
    this.#context.storeFailures.worked(this.#commits.name)
  }

  /** Records that cannot be read are fetched once more before they count as lost (rule F5). */
  async #onCorruption({ cursor, highWatermark }: FetchedRecords, corrupt: string): Promise<ReadOutcome> {
    const { corruptEnd, corruptKind, nextOffset: from } = cursor
    await this.#commits.flush()
    if (this.#end !== null) return this.#end
    if (this.#context.isFirstCorruption(this.#partition, from)) return this.#finish('reopen')
    // At and above the high watermark there is nothing yet that could be lost.
    const to = corruptEnd > from && corruptEnd <= highWatermark ? corruptEnd : null
    if (corruptKind === 'missing' && to !== null) return await this.dataLost({ kind: corruptKind, message: removed(from, to), from, to })
    const what =
      to === null
        ? `the records at offset ${from} cannot be read, and it is not known where the next whole batch begins`
        : `${to - from} ${to - from === 1 ? 'offset' : 'offsets'} cannot be read, from ${from} to ${to - 1}`
    return await this.dataLost({ kind: corruptKind, message: `${what}: ${corrupt}`, from, to })
  }

  #tooManyTypes(offset: number): StopReason {
    const { types } = this.#context.counter
    const message = `the record at offset ${offset} has a new type name, and ${types.toLocaleString('en')} names are known already, as many as TYPE_MAX_COUNT allows`
    return { kind: 'too-many-types', message, from: offset, to: null }
  }

  /** Why nothing more is counted here; null where counting goes on. */
  get #end(): 'reopen' | 'stop' | null {
    return this.#ended ?? (this.#commits.isBroken ? 'reopen' : null)
  }

  #finish(outcome: ReadOutcome): ReadOutcome {
    if (outcome !== 'next') this.#ended = outcome
    return outcome
  }
}

function removed(from: number, to: number): string {
  const [count, range, have] = to - from === 1 ? ['1 offset', from, 'has'] : [`${to - from} offsets`, `${from} to ${to - 1}`, 'have']
  return `${count} within the log ${have} no record: ${range}. Records were removed from there, for example by compaction, and cannot come back`
}
