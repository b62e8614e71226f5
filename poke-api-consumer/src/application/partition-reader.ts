/** One opened partition: counts its responses, and hands what they came to over to be committed, by the rules C1, C2, S1, S2 and F5. */
import type { Counter, Tally, TallySummary } from '../entities/tally.ts'
import { type CommitContext, PartitionCommits } from './partition-commits.ts'
import type { DataLoss, FetchedRecords, FetchPosition, PartitionReader, PartitionState, ReadOutcome, TopicPartition } from './ports.ts'

export interface PartitionReaderContext extends CommitContext {
  readonly counter: Counter
  readonly onClosed: () => void
  /** Decides what becomes of lost records; may record a gap. Rejects where the store fails. */
  readonly onLost: (partition: TopicPartition, position: FetchPosition, token: number, loss: DataLoss) => Promise<ReadOutcome>
  /** True the first time that bytes at this offset cannot be read: they are fetched once more (rule F5). */
  readonly firstDoubt: (partition: TopicPartition, offset: number) => boolean
  /** Opened anew when it knows more sources than this: the store has forgotten the longest silent ones by then (rule C3). */
  readonly mostSources: number
}

/**
 * Dead letters of one commit: the walk of a response ends when their records have so many bytes. One compressed batch may hold a hundred thousand
 * times its own size in records that cannot be counted; a statement of PostgreSQL ends at 1 GB, a text of Node.js at half of it. Bytes that are not
 * kept take their time all the same, to be hashed, while nothing else is done.
 */
const MOST_LETTER_BYTES = 32 * 1024 * 1024

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
    const { crashPoint } = this.#context
    if (this.#end !== null) return this.#end
    crashPoint('fetched')
    // 1. Only the response that continues what was counted (rule S2).
    if (this.#expected !== 'log-start' && fetched.fetchOffset !== this.#expected) return this.#die('reopen')
    // 2. Every record, without waiting between them: the bytes and the counter are shared.
    const { cursor } = fetched
    const tally = this.#tally
    let summary: TallySummary
    try {
      tally.addAll(cursor, MOST_LETTER_BYTES)
      summary = tally.summary()
    } catch (error) {
      // No memory is left. What was counted until here goes with no position, least of all with another partition's.
      tally.take()
      this.#ended = 'stop'
      throw error
    }
    // What is left out is asked for again, once these letters are kept.
    const isCut = tally.letterBytes >= MOST_LETTER_BYTES
    const nextOffset = isCut ? cursor.offset + 1 : cursor.nextOffset
    const response = {
      ...summary,
      bytes: fetched.bytes,
      position: nextOffset,
      highWatermark: fetched.highWatermark,
      lastStableOffset: fetched.lastStableOffset,
    }
    const delta = tally.take()
    crashPoint('walked')
    // 3. Position, counts, last sequences and dead letters together, after the commit before.
    if (nextOffset > fetched.fetchOffset) {
      const leaderEpoch = isCut ? cursor.leaderEpoch : cursor.lastLeaderEpoch
      const counted = { firstOffset: fetched.fetchOffset, to: { offset: nextOffset, leaderEpoch }, delta, responses: [response] }
      await this.#commits.room(counted)
      if (this.#end !== null) return this.#end
      this.#expected = nextOffset
      this.#commits.add(counted)
    } else {
      // Perhaps nothing comes for hours: now is the time to say that the last commit came to nothing.
      await this.#commits.settle()
      if (this.#end !== null) return this.#end
      // A commit whose answer was lost was made after all where nothing follows the position that the store has.
      if (fetched.bytes === 0 && nextOffset >= fetched.lastStableOffset) this.#context.storeTroubles.worked(this.#commits.name)
      this.#context.observer.counted(this.#partition, response)
    }
    if (isCut) {
      await this.#commits.settle()
      return this.#end ?? this.#die('reopen')
    }
    // 4. What the walk has shown besides.
    const { corrupt, corruptEnd } = cursor
    if (corrupt !== null) {
      // Behind the high watermark there is nothing yet that could have been lost.
      const to = corruptEnd > nextOffset && corruptEnd <= fetched.highWatermark ? corruptEnd : null
      return await this.#doubt(nextOffset, to, corrupt)
    }
    if (tally.sources > this.#context.mostSources) {
      await this.#commits.settle()
      return this.#die('reopen')
    }
    return 'next'
  }

  async lost(loss: DataLoss): Promise<ReadOutcome> {
    await this.#commits.settle()
    if (this.#end !== null) return this.#end
    try {
      const outcome = this.#die(await this.#context.onLost(this.#partition, this.position, this.#token, loss))
      // Left alone, it has nothing to commit any more.
      if (outcome === 'stop') this.#context.storeTroubles.worked(this.#commits.name)
      return outcome
    } catch (error) {
      // The opening that follows finds the gap again. After the end nobody is left to whom it matters.
      if (this.#end === null) this.#context.storeTroubles.failed(this.#commits.name, error as Error)
      return this.#die('reopen')
    }
  }

  async close(): Promise<void> {
    this.#ended = 'stop'
    this.#context.onClosed()
    await this.#commits.settle()
    // After all that it is told of: what it keeps of the partition goes now.
    this.#context.observer.closed(this.#partition)
    this.#context.storeTroubles.worked(this.#commits.name)
  }

  async #doubt(from: number, to: number | null, corrupt: string): Promise<ReadOutcome> {
    await this.#commits.settle()
    if (this.#end !== null) return this.#end
    if (this.#context.firstDoubt(this.#partition, from)) return this.#die('reopen')
    const what =
      to === null
        ? `what is at offset ${from} cannot be read, and where the next whole batch begins is not known`
        : `${to - from} ${to - from === 1 ? 'offset' : 'offsets'} cannot be read, from ${from} to ${to - 1}`
    return await this.lost({ kind: 'corrupt', message: `${what}: ${corrupt}`, from, to })
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
