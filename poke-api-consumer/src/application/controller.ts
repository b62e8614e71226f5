/** Puts reading, counting, committing and publishing together. The group assigns partitions; the store decides where reading starts and who may write. */

import type {
  DataLoss,
  FetchPosition,
  PartitionHandler,
  PartitionSession,
  ReadOutcome,
  RecordReader,
  TopicPartition,
} from '@poke-api-pipeline/kafka-reader'
import { BackOff, type Clock, FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import { TypeCounter } from '../entities/tally.ts'
import { CountingSession } from './counting-session.ts'
import type { CrashHook } from './crash-points.ts'
import { DeadLetterPublishing } from './dead-letter-publishing.ts'
import { FairLock } from './fair-lock.ts'
import { partitionKey } from './partition-key.ts'
import type {
  CommitOutcome,
  CountObserver,
  DeadLetterStore,
  DeadLetterTopic,
  GapStore,
  PartitionState,
  StopReason,
  TallyStore,
  Totals,
  TypeCountsSink,
} from './ports.ts'
import { TypeCountsExport } from './type-counts-export.ts'

export interface ControllerOptions {
  readonly reader: RecordReader
  readonly store: TallyStore & GapStore & Pick<DeadLetterStore, 'unpublished' | 'markPublished'>
  readonly deadLetterTopic: DeadLetterTopic
  readonly sink: TypeCountsSink
  readonly observer: CountObserver
  /** What to do where records are gone: stop the partition, or record the gap and go on after it. */
  readonly onDataLoss: 'stop' | 'continue'
  /** How many sources the store remembers for each partition (rule C3). */
  readonly sourceMaxCount: number
  /** How many type names are counted at most. Default: any number. */
  readonly typeMaxCount?: number
  readonly clock: Clock
  /** Resolves after everything else that waits on the event loop has had its turn. Default: at once. */
  readonly yieldToOthers?: () => Promise<void>
  /** Called at each step of counting; for tests that end the process there. */
  readonly crashPoint?: CrashHook
}

/** Until a failed opening is retried, in ms. */
const RETRY = { first: 100, longest: 5000 }

export class Controller implements PartitionHandler {
  readonly #options: ControllerOptions
  readonly #crashPoint: CrashHook
  readonly #export: TypeCountsExport
  readonly #deadLetters: DeadLetterPublishing
  readonly #counter: TypeCounter
  readonly #counting = new FairLock()
  /** How many types the store had when its counts were read last; null: they were not read yet. */
  #typesSeen: number | null = null
  readonly #storeFailures: FailureTracker
  /** The last offset at which bytes could not be read, by topic id and partition. */
  readonly #corruptions = new Map<string, number>()
  /** The newest session of each partition, by topic id and partition. */
  readonly #sessions = new Map<string, CountingSession>()
  #signal: AbortSignal = AbortSignal.abort()

  constructor(options: ControllerOptions) {
    this.#options = options
    const crashPoint = options.crashPoint ?? (() => {})
    this.#crashPoint = crashPoint
    this.#counter = new TypeCounter(options.typeMaxCount)
    const { observer } = options
    const storeFailures = new FailureTracker({ failed: (error) => observer.storeFailed(error), over: () => observer.storeWorked() })
    this.#storeFailures = storeFailures
    this.#export = new TypeCountsExport({
      ...options,
      storeFailures,
      crashPoint,
      onMoved: () => this.#compareWithStore(),
      onTotals: (totals) => this.#onTotals(totals),
    })
    this.#deadLetters = new DeadLetterPublishing({ ...options, topic: options.deadLetterTopic, crashPoint })
  }

  /**
   * Counts until the signal is aborted, then commits and publishes the counts that are left.
   * @throws ServiceError after a failure that retrying cannot help
   */
  async run(signal: AbortSignal): Promise<void> {
    const counting = new AbortController()
    const exporting = new AbortController()
    this.#signal = AbortSignal.any([signal, counting.signal])
    const exported = this.#export.run(exporting.signal)
    const published = this.#deadLetters.run(this.#signal)
    const counted = this.#options.reader.run(this, this.#signal)
    try {
      // The first of the three that fails for good ends the others.
      await Promise.race([Promise.all([counted, published]), exported])
    } finally {
      counting.abort()
      await Promise.allSettled([counted, published])
      exporting.abort()
      await exported
    }
  }

  storeConfirmed(): void {
    this.#export.allow()
  }

  /** Opens a partition at the store's position. While the store fails, it is retried until the signal is aborted. */
  async open(partition: TopicPartition, signal: AbortSignal): Promise<PartitionSession> {
    const { store, observer, onDataLoss } = this.#options
    for (;;) {
      signal.throwIfAborted()
      const state = await this.#retry(partition, signal, async () => {
        // The limit of type names is the group's, so the types that it has counted must be known before the first record is counted.
        if (this.#typesSeen === null) this.#onTotals(await store.totals())
        return await store.open(partition)
      })
      if (state.replacedTopicId === null) {
        this.#crashPoint('opened')
        observer.opened(partition, state.position)
        this.#export.allow()
        this.#deadLetters.own(partition)
        return this.#newSession(partition, state, false)
      }
      const loss = recreation(partition, state.replacedTopicId)
      if (onDataLoss === 'stop') {
        observer.stopped(partition, loss)
        return this.#newSession(partition, state, true)
      }
      // Whatever the outcome, the next round shows whether the gap is recorded.
      const outcome = await this.#retry(partition, signal, () =>
        store.recordGap({ partition, token: state.token, from: state.position, loss }),
      )
      this.#reportGap(outcome, partition, loss)
    }
  }

  /** Other instances of the group may have counted new types. */
  #onTotals({ counts }: Totals): void {
    if (counts.size === this.#typesSeen) return
    this.#typesSeen = counts.size
    this.#counter.know(counts.keys())
  }

  #newSession(partition: TopicPartition, state: PartitionState, stopped: boolean): PartitionSession {
    const { store, observer, clock, sourceMaxCount } = this.#options
    const context = {
      maxSources: 2 * sourceMaxCount,
      store,
      observer,
      clock,
      storeFailures: this.#storeFailures,
      counter: this.#counter,
      counting: this.#counting,
      yieldToOthers: this.#options.yieldToOthers ?? (async () => {}),
      crashPoint: this.#crashPoint,
      onCommitted: (caughtUp: boolean, deadLetters: number) => {
        this.#export.changed(caughtUp)
        if (deadLetters > 0) this.#deadLetters.added(partition)
      },
      onClosed: () => {
        // The partition was opened again since: its new session goes on.
        if (this.#sessions.get(key) !== session) return
        this.#sessions.delete(key)
        this.#deadLetters.disown(partition)
      },
      onLost: this.#lost.bind(this),
      isFirstCorruption: this.#isFirstCorruption.bind(this),
    }
    const key = partitionKey(partition)
    const session = new CountingSession(partition, state, context, stopped)
    this.#sessions.set(key, session)
    return session
  }

  /**
   * Notices, without waiting for the next commit to be fenced, that an operator has reset the group or that another instance has moved a position:
   * then the partition must be opened again.
   */
  async #compareWithStore(): Promise<void> {
    const { store, observer } = this.#options
    const idle = [...this.#sessions]
      .filter(([, session]) => session.isIdle)
      .map(([key, session]) => [key, session, session.position] as const)
    const partitions = await store.partitions()
    observer.partitionsSeen(partitions)
    const stored = new Map(partitions.map((partition) => [partitionKey(partition), partition.position.offset]))
    for (const [key, session, position] of idle) {
      if (session.position === position && (stored.get(key) ?? 'log-start') !== position.offset) session.superseded()
    }
  }

  /** Retries until it works. @throws ServiceError if retrying cannot help, and the last error if the partition is not needed any more */
  async #retry<T>(partition: TopicPartition, needed: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    const { clock } = this.#options
    const what = `opening partition ${partition.partition}`
    const ended = AbortSignal.any([this.#signal, needed])
    const backOff = new BackOff({ ...RETRY, clock })
    try {
      for (;;) {
        try {
          return await attempt()
        } catch (error) {
          if (error instanceof ServiceError && !error.retriable) throw error
          if (!ended.aborted) this.#storeFailures.failed(what, error as Error)
          await clock.wait(backOff.next(), ended)
          // Opening the partition now would fence the instance that has it by now (rule S1).
          if (ended.aborted) throw error
        }
      }
    } finally {
      this.#storeFailures.worked(what)
    }
  }

  async #lost(partition: TopicPartition, position: FetchPosition, token: number, loss: StopReason): Promise<ReadOutcome> {
    const { store, observer, onDataLoss } = this.#options
    if (onDataLoss === 'stop' || loss.kind === 'too-many-types' || loss.kind === 'compacted' || loss.to === null) {
      observer.stopped(partition, loss)
      return 'stop'
    }
    this.#reportGap(await store.recordGap({ partition, token, from: position, loss }), partition, loss)
    return 'reopen'
  }

  #reportGap(outcome: CommitOutcome, partition: TopicPartition, loss: DataLoss): void {
    const { observer } = this.#options
    if (outcome === 'committed') observer.skipped(partition, loss)
    else observer.fenced(partition)
  }

  #isFirstCorruption(partition: TopicPartition, offset: number): boolean {
    const key = partitionKey(partition)
    if (this.#corruptions.get(key) === offset) return false
    this.#corruptions.set(key, offset)
    return true
  }
}

function recreation({ topic, topicId }: TopicPartition, replacedTopicId: string): DataLoss {
  return {
    kind: 'recreated',
    message: `topic ${topic} was deleted and made again: it had the id ${replacedTopicId}, now it has ${topicId}`,
    from: null,
    to: null,
  }
}
