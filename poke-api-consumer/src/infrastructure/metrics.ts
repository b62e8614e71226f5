/** Counts and measures for Prometheus. `docs/metrics.md` specifies the metrics. */

import type { DataLoss, FetchPosition, GroupView, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { Counter, Gauge, Histogram, LOCAL_SECONDS, type Registry } from '@poke-api-pipeline/service-kit'
import type { CountedResponse, CountObserver } from '../application/ports.ts'
import type { GroupProgress, Lag } from './group-progress.ts'

/** From a record's timestamp to its count: from a few ms to the hours of a backlog. */
const EVENT_TO_COUNT_SECONDS = [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60, 600, 3600]

/** Kinds of loss that can be skipped (`ON_DATA_LOSS=continue`). Each is exported as 0 from the start, because an alert on a rise needs the value before. */
const SKIPPED_KINDS = ['retention', 'truncated', 'recreated', 'corrupt', 'batch-too-large', 'missing'] as const satisfies DataLoss['kind'][]

export interface ConsumerMetricsOptions {
  readonly registry: Registry
  readonly progress: Pick<GroupProgress, 'lags'>
  /** The time of day, in ms since 1970: records carry it. */
  readonly timeOfDay: () => number
  /** How many sources have anomalies now. */
  readonly anomalousSources: () => number
}

export class ConsumerMetrics implements Partial<CountObserver> {
  readonly #timeOfDay: () => number
  readonly #counted: Counter
  readonly #duplicates: Counter
  readonly #leaping: Counter
  readonly #late: Counter
  readonly #deadLetters: Counter<'reason'>
  readonly #deadLettersPublished: Counter
  readonly #deadLetterFailures: Counter
  readonly #fences: Counter
  readonly #commits: Counter
  readonly #commitSeconds: Histogram
  readonly #position: Gauge<'partition'>
  readonly #fetchedBytes: Counter
  readonly #rebalances: Counter
  readonly #fileWrites: Counter
  readonly #fileFailures: Counter
  readonly #eventToCountSeconds: Histogram
  readonly #owned: Gauge
  readonly #foreignMembers: Gauge
  readonly #unread: Gauge
  readonly #stopped: Gauge<'partition'>
  readonly #gaps: Counter<'kind'>
  readonly #storeFailures: Counter
  readonly #sourcesForgotten: Counter<'why'>
  readonly #open = new Set<string>()

  constructor({ registry, progress, timeOfDay, anomalousSources }: ConsumerMetricsOptions) {
    this.#timeOfDay = timeOfDay
    const registers = [registry]
    const counter = (name: string, help: string) => new Counter({ name, help, registers })
    const byPartition = (name: string, help: string) => new Gauge({ name, help, labelNames: ['partition'], registers })
    this.#counted = counter('poke_records_counted_total', 'Records that this instance has counted.')
    this.#duplicates = counter('poke_records_duplicate_total', 'Records that were recognised as duplicates, and not counted again.')
    this.#leaping = counter(
      'poke_records_leaping_total',
      'Records whose sequence is too far above the last one of their source: they were counted, and the last sequence stayed.',
    )
    this.#late = counter(
      'poke_records_late_total',
      'Records that were taken for duplicates, although their sequence was not read before: a newer one of their source came first. They are not counted.',
    )
    new Gauge({
      name: 'poke_sources_doubted',
      help: 'Sources of events that another program seems to use, or that number their events wrongly; readiness names them.',
      registers,
      collect() {
        this.set(anomalousSources())
      },
    })
    this.#deadLetters = new Counter({
      name: 'poke_dead_letters_total',
      help: 'Records that cannot be counted and were stored as dead letters, by reason.',
      labelNames: ['reason'],
      registers,
    })
    this.#deadLettersPublished = counter('poke_dead_letters_published_total', 'Dead letters that the dead-letter topic has acknowledged.')
    this.#deadLetterFailures = counter(
      'poke_dead_letter_publish_failures_total',
      'Attempts to publish dead letters that failed. They stay in the store.',
    )
    this.#fences = counter(
      'poke_fences_total',
      'Commits that the store refused because another instance has taken over the partition. No count is lost by this.',
    )
    this.#commits = counter('poke_commits_total', 'Transactions that stored a position together with its counts.')
    this.#commitSeconds = new Histogram({
      name: 'poke_commit_seconds',
      help: 'Duration of one commit, in seconds.',
      buckets: LOCAL_SECONDS,
      registers,
    })
    this.#position = byPartition('poke_position_offset', 'The next offset to count, of each partition that this instance reads.')
    const ofLag = (name: string, help: string, amount: (lag: Lag) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['partition'],
        registers,
        // Computed at each scrape; a lag that is not known is left out.
        collect() {
          this.reset()
          for (const [partition, lag] of progress.lags().entries()) if (lag !== null) this.set({ partition }, amount(lag))
        },
      })
    ofLag(
      'poke_lag_records',
      'Offsets from the position of the group to the high watermark, for each partition of the topic, also for those that other instances read. No sample while it is not known.',
      ({ records }) => records,
    )
    ofLag(
      'poke_held_back_records',
      'The part of the lag that cannot be read yet because transactions of producers are open.',
      ({ heldBack }) => heldBack,
    )
    this.#fetchedBytes = counter('poke_fetched_bytes_total', 'Bytes of records in the responses that were counted.')
    this.#rebalances = counter('poke_rebalances_total', 'Times that the group has assigned partitions to this instance.')
    this.#fileWrites = counter('poke_file_writes_total', 'Times that the file of counts was written.')
    this.#fileFailures = counter('poke_file_failures_total', 'Attempts to write the file of counts that failed.')
    this.#eventToCountSeconds = new Histogram({
      name: 'poke_event_to_count_seconds',
      help: 'Time from the timestamp of a record to the commit that counts it, in seconds; of the newest record of each response.',
      buckets: EVENT_TO_COUNT_SECONDS,
      registers,
    })
    this.#owned = new Gauge({ name: 'poke_partitions_owned', help: 'Partitions that this instance reads.', registers })
    this.#foreignMembers = new Gauge({
      name: 'poke_foreign_members',
      help: 'Members of the consumer group that are not instances of this service.',
      registers,
    })
    this.#unread = new Gauge({
      name: 'poke_unread_partitions',
      help: 'Partitions of the topic that no instance of this service reads: another program of the group has them, or no member had them for longer than a session.',
      registers,
    })
    this.#stopped = byPartition(
      'poke_partition_stopped',
      '1 for a partition that is stopped because records of it were lost; you have to decide (`ON_DATA_LOSS`).',
    )
    this.#gaps = new Counter({
      name: 'poke_gaps_total',
      help: 'Gaps that were recorded and skipped because records were lost, by the kind of loss.',
      labelNames: ['kind'],
      registers,
    })
    for (const kind of SKIPPED_KINDS) this.#gaps.inc({ kind }, 0)
    this.#storeFailures = counter('poke_store_failures_total', 'Failures of the store to open a partition or to commit; they are retried.')
    this.#sourcesForgotten = new Counter({
      name: 'poke_sources_forgotten_total',
      help: 'Producers whose last sequence was forgotten: `silent` for too long, or `too-many` in a partition.',
      labelNames: ['why'],
      registers,
    })
    for (const why of ['silent', 'too-many']) this.#sourcesForgotten.inc({ why }, 0)
  }

  opened({ topicId, partition }: TopicPartition, { offset }: FetchPosition): void {
    this.#open.add(`${topicId}/${partition}`)
    this.#owned.set(this.#open.size)
    if (offset !== 'log-start') this.#position.set({ partition }, offset)
    this.#stopped.set({ partition }, 0)
  }

  counted({ partition }: TopicPartition, response: CountedResponse): void {
    const { counted, duplicates, deadLetters, newestTimestamp, bytes, position, anomalies } = response
    this.#counted.inc(counted)
    this.#duplicates.inc(duplicates)
    this.#leaping.inc(anomalies?.leaps ?? 0)
    this.#late.inc(anomalies?.late ?? 0)
    for (const [reason, count] of deadLetters) this.#deadLetters.inc({ reason }, count)
    this.#fetchedBytes.inc(bytes)
    this.#position.set({ partition }, position)
    // The clock of the producer may be ahead of ours, so the difference may be negative.
    if (newestTimestamp >= 0) this.#eventToCountSeconds.observe(Math.max(0, this.#timeOfDay() - newestTimestamp) / 1000)
  }

  committed(_: TopicPartition, seconds: number): void {
    this.#commits.inc()
    this.#commitSeconds.observe(seconds)
  }

  fenced(): void {
    this.#fences.inc()
  }

  stopped({ partition }: TopicPartition): void {
    this.#stopped.set({ partition }, 1)
  }

  skipped(_: TopicPartition, { kind }: { readonly kind: string }): void {
    this.#gaps.inc({ kind })
  }

  closed({ topicId, partition }: TopicPartition): void {
    this.#open.delete(`${topicId}/${partition}`)
    this.#owned.set(this.#open.size)
    // The instance that reads the partition now exports them.
    for (const gauge of [this.#position, this.#stopped]) gauge.remove({ partition })
  }

  storeFailed(): void {
    this.#storeFailures.inc()
  }

  deadLettersPublished(count: number): void {
    this.#deadLettersPublished.inc(count)
  }

  deadLetterPublishingFailed(): void {
    this.#deadLetterFailures.inc()
  }

  fileWritten(): void {
    this.#fileWrites.inc()
  }

  fileFailed(): void {
    this.#fileFailures.inc()
  }

  groupSeen({ foreignMembers, unread }: GroupView): void {
    this.#foreignMembers.set(foreignMembers)
    this.#unread.set(unread.length)
  }

  /** The group has assigned partitions to this instance. */
  rebalanced(): void {
    this.#rebalances.inc()
  }

  /** The store has forgotten the last sequences of so many sources (rule C3). */
  sourcesForgotten(why: 'silent' | 'too-many', sources: number): void {
    this.#sourcesForgotten.inc({ why }, sources)
  }
}
