/** What happens to records, in the log and in readiness: troubles when they begin, change and end, and now and then a summary. */
import { type Health, type Logger, Trouble } from 'service-kit'
import type { CountedResponse, CountObserver, DataLoss, PartitionSummary, TopicPartition, Totals } from '../application/ports.ts'
import { heldBack } from './held-back.ts'
import type { SourceObserver } from './messaging/kafka-record-source.ts'

export interface CountReportOptions {
  readonly logger: Logger
  readonly health: Health
  /** That this instance counts. */
  readonly topic: string
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
}

/** Of a partition that has more than was counted, something must be counted within this time, in ms. */
const LONGEST_WITHOUT_PROGRESS = 30_000
/** An open transaction may hold records back for so long, in ms: twice the time that brokers give to one where its producer names none. */
const LONGEST_TRANSACTION = 120_000

/** A partition that this instance reads. */
interface OpenPartition {
  readonly at: TopicPartition
  position: number
  /** When it moved last, or had nothing left to count. */
  progressAt: number
  behind: number
  /** What an open transaction holds back, from which offset on, and since when. */
  heldBack: { readonly records: number; readonly from: number; readonly since: number } | null
  loss: DataLoss | null
}

export class CountReport implements CountObserver, SourceObserver {
  readonly #logger: Logger
  readonly #topic: string
  readonly #now: () => number
  readonly #store: Trouble
  readonly #file: Trouble
  readonly #deadLetterTopic: Trouble
  readonly #kafka: Trouble
  readonly #membership: Trouble
  /** Why there is nothing to read yet; null once there was. */
  #waiting: string | null = 'has not joined the group yet'
  /** Told of. */
  readonly #otherTopics = new Set<string>()
  readonly #open = new Map<string, OpenPartition>()
  /** Since the last summary. */
  #counted = 0
  #duplicates = 0
  #deadLetters = 0

  constructor({ logger, health, topic, now }: CountReportOptions) {
    this.#logger = logger
    this.#topic = topic
    this.#now = now
    this.#store = new Trouble({ logger, now, over: 'the store works again' })
    this.#file = new Trouble({ logger, now, over: 'the file of counts is written again' })
    this.#deadLetterTopic = new Trouble({ logger, now, over: 'dead letters are published again' })
    this.#kafka = new Trouble({ logger, now, over: 'Kafka answers again' })
    this.#membership = new Trouble({ logger, now, over: 'this instance is a member of the group again' })
    health.add('kafka', () => this.#kafka.reason ?? this.#membership.reason ?? this.#waiting)
    health.add('store', () => this.#store.reason)
    health.add('output-file', () => this.#file.reason)
    health.add('dead-letters', () => this.#deadLetterTopic.reason)
    health.add('partitions', () => this.#stoppedReason())
    health.add('progress', () => this.#progressReason())
  }

  /** Partitions that this instance reads now. */
  get partitions(): number {
    return this.#open.size
  }

  /** Under one group every topic goes into the same counts, which is rarely meant: KAFKA_TOPIC was changed, and the group was not. */
  partitionsSeen(partitions: readonly PartitionSummary[]): void {
    for (const { topic, counted } of partitions) {
      if (topic === this.#topic || counted === 0 || this.#otherTopics.has(topic)) continue
      this.#otherTopics.add(topic)
      this.#logger.warn(
        { topic },
        `this group has counted topic ${topic} too, and the file has the counts of both: give ${this.#topic} a KAFKA_GROUP_ID of its own if that is not meant`,
      )
    }
  }

  totals(_: Totals): void {}

  opened(at: TopicPartition): void {
    this.#open.set(keyOf(at), { at, position: -1, progressAt: this.#now(), behind: 0, heldBack: null, loss: null })
  }

  counted(at: TopicPartition, response: CountedResponse): void {
    this.#counted += response.counted
    this.#duplicates += response.duplicates
    for (const [, letters] of response.deadLetters) this.#deadLetters += letters
    const open = this.#open.get(keyOf(at))
    if (open === undefined) return
    open.behind = Math.max(0, response.lastStableOffset - response.position)
    if (open.behind === 0 || response.position > open.position) open.progressAt = this.#now()
    open.position = response.position
    const records = heldBack(response)
    const since = open.heldBack?.from === response.lastStableOffset ? open.heldBack.since : this.#now()
    open.heldBack = records > 0 ? { records, from: response.lastStableOffset, since } : null
  }

  committed(): void {}

  fenced({ topic, partition }: TopicPartition): void {
    this.#logger.info(
      { topic, partition },
      `partition ${partition} was opened by another instance, or reset, before this one knew: nothing is lost or counted twice`,
    )
  }

  stopped(at: TopicPartition, loss: DataLoss): void {
    const open = this.#open.get(keyOf(at)) ?? { at, position: -1, progressAt: this.#now(), behind: 0, heldBack: null, loss }
    open.loss = loss
    this.#open.set(keyOf(at), open)
    this.#logger.error(
      { topic: at.topic, partition: at.partition, kind: loss.kind, from: loss.from, to: loss.to },
      `partition ${at.partition} is left alone: ${loss.message}. Nothing else stops. ${whatNext(loss)}`,
    )
  }

  skipped({ topic, partition }: TopicPartition, loss: DataLoss): void {
    this.#logger.warn(
      { topic, partition, kind: loss.kind, from: loss.from, to: loss.to },
      `partition ${partition}: ${loss.message}. The gap is recorded, and counting goes on`,
    )
  }

  closed(at: TopicPartition): void {
    this.#open.delete(keyOf(at))
  }

  storeFailed(error: Error): void {
    this.#store.failed(error)
  }

  storeWorked(): void {
    this.#store.worked()
  }

  deadLettersPublished(): void {}

  /** Counting goes on, and the letters are in the store; but whoever watches the topic does not see them. */
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
    this.#waiting = `waits for topic ${topic}, which does not exist yet: the producer makes it`
    this.#logger.info({ topic }, this.#waiting)
  }

  /** A broker does not answer, or not as it should; it is asked again. */
  brokerAway(error: Error): void {
    this.#kafka.failed(error)
  }

  brokerBack(): void {
    this.#kafka.worked()
  }

  rebalanced(partitions: readonly number[]): void {
    this.#waiting = null
    this.#membership.worked()
    const these = partitions.length === 0 ? 'no partition' : `partition${partitions.length === 1 ? '' : 's'} ${partitions.join(', ')}`
    this.#logger.info({ partitions }, `the group has handed ${these} to this instance`)
  }

  mirrorAhead(partition: number, mirrored: number, position: number): void {
    this.#logger.warn(
      { partition, mirrored, position },
      `partition ${partition}: the group's offset ${mirrored} is ahead of the store's position ${position}: this store is older than what was counted before, or another one; counting goes on from the store`,
    )
  }

  membershipLost(error: Error): void {
    this.#membership.failed(error)
  }

  /** Sources were forgotten because a partition has too many: what they send again would count as new. */
  tooManySources({ topic, partition }: TopicPartition, sources: number): void {
    this.#logger.warn(
      { topic, partition, sources },
      `partition ${partition}: the ${sources} longest silent producers are forgotten, because there are more than SOURCE_MAX_COUNT`,
    )
  }

