/** Reports counting in the log and in readiness: failures when they begin, change and end, and a regular summary. */

import { type DataLoss, type GroupView, KafkaError, type ReaderObserver, type TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { type Health, type Logger, OutageLog } from '@poke-api-pipeline/service-kit'
import { partitionKey } from '../application/partition-key.ts'
import type { CountedResponse, CountObserver, PartitionSummary, StopReason } from '../application/ports.ts'
import type { GroupProgress } from './group-progress.ts'
import { AnomalousSources } from './source-anomalies.ts'

export interface CountReportOptions {
  readonly logger: Logger
  readonly health: Health
  /** The topic that this instance counts. */
  readonly topic: string
  readonly progress: Pick<GroupProgress, 'lagOf'>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
  /** Aborted when the service stops. */
  readonly stopping?: AbortSignal | undefined
}

/** The position of a partition with uncounted records must move within this time, in ms. */
const MAX_TIME_WITHOUT_PROGRESS = 30_000
/** An open transaction may hold records back for so long, in ms: twice the default timeout of transactions. */
const MAX_TRANSACTION_TIME = 120_000

/** A partition that this instance reads. */
interface OpenPartition {
  readonly at: TopicPartition
  position: number
  /** When the position moved last or had reached the last stable offset, plus the time since then in which the lag was not known. */
  progressAt: number
  /** When its lag was last asked for, and when it was last known. */
  lookedAt: number
  knownAt: number
  /** From which offset on an open transaction holds records back, and since when. */
  heldBack: { readonly from: number; readonly since: number } | null
  loss: StopReason | null
}

export class CountReport implements Partial<CountObserver>, Partial<ReaderObserver> {
  readonly #options: CountReportOptions
  readonly #logger: Logger
  readonly #store: OutageLog
  readonly #file: OutageLog
  readonly #deadLetterTopic: OutageLog
  readonly #kafka: OutageLog
  readonly #membership: OutageLog
  readonly #group: OutageLog
  readonly #quota: OutageLog
  readonly #anomalous: AnomalousSources
  /** Why nothing can be read yet; null after the group has assigned partitions. */
  #waiting: string | null = 'has not joined the group yet'
  /** Other topics that were warned of. */
  readonly #otherTopics = new Set<string>()
  readonly #open = new Map<string, OpenPartition>()
  /** Since the last summary. */
  #counted = 0
  #duplicates = 0
  #deadLetters = 0

  constructor(options: CountReportOptions) {
    const { logger, health, now, stopping } = options
    this.#options = options
    const outage = (over: string) => new OutageLog({ logger, now, stopping, over })
    this.#logger = logger
    this.#store = outage('the store works again')
    this.#file = outage('the file of counts is written again')
    this.#deadLetterTopic = outage('dead letters are published again')
    this.#kafka = outage('Kafka answers again')
    this.#membership = outage('this instance is a member of the group again')
    this.#group = outage('this service reads every partition of the topic again, and no other program is in its group')
    this.#quota = outage('Kafka no longer throttles this service')
    this.#anomalous = new AnomalousSources(now)
    health.add('sources', () => (this.#anomalous.reasons.length === 0 ? null : severalOf(this.#anomalous.reasons)))
    health.add('kafka', () => this.#kafka.reason ?? this.#membership.reason ?? this.#waiting)
    health.add('group', () => this.#group.reason)
    health.add('store', () => this.#store.reason)
    health.add('output-file', () => this.#file.reason)
    health.add('dead-letters', () => this.#deadLetterTopic.reason)
    health.add('partitions', () => this.#stoppedReason())
    health.add('progress', () => this.#progressReason())
  }

  /** How many sources have anomalies now. */
  get anomalousSources(): number {
    return this.#anomalous.reasons.length
  }

  /** All topics of a group go into the same counts. That is rarely meant: often KAFKA_TOPIC was changed, and KAFKA_GROUP_ID was not. */
  partitionsSeen(partitions: readonly PartitionSummary[]): void {
    for (const { topic, counted } of partitions) {
      if (topic === this.#options.topic || counted === 0 || this.#otherTopics.has(topic)) continue
      this.#otherTopics.add(topic)
      this.#logger.warn(
        { topic },
        `this group has counted topic ${topic} too, so the file has the counts of both topics. If that is not meant, set another KAFKA_GROUP_ID for ${this.#options.topic}`,
      )
    }
  }

  opened(at: TopicPartition): void {
    this.#open.set(partitionKey(at), newlyOpen(at, this.#options.now()))
  }

  counted(at: TopicPartition, response: CountedResponse): void {
    for (const anomaly of response.anomalies?.sources ?? []) {
      const reason = this.#anomalous.add(at, anomaly)
      if (reason !== null) this.#logger.warn({ topic: at.topic, partition: at.partition, ...anomaly }, reason)
    }
    this.#counted += response.counted
    this.#duplicates += response.duplicates
    for (const [, count] of response.deadLetters) this.#deadLetters += count
  }

  /** The ends of the logs were read, or could not be. Notes which partitions have moved. Call it after `GroupProgress.logEnds`. */
  logEnds(): void {
    for (const open of this.#open.values()) {
      const now = this.#options.now()
      const lag = this.#options.progress.lagOf(open.at)
      if (lag === null) open.progressAt += now - open.lookedAt
      open.lookedAt = now
      if (lag === null) continue
      open.knownAt = now
      if (lag.records === lag.heldBack || lag.position > open.position) open.progressAt = now
      open.position = lag.position
      const since = open.heldBack?.from === lag.stableEnd ? open.heldBack.since : now
      open.heldBack = lag.heldBack > 0 ? { from: lag.stableEnd, since } : null
    }
  }

  fenced({ topic, partition }: TopicPartition): void {
    this.#logger.info(
      { topic, partition },
      `another instance opened partition ${partition}, or it was reset, before this instance knew. Nothing is lost or counted twice`,
    )
  }

  stopped(at: TopicPartition, loss: StopReason): void {
    const open = this.#open.get(partitionKey(at)) ?? newlyOpen(at, this.#options.now())
    open.loss = loss
    this.#open.set(partitionKey(at), open)
    this.#logger.error(
      { topic: at.topic, partition: at.partition, kind: loss.kind, from: loss.from, to: loss.to },
      `partition ${at.partition} is stopped: ${loss.message}. All other partitions are counted. ${whatNext(loss)}`,
    )
  }

  skipped({ topic, partition }: TopicPartition, loss: DataLoss): void {
    this.#logger.warn(
      { topic, partition, kind: loss.kind, from: loss.from, to: loss.to },
      `partition ${partition}: ${loss.message}. The gap is recorded, and counting goes on`,
    )
  }

  closed(at: TopicPartition): void {
    this.#open.delete(partitionKey(at))
    this.#anomalous.closed(at)
  }

  storeFailed(error: Error): void {
    this.#store.failed(error)
  }

  storeWorked(): void {
    this.#store.worked()
  }

  /** Counting goes on, and the dead letters are in the store. Readers of the dead-letter topic do not see them yet. */
  deadLetterPublishingFailed(error: Error): void {
    this.#deadLetterTopic.failed(error)
  }

  deadLetterPublishingWorked(): void {
    this.#deadLetterTopic.worked()
  }

  fileWritten(): void {
    this.#file.worked()
  }

  fileFailed(error: Error): void {
    this.#file.failed(error)
  }

  waitingForTopic(topic: string): void {
    this.#waiting = `waits for topic ${topic}, which does not exist yet: the producer creates it`
    this.#logger.info({ topic }, this.#waiting)
  }

  /** A broker does not answer, or gives a wrong answer. The request is retried. */
  brokerAway(error: Error): void {
    this.#kafka.failed(error)
  }

  brokerBack(): void {
    this.#kafka.worked()
  }

  /** Readiness stays, because records are counted, only more slowly. */
  throttled(error: Error): void {
    this.#quota.failed(error)
  }

  notThrottled(): void {
    this.#quota.worked()
  }

  rebalanced(partitions: readonly number[]): void {
    this.#waiting = null
    this.#membership.worked()
    const these = partitions.length === 0 ? 'no partition' : `partition${partitions.length === 1 ? '' : 's'} ${partitions.join(', ')}`
    this.#logger.info({ partitions }, `the group has assigned ${these} to this instance`)
  }

  mirrorDiffers(partition: number, mirrored: number, position: number): void {
    const why =
      mirrored > position
        ? `is ahead of the store's position ${position}: this store is older than what was counted before, or another one`
        : `is behind the store's position ${position}, and was not written by this version of this service, but by another program, kafka-consumer-groups for instance: poke-api-consumer reset --from-beginning counts records again`
    this.#logger.warn(
      { partition, mirrored, position },
      `partition ${partition}: the group's offset ${mirrored} ${why}; counting goes on from the store`,
    )
  }

  groupSeen({ reasons }: GroupView): void {
    if (reasons.length === 0) this.#group.worked()
    else this.#group.failed(new KafkaError('foreign-member', reasons.join('; ')))
  }

  membershipLost(error: Error): void {
    this.#membership.failed(error)
  }

  /** Sources were forgotten because a partition has too many. If they send records again, these count a second time. */
  tooManySources({ topic, partition }: TopicPartition, sources: number): void {
    this.#logger.warn(
      { topic, partition, sources },
      `partition ${partition}: the ${sources} producers that were silent for longest are forgotten, because there are more than SOURCE_MAX_COUNT. Records that they send again are counted again`,
    )
  }

  /** Logs the amounts since the last call, unless all are 0. */
  summarise(): void {
    if (this.#counted + this.#duplicates + this.#deadLetters === 0) return
    const lags = [...this.#open.values()].map(({ at }) => this.#options.progress.lagOf(at)).filter((lag) => lag !== null)
    const behind = lags.reduce((sum, { records }) => sum + records, 0)
    const heldBack = lags.reduce((sum, lag) => sum + lag.heldBack, 0)
    const parts = [`counted ${this.#counted} records`]
    if (this.#duplicates > 0) parts.push(`${this.#duplicates} duplicates`)
    if (this.#deadLetters > 0) parts.push(`${this.#deadLetters} dead letters`)
    if (behind > 0) parts.push(`${behind} behind`)
    if (heldBack > 0) parts.push(`${heldBack} of them held back by open transactions`)
    const amounts = { counted: this.#counted, duplicates: this.#duplicates, deadLetters: this.#deadLetters, behind, heldBack }
    this.#logger.info(amounts, parts.join(', '))
    this.#counted = 0
    this.#duplicates = 0
    this.#deadLetters = 0
  }

  #stoppedReason(): string | null {
    const stopped = [...this.#open.values()].filter(({ loss }) => loss !== null)
    if (stopped.length === 0) return null
    return stopped.map(({ at, loss }) => `partition ${at.partition} is stopped: ${loss?.message}`).join('; ')
  }

  #progressReason(): string | null {
    const reasons: string[] = []
    for (const { at, loss, progressAt, knownAt, heldBack } of this.#open.values()) {
      const lag = this.#options.progress.lagOf(at)
      if (loss !== null) continue
      if (lag === null) {
        const silent = this.#options.now() - knownAt
        if (silent > MAX_TIME_WITHOUT_PROGRESS && !this.#isAway)
          reasons.push(`the leader of partition ${at.partition} has not told for ${Math.round(silent / 1000)} s where its log ends`)
        continue
      }
      const [still, held] = [this.#options.now() - progressAt, this.#options.now() - (heldBack?.since ?? this.#options.now())]
      if (lag.records > lag.heldBack && still > MAX_TIME_WITHOUT_PROGRESS) {
        reasons.push(
          `partition ${at.partition} is ${lag.records - lag.heldBack} records behind and has not moved for ${Math.round(still / 1000)} s`,
        )
      }
      if (lag.heldBack > 0 && held > MAX_TRANSACTION_TIME) {
        reasons.push(
          `partition ${at.partition}: a producer's open transaction has held back ${lag.heldBack} records from offset ${lag.stableEnd} on for ${Math.round(held / 1000)} s: let it end, or abort it (kafka-transactions.sh find-hanging)`,
        )
      }
    }
    if (reasons.length === 0) return null
    return [...reasons, ...(this.#quota.reason === null ? [] : [this.#quota.reason])].join('; ')
  }

  /** Whether a failure that keeps the lag from being known is reported already. */
  get #isAway(): boolean {
    return this.#kafka.reason !== null || this.#store.reason !== null
  }
}

function newlyOpen(at: TopicPartition, now: number): OpenPartition {
  return { at, position: -1, progressAt: now, lookedAt: now, knownAt: now, heldBack: null, loss: null }
}

/** At most so many sentences are shown in readiness. */
const MAX_SENTENCES = 3

function severalOf(sentences: readonly string[]): string {
  const more = sentences.length - MAX_SENTENCES
  return sentences.slice(0, MAX_SENTENCES).join('; ') + (more > 0 ? `; and ${more} more sources` : '')
}

/** What an operator can do. A gap can be recorded only if its end is known, or if a new log begins. */
function whatNext({ kind, to }: StopReason): string {
  if (kind === 'compacted')
    return 'ON_DATA_LOSS=continue does not count it either while it is compacted; afterwards it records the gaps and goes on'
  if (kind === 'too-many-types')
    return 'Raise TYPE_MAX_COUNT, with 1 kB of memory for each name, and start this instance again: it goes on from here'
  if (kind === 'batch-too-large') {
    const orElse = to === null ? '' : '; or ON_DATA_LOSS=continue records the gap and goes on'
    return `Raise BATCH_MAX_BYTES, with four times as much memory, and start this instance again: it goes on from here${orElse}`
  }
  if (to !== null || kind === 'recreated') return 'ON_DATA_LOSS=continue records the gap and goes on'
  if (kind === 'corrupt')
    return 'ON_DATA_LOSS=continue cannot go on from here: remove the records up to an offset behind the damage with kafka-delete-records, then it can'
  return 'ON_DATA_LOSS=continue cannot go on from here: poke-api-consumer reset --from-beginning counts what the log has now'
}
