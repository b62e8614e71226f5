/** One opened partition: counts its responses, and hands what they came to over to be committed, by the rules C1, C2, S1, S2 and F5. */

import type { FetchedRecords, FetchPosition, PartitionReader, ReadOutcome, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { Counter, Tally, TallySummary } from '../entities/tally.ts'
import { type CommitContext, PartitionCommits, type Uncommitted } from './partition-commits.ts'
import type { CountedResponse, PartitionState, StopReason } from './ports.ts'
import type { Turns } from './turns.ts'

export interface PartitionReaderContext extends CommitContext {
  readonly counter: Counter
  readonly onClosed: () => void
  /** Decides what becomes of lost records; may record a gap. Rejects where the store fails. */
  readonly onLost: (partition: TopicPartition, position: FetchPosition, token: number, reason: StopReason) => Promise<ReadOutcome>
  /** True the first time that bytes at this offset cannot be read: they are fetched once more (rule F5). */
  readonly firstDoubt: (partition: TopicPartition, offset: number) => boolean
  /** Opened anew when it knows more sources than this: the store has forgotten the longest silent ones by then (rule C3). */
  readonly mostSources: number
  /** Who walks a response: one partition at a time. */
  readonly walking: Turns
  /** Resolves when everything else that waits was attended to. */
  readonly breathe: () => Promise<void>
}

/**
 * What the dead letters and sources of one commit may hold, in bytes, but for the last letter: their records' bytes, since what is not kept takes its
 * time to be hashed. One compressed batch may have thousands of times its own size in records that cannot be counted, and everything else waits
 * while they are hashed and a SQLite store takes them.
 */
const MOST_SIZE = 4 * 1024 * 1024

/** What was counted of a response between two pauses. */
interface Piece extends Uncommitted {
  readonly responses: readonly [CountedResponse]
  /** The response has more. */
  readonly isMore: boolean
  /** The offset of a record with a type name for which there is no room; null where there was none. */
  readonly lacksRoomAt: number | null
}

export class StoredPartitionReader implements PartitionReader {
  readonly #partition: TopicPartition
  readonly #context: PartitionReaderContext
  readonly #tally: Tally
  readonly #token: number
  readonly #commits: PartitionCommits
  /** The offset that the next response must have been asked for; `log-start`: whichever the source found. */
  #expected: number | 'log-start'
  /** Why nothing more is counted here, unless a commit came to nothing. */
  #ended: 'reopen' | 'stop' | null

  constructor(partition: TopicPartition, state: PartitionState, context: PartitionReaderContext, stopped: boolean) {
    this.#partition = partition
    this.#context = context
    this.#tally = context.counter.tally(state.lastSequences)
    this.#token = state.token
    this.#commits = new PartitionCommits(partition, state, context)
    this.#expected = state.position.offset
    this.#ended = stopped ? 'stop' : null
  }

  get position(): FetchPosition {
    return this.#commits.position
  }

  get stopped(): boolean {
    return this.#end === 'stop'
  }

  get outdated(): boolean {
    return this.#end === 'reopen'
  }

  /** Whether nothing waits to be committed, so that the position is the store's. */
  get resting(): boolean {
    return this.#commits.isResting && this.#end === null
  }

  /** The store has another position by now: the next response opens the partition again. */
  superseded(): void {
    if (!this.resting) return
    this.#context.observer.fenced(this.#partition)
    this.#ended = 'reopen'
  }

  async count(fetched: FetchedRecords): Promise<ReadOutcome> {
    const { crashPoint, walking, breathe } = this.#context
    if (this.#end !== null) return this.#end
    crashPoint('fetched')
    // 1. Only the response that continues what was counted (rule S2).
    if (this.#expected !== 'log-start' && fetched.fetchOffset !== this.#expected) return this.#die('reopen')
    // 2. Every record. A response that takes long is counted in pieces, so that probes are answered between them, and no other response meanwhile:
    // each may hold a whole batch decompressed.
    if (walking.taken) await walking.turn()
    walking.take()
    let piece: Piece
    try {
      if (this.#end !== null) return this.#end
      piece = this.#walk(fetched, fetched.fetchOffset)
      while (piece.isMore) {
        await this.#commit(piece)
        // More dead letters are not gathered while these are still to be kept.
        if (piece.delta.deadLetters.length > 0) await this.#commits.settle()
        await breathe()
        if (this.#end !== null) return this.#end
        piece = this.#walk(fetched, piece.to.offset)
      }
    } finally {
      walking.end()
    }
    // 3. Position, counts, last sequences and dead letters together, after the commit before.
    const ended = piece.to.offset > piece.firstOffset ? await this.#commit(piece) : await this.#tell(fetched, piece)
    if (ended !== null) return ended
    // 4. What the walk has shown besides.
    const { corrupt } = fetched.cursor
    if (piece.lacksRoomAt !== null) return await this.lost(this.#tooManyTypes(piece.lacksRoomAt))
    if (corrupt !== null) return await this.#doubt(fetched, corrupt)
    if (this.#tally.sources > this.#context.mostSources) {
      await this.#commits.settle()
      return this.#die('reopen')
    }
    return 'next'
  }

  /** Counts up to the cursor's end or its next pause, or until a commit has enough, without waiting between records: the counter is shared. */
  #walk({ cursor, bytes, highWatermark, lastStableOffset }: FetchedRecords, firstOffset: number): Piece {
    const tally = this.#tally
    let summary: TallySummary
    try {
      tally.addAll(cursor, MOST_SIZE)
      summary = tally.summary()
    } catch (error) {
      // No memory is left. What was counted until here goes with no position, least of all with another partition's.
      tally.take()
      this.#ended = 'stop'
      throw error
    }
    const { lacksRoom, size } = tally
    const isFull = size >= MOST_SIZE
    if (lacksRoom) cursor.endBefore()
    else if (isFull) cursor.endBehind()
    const isMore = !lacksRoom && (isFull || cursor.paused)
    const to = { offset: cursor.nextOffset, leaderEpoch: cursor.lastLeaderEpoch }
    const response = { ...summary, bytes: isMore ? 0 : bytes, position: to.offset, highWatermark, lastStableOffset }
    const delta = tally.take()
    this.#context.crashPoint('walked')
    return { firstOffset, to, delta, responses: [response], isMore, lacksRoomAt: lacksRoom ? cursor.offset : null }
  }

  /** Hands it over as soon as there is room. @returns why nothing more is counted here; null where it was taken */
  async #commit(piece: Piece): Promise<ReadOutcome | null> {
    await this.#commits.room(piece)
    if (this.#end !== null) return this.#end
    this.#expected = piece.to.offset
    this.#commits.add(piece)
    return null
  }

  /**
   * Nothing came of it. Perhaps nothing comes for hours: now is the time to say that the last commit came to nothing.
   * @returns why nothing more is counted here; null where it goes on
   */
  async #tell({ bytes, lastStableOffset }: FetchedRecords, { to, responses: [response] }: Piece): Promise<ReadOutcome | null> {
    await this.#commits.settle()
    if (this.#end !== null) return this.#end
    // A commit whose answer was lost was made after all where nothing follows the position that the store has.
    if (bytes === 0 && to.offset >= lastStableOffset) this.#context.storeFailures.worked(this.#commits.name)
    this.#context.observer.counted(this.#partition, response)
    return null
  }

  async lost(loss: StopReason): Promise<ReadOutcome> {
    await this.#commits.settle()
    if (this.#end !== null) return this.#end
    try {
      const outcome = this.#die(await this.#context.onLost(this.#partition, this.position, this.#token, loss))
      // Left alone, it has nothing to commit any more.
      if (outcome === 'stop') this.#context.storeFailures.worked(this.#commits.name)
      return outcome
    } catch (error) {
      // The opening that follows finds the gap again. After the end nobody is left to whom it matters.
      if (this.#end === null) this.#context.storeFailures.failed(this.#commits.name, error as Error)
      return this.#die('reopen')
    }
  }

  async close(): Promise<void> {
    this.#ended = 'stop'
    this.#context.onClosed()
    await this.#commits.settle()
    // After all that it is told of: what it keeps of the partition goes now.
    this.#context.observer.closed(this.#partition)
    this.#context.storeFailures.worked(this.#commits.name)
  }

  /** What cannot be read is fetched once more, before it is lost. */
  async #doubt({ cursor, highWatermark }: FetchedRecords, corrupt: string): Promise<ReadOutcome> {
    const { corruptEnd, corruptKind, nextOffset: from } = cursor
    await this.#commits.settle()
    if (this.#end !== null) return this.#end
    if (this.#context.firstDoubt(this.#partition, from)) return this.#die('reopen')
    // Behind the high watermark there is nothing yet that could have been lost.
    const to = corruptEnd > from && corruptEnd <= highWatermark ? corruptEnd : null
    if (corruptKind === 'missing' && to !== null) return await this.lost({ kind: corruptKind, message: removed(from, to), from, to })
    const what =
      to === null
        ? `what is at offset ${from} cannot be read, and where the next whole batch begins is not known`
        : `${to - from} ${to - from === 1 ? 'offset' : 'offsets'} cannot be read, from ${from} to ${to - 1}`
    return await this.lost({ kind: corruptKind, message: `${what}: ${corrupt}`, from, to })
  }

  #tooManyTypes(offset: number): StopReason {
    const { types } = this.#context.counter
    const message = `the record at offset ${offset} has a type name that is new, and ${types.toLocaleString('en')} names are known, as many as TYPE_MAX_COUNT allows`
    return { kind: 'too-many-types', message, from: offset, to: null }
  }

  /** Why nothing more is counted here; null where it goes on. */
  get #end(): 'reopen' | 'stop' | null {
    return this.#ended ?? (this.#commits.isBroken ? 'reopen' : null)
  }

  #die(outcome: ReadOutcome): ReadOutcome {
    if (outcome !== 'next') this.#ended = outcome
    return outcome
  }
}

function removed(from: number, to: number): string {
  const [count, range, have] = to - from === 1 ? ['1 offset', from, 'has'] : [`${to - from} offsets`, `${from} to ${to - 1}`, 'have']
  return `${count} within the log ${have} no record: ${range}. Records were removed from there, as compaction does, and they cannot come back`
}
