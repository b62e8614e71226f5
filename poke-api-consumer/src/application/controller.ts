/** Orchestrates the counting: fetch, count, commit, export. Who fetches what is the source's, from where and who may write is the store's. */

import type {
  DataLoss,
  FetchHandler,
  FetchPosition,
  PartitionReader,
  ReadOutcome,
  RecordSource,
  TopicPartition,
} from '@poke-api-pipeline/kafka-reader'
import { FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import { Counter } from '../entities/tally.ts'
import type { CrashHook } from './crash-points.ts'
import { DeadLetterPublishing } from './dead-letter-publishing.ts'
import { StoredPartitionReader } from './partition-reader.ts'
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
import { Turns } from './turns.ts'
import { TypeCountsExport } from './type-counts-export.ts'

export interface ControllerOptions {
  readonly source: RecordSource
  readonly store: TallyStore & GapStore & Pick<DeadLetterStore, 'unpublished' | 'markPublished'>
  readonly deadLetterTopic: DeadLetterTopic
  readonly sink: TypeCountsSink
  readonly observer: CountObserver
  /** What to do where records are gone: leave the partition alone, or record the gap and go on after it. */
  readonly onDataLoss: 'stop' | 'continue'
  /** So many sources the store remembers in a partition (rule C3). */
  readonly sourceMaxCount: number
  /** So many type names are counted at most. Default: any number. */
  readonly typeMaxCount?: number
  /** Resolves after that many ms, or as soon as the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
  /** Resolves when everything else that waits was attended to. Default: at once. */
  readonly breathe?: () => Promise<void>
  /** Uniform in [0, 1): spreads the retries of many instances. */
  readonly random: () => number
  /** Hears where counting is; for tests that make the process die there. */
  readonly crashPoint?: CrashHook
}

/** Waits before the store is asked again, in ms: doubled each time, half of it at random. */
const FIRST_RETRY = 100
const LONGEST_RETRY = 5000

export class Controller implements FetchHandler {
  readonly #options: ControllerOptions
  readonly #crashPoint: CrashHook
  readonly #export: TypeCountsExport
  readonly #deadLetters: DeadLetterPublishing
  readonly #counter: Counter
  readonly #walking = new Turns()
  /** How many types the store had when it was looked at last; −1: it was not. */
  #typesSeen = -1
  readonly #storeFailures: FailureTracker
  /** Where bytes could not be read once, by topic id and partition. */
  readonly #doubts = new Map<string, number>()
  /** The newest reader of each partition, by topic id and partition. */
  readonly #readers = new Map<string, StoredPartitionReader>()
  #signal: AbortSignal = AbortSignal.abort()

  constructor(options: ControllerOptions) {
    this.#options = options
    const crashPoint = options.crashPoint ?? (() => {})
    this.#crashPoint = crashPoint
    this.#counter = new Counter(options.typeMaxCount)
    const { observer } = options
    const storeFailures = new FailureTracker({ failed: (error) => observer.storeFailed(error), over: () => observer.storeWorked() })
    this.#storeFailures = storeFailures
    this.#export = new TypeCountsExport({
      ...options,
      storeFailures,
      crashPoint,
      onMoved: () => this.#lookForOthers(),
      onTotals: (totals) => this.#totals(totals),
    })
    this.#deadLetters = new DeadLetterPublishing({ ...options, topic: options.deadLetterTopic, crashPoint })
  }

  /**
   * Counts until the signal is aborted; then what was counted is committed and published.
   * @throws ServiceError where going on is hopeless
   */
  async run(signal: AbortSignal): Promise<void> {
    const counting = new AbortController()
    const exporting = new AbortController()
    this.#signal = AbortSignal.any([signal, counting.signal])
    const exported = this.#export.run(exporting.signal)
    const published = this.#deadLetters.run(this.#signal)
    const counted = this.#options.source.run(this, this.#signal)
    try {
      // Whichever ends by a hopeless failure ends the others.
      await Promise.race([Promise.all([counted, published]), exported])
    } finally {
      counting.abort()
      await Promise.allSettled([counted, published])
      exporting.abort()
      await exported
    }
  }

  storeIsGroups(): void {
    this.#export.allow()
  }

  /** Opens a partition at the store's position, however long the store is away, until the signal is aborted. */
  async open(partition: TopicPartition, signal: AbortSignal): Promise<PartitionReader> {
    const { store, observer, onDataLoss } = this.#options
    for (;;) {
      signal.throwIfAborted()
      const state = await this.#patiently(partition, signal, async () => {
        await this.#knowTypes()
        return await store.open(partition)
      })
      if (state.replacedTopicId === null) {
        this.#crashPoint('opened')
        observer.opened(partition, state.position)
        this.#export.allow()
        this.#deadLetters.own(partition)
        return this.#reader(partition, state, false)
      }
      const loss = recreation(partition, state.replacedTopicId)
      if (onDataLoss === 'stop') {
        observer.stopped(partition, loss)
        return this.#reader(partition, state, true)
      }
      // Whatever comes of it, another opening shows whether the gap is recorded.
      const outcome = await this.#patiently(partition, signal, () =>
        store.recordGap({ partition, token: state.token, from: state.position, loss }),
      )
      this.#tellGap(outcome, partition, loss)
    }
  }

  /** Before anything is counted: which types the group has counted already. */
  async #knowTypes(): Promise<void> {
    if (this.#typesSeen < 0) this.#totals(await this.#options.store.totals())
  }

  /** Others of the group may have met new types. */
  #totals({ counts }: Totals): void {
    if (counts.size === this.#typesSeen) return
    this.#typesSeen = counts.size
    this.#counter.know(counts.keys())
  }

  #reader(partition: TopicPartition, state: PartitionState, stopped: boolean): PartitionReader {
    const { store, observer, now, wait, sourceMaxCount } = this.#options
    const context = {
      mostSources: 2 * sourceMaxCount,
      store,
      observer,
      now,
      wait,
      storeFailures: this.#storeFailures,
      counter: this.#counter,
      walking: this.#walking,
      breathe: this.#options.breathe ?? (async () => {}),
      crashPoint: this.#crashPoint,
      onCommitted: (caughtUp: boolean, deadLetters: number) => {
        this.#export.changed(caughtUp)
        if (deadLetters > 0) this.#deadLetters.kept(partition)
      },
      onClosed: () => {
        // One that was opened since is not this one's to end.
        if (this.#readers.get(key) !== reader) return
        this.#readers.delete(key)
        this.#deadLetters.disown(partition)
      },
      onLost: this.#lost.bind(this),
      firstDoubt: this.#firstDoubt.bind(this),
    }
    const key = keyOf(partition)
    const reader = new StoredPartitionReader(partition, state, context, stopped)
    this.#readers.set(key, reader)
    return reader
  }

  /**
   * What a commit would find out, without waiting for something to commit: that an operator has reset the group, or that another instance
   * has counted on, so that a partition here must be opened again.
   */
  async #lookForOthers(): Promise<void> {
    const { store, observer } = this.#options
    const resting = [...this.#readers]
      .filter(([, reader]) => reader.resting)
      .map(([key, reader]) => [key, reader, reader.position] as const)
    const partitions = await store.partitions()
    observer.partitionsSeen(partitions)
    const stored = new Map(partitions.map((partition) => [keyOf(partition), partition.position.offset]))
    for (const [key, reader, position] of resting) {
      if (reader.position === position && (stored.get(key) ?? 'log-start') !== position.offset) reader.superseded()
    }
  }

  /** Asks the store again for as long as it takes. @throws ServiceError where it is hopeless, or nobody needs the partition any more */
  async #patiently<T>(partition: TopicPartition, needed: AbortSignal, ask: () => Promise<T>): Promise<T> {
    const { wait, random } = this.#options
    const what = `opening partition ${partition.partition}`
    const ended = AbortSignal.any([this.#signal, needed])
    try {
      for (let delay = FIRST_RETRY; ; delay = Math.min(delay * 2, LONGEST_RETRY)) {
        try {
          return await ask()
        } catch (error) {
          if (error instanceof ServiceError && !error.retriable) throw error
          if (!ended.aborted) this.#storeFailures.failed(what, error as Error)
          await wait(delay * (0.5 + random() / 2), ended)
          // Opening it now would take it from whoever has it by now.
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
    this.#tellGap(await store.recordGap({ partition, token, from: position, loss }), partition, loss)
    return 'reopen'
  }

  #tellGap(outcome: CommitOutcome, partition: TopicPartition, loss: DataLoss): void {
    const { observer } = this.#options
    if (outcome === 'committed') observer.skipped(partition, loss)
    else observer.fenced(partition)
  }

  #firstDoubt(partition: TopicPartition, offset: number): boolean {
    const key = keyOf(partition)
    const first = this.#doubts.get(key) !== offset
    if (first) this.#doubts.set(key, offset)
    return first
  }
}

function keyOf({ topicId, partition }: Pick<TopicPartition, 'topicId' | 'partition'>): string {
  return `${topicId} ${partition}`
}

function recreation({ topic, topicId }: TopicPartition, replacedTopicId: string): DataLoss {
  return {
    kind: 'recreated',
    message: `topic ${topic} was deleted and made again: it had the id ${replacedTopicId}, now it has ${topicId}`,
    from: null,
    to: null,
  }
}