  /** Says what was counted since the last time; nothing where nothing was. */
  summarise(): void {
    if (this.#counted + this.#duplicates + this.#deadLetters === 0) return
    const behind = [...this.#open.values()].reduce((sum, open) => sum + open.behind, 0)
    const parts = [`counted ${this.#counted} records`]
    if (this.#duplicates > 0) parts.push(`${this.#duplicates} duplicates`)
    if (this.#deadLetters > 0) parts.push(`${this.#deadLetters} dead letters`)
    if (behind > 0) parts.push(`${behind} behind`)
    this.#logger.info({ counted: this.#counted, duplicates: this.#duplicates, deadLetters: this.#deadLetters, behind }, parts.join(', '))
    this.#counted = 0
    this.#duplicates = 0
    this.#deadLetters = 0
  }

  #stoppedReason(): string | null {
    const stopped = [...this.#open.values()].filter(({ loss }) => loss !== null)
    if (stopped.length === 0) return null
    return stopped.map(({ at, loss }) => `partition ${at.partition} is left alone: ${loss?.message}`).join('; ')
  }

  #progressReason(): string | null {
    const now = this.#now()
    const reading = [...this.#open.values()].filter(({ loss }) => loss === null)
    const reasons = [
      ...reading
        .filter(({ behind, progressAt }) => behind > 0 && now - progressAt > LONGEST_WITHOUT_PROGRESS)
        .map(
          ({ at, behind, progressAt }) =>
            `partition ${at.partition} is ${behind} records behind and has not moved for ${Math.round((now - progressAt) / 1000)} s`,
        ),
      ...reading.map(({ at, heldBack }) => {
        if (heldBack === null || now - heldBack.since <= LONGEST_TRANSACTION) return null
        const { records, from, since } = heldBack
        return `partition ${at.partition}: a producer's open transaction has held back ${records} records from offset ${from} on for ${Math.round((now - since) / 1000)} s: let it end, or abort it (kafka-transactions.sh find-hanging)`
      }),
    ].filter((reason) => reason !== null)
    return reasons.length === 0 ? null : reasons.join('; ')
  }
}

/** What an operator can do. A gap needs an end, or a log of its own to begin in. */
function whatNext({ kind, to }: DataLoss): string {
  if (kind === 'compacted') return 'ON_DATA_LOSS=continue does not count it either'
  if (to !== null || kind === 'recreated') return 'ON_DATA_LOSS=continue records the gap and goes on'
  if (kind === 'corrupt')
    return 'ON_DATA_LOSS=continue cannot go on from here: remove the records up to an offset behind the damage with kafka-delete-records, then it can'
  return 'ON_DATA_LOSS=continue cannot go on from here: poke-api-consumer reset --from-beginning counts what the log has now'
}

function keyOf({ topicId, partition }: TopicPartition): string {
  return `${topicId}/${partition}`
}
