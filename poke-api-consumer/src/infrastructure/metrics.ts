/** Counts and measures for Prometheus. `docs/metrics.md` specifies the metrics. */

import type { DataLoss, FetchPosition, GroupView, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { type Gauge, LOCAL_SECONDS, metricsIn, type Registry } from '@poke-api-pipeline/service-kit'
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
  readonly #metrics: ReturnType<typeof makeMetrics>
  readonly #open = new Set<string>()

  constructor(options: ConsumerMetricsOptions) {
    this.#timeOfDay = options.timeOfDay
    this.#metrics = makeMetrics(metricsIn(options.registry), options)
    for (const kind of SKIPPED_KINDS) this.#metrics.gaps.inc({ kind }, 0)
    for (const why of ['silent', 'too-many']) this.#metrics.sourcesForgotten.inc({ why }, 0)
  }

  opened({ topicId, partition }: TopicPartition, { offset }: FetchPosition): void {
    this.#open.add(`${topicId}/${partition}`)
    this.#metrics.owned.set(this.#open.size)
    if (offset !== 'log-start') this.#metrics.position.set({ partition }, offset)
    this.#metrics.stopped.set({ partition }, 0)
  }

  counted({ partition }: TopicPartition, response: CountedResponse): void {
    const { counted, duplicates, deadLetters, newestTimestamp, bytes, position, anomalies } = response
    this.#metrics.counted.inc(counted)
    this.#metrics.duplicates.inc(duplicates)
    this.#metrics.leaping.inc(anomalies?.leaps ?? 0)
    this.#metrics.late.inc(anomalies?.late ?? 0)
    for (const [reason, count] of deadLetters) this.#metrics.deadLetters.inc({ reason }, count)
    this.#metrics.fetchedBytes.inc(bytes)
    this.#metrics.position.set({ partition }, position)
    // The clock of the producer may be ahead of ours, so the difference may be negative.
    if (newestTimestamp >= 0) this.#metrics.eventToCountSeconds.observe(Math.max(0, this.#timeOfDay() - newestTimestamp) / 1000)
  }

  committed(_: TopicPartition, seconds: number): void {
    this.#metrics.commits.inc()
    this.#metrics.commitSeconds.observe(seconds)
  }

  fenced(): void {
    this.#metrics.fences.inc()
  }

  stopped({ partition }: TopicPartition): void {
    this.#metrics.stopped.set({ partition }, 1)
  }

  skipped(_: TopicPartition, { kind }: { readonly kind: string }): void {
    this.#metrics.gaps.inc({ kind })
  }

  closed({ topicId, partition }: TopicPartition): void {
    this.#open.delete(`${topicId}/${partition}`)
    this.#metrics.owned.set(this.#open.size)
    // The instance that reads the partition now exports them.
    for (const gauge of [this.#metrics.position, this.#metrics.stopped]) gauge.remove({ partition })
  }

  storeFailed(): void {
    this.#metrics.storeFailures.inc()
  }

  deadLettersPublished(count: number): void {
    this.#metrics.deadLettersPublished.inc(count)
  }

  deadLetterPublishingFailed(): void {
    this.#metrics.deadLetterFailures.inc()
  }

  fileWritten(): void {
    this.#metrics.fileWrites.inc()
  }

  fileFailed(): void {
    this.#metrics.fileFailures.inc()
  }

  groupSeen({ foreignMembers, unread }: GroupView): void {
    this.#metrics.foreignMembers.set(foreignMembers)
    this.#metrics.unread.set(unread.length)
  }

  /** The group has assigned partitions to this instance. */
  rebalanced(): void {
    this.#metrics.rebalances.inc()
  }

  /** The store has forgotten the last sequences of so many sources (rule C3). */
  sourcesForgotten(why: 'silent' | 'too-many', sources: number): void {
    this.#metrics.sourcesForgotten.inc({ why }, sources)
  }
}

function makeMetrics(
  { counter, gauge, computed, histogram }: ReturnType<typeof metricsIn>,
  { progress, anomalousSources }: Pick<ConsumerMetricsOptions, 'progress' | 'anomalousSources'>,
) {
  // A lag that is not known is left out.
  const ofLag = (name: string, help: string, amount: (lag: Lag) => number) => {
    const collect = (gauge: Gauge<'partition'>) => {
      gauge.reset()
      for (const [partition, lag] of progress.lags().entries()) if (lag !== null) gauge.set({ partition }, amount(lag))
    }
    return computed(name, help, collect, 'partition')
  }
  return {
    counted: counter('poke_records_counted_total', 'Records that this instance has counted.'),
    duplicates: counter('poke_records_duplicate_total', 'Records that were recognised as duplicates, and not counted again.'),
    leaping: counter(
      'poke_records_leaping_total',
      'Records whose sequence is too far above the last one of their source: they were counted, and the last sequence stayed.',
    ),
    late: counter(
      'poke_records_late_total',
      'Records that were taken for duplicates, although their sequence was not read before: a newer one of their source came first. They are not counted.',
    ),
    sourcesDoubted: computed(
      'poke_sources_doubted',
      'Sources of events that another program seems to use, or that number their events wrongly; readiness names them.',
      (gauge) => gauge.set(anomalousSources()),
    ),
    deadLetters: counter('poke_dead_letters_total', 'Records that cannot be counted and were stored as dead letters, by reason.', 'reason'),
    deadLettersPublished: counter('poke_dead_letters_published_total', 'Dead letters that the dead-letter topic has acknowledged.'),
    deadLetterFailures: counter(
      'poke_dead_letter_publish_failures_total',
      'Attempts to publish dead letters that failed. They stay in the store.',
    ),
    fences: counter(
      'poke_fences_total',
      'Commits that the store refused because another instance, or a reset, has moved the partition. No count is lost by this.',
    ),
    commits: counter('poke_commits_total', 'Transactions that stored a position together with its counts.'),
    commitSeconds: histogram('poke_commit_seconds', 'Duration of one commit, in seconds.', LOCAL_SECONDS),
    position: gauge('poke_position_offset', 'The next offset to count, of each partition that this instance reads.', 'partition'),
    lag: ofLag(
      'poke_lag_records',
      'Offsets from the position of the group to the high watermark, for each partition of the topic, also for those that other instances read. No sample while it is not known.',
      ({ records }) => records,
    ),
    heldBack: ofLag(
      'poke_held_back_records',
      'The part of the lag that cannot be read yet because transactions of producers are open.',
      ({ heldBack }) => heldBack,
    ),
    fetchedBytes: counter('poke_fetched_bytes_total', 'Bytes of records in the responses that were counted.'),
    rebalances: counter('poke_rebalances_total', 'Times that the group has assigned partitions to this instance.'),
    fileWrites: counter('poke_file_writes_total', 'Times that the file of counts was written.'),
    fileFailures: counter('poke_file_failures_total', 'Attempts to write the file of counts that failed.'),
    eventToCountSeconds: histogram(
      'poke_event_to_count_seconds',
      'Time from the timestamp of a record to the commit that counts it, in seconds; of the newest record of each response.',
      EVENT_TO_COUNT_SECONDS,
    ),
    owned: gauge('poke_partitions_owned', 'Partitions that this instance reads.'),
    foreignMembers: gauge('poke_foreign_members', 'Members of the consumer group that are not instances of this service.'),
    unread: gauge(
      'poke_unread_partitions',
      'Partitions of the topic that no instance of this service reads: another program of the group has them, or no member had them for longer than a session.',
    ),
    stopped: gauge(
      'poke_partition_stopped',
      '1 for a partition that is stopped because records of it were lost; you have to decide (`ON_DATA_LOSS`).',
      'partition',
    ),
    gaps: counter('poke_gaps_total', 'Gaps that were recorded and skipped because records were lost, by the kind of loss.', 'kind'),
    storeFailures: counter('poke_store_failures_total', 'Failures of the store to open a partition or to commit; they are retried.'),
    sourcesForgotten: counter(
      'poke_sources_forgotten_total',
      'Producers whose last sequence was forgotten: `silent` for too long, or `too-many` in a partition.',
      'why',
    ),
  }
}
