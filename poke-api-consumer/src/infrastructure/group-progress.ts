/**
 * The progress of the whole group: the store's position and counts of each partition, and its lag behind the end of the log, which the leader tells.
 * The page, the API, the metrics, the log and readiness take their figures from here, so that all of them are equal.
 *
 * The store is read once a second. Commits of this instance in between are added at once, and never twice: counts and position change together, so
 * the position that was read shows which commits it includes.
 */

import type { FetchPosition, LogBounds, LogWatchObserver, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { newestOf } from '../application/newest-event.ts'
import { partitionKey } from '../application/partition-key.ts'
import type { CountedResponse, CountObserver, PartitionSummary } from '../application/ports.ts'

/** A partition of the group. */
export interface GroupPartition extends PartitionSummary {
  /** Whether this instance reads it. */
  readonly here: boolean
  /** Null if it is not known, because the leader or the store does not answer. */
  readonly lag: Lag | null
}

/** How far the group is behind in a partition. */
export interface Lag {
  /** Offsets from the group's position to the high watermark. */
  readonly records: number
  /** How many of them open transactions hold back. */
  readonly heldBack: number
  /** The group's position: the next offset to count. */
  readonly position: number
  /** The last stable offset: the first offset that cannot be read yet. */
  readonly stableEnd: number
}

/** For how long the end of a log is valid, in ms. Leaders are asked once a second. */
const END_VALID_FOR = 4000

/** Stands in for the store's time of a commit of this instance since the store was read: such a commit is newer than everything that was read. */
const OWN_TIME = 2 ** 52

type Amounts = Pick<PartitionSummary, 'counted' | 'duplicates' | 'deadLetters'>
const NOTHING: Amounts = { counted: 0, duplicates: 0, deadLetters: 0 }

/** What this instance knows of a partition and the last reading of the store does not include. */
interface OwnPartition {
  /** False if it was closed, and the store was not read since. */
  here: boolean
  /** The newest position; null: the store's. */
  position: FetchPosition | null
  /** Whether the position is newer than the beginning of the last reading of the store. */
  isNewer: boolean
  /** The last event of these commits; null: the store's. */
  newest: GroupPartition['newest'] | null
  /** Committed before the last reading of the store began. */
  before: Amounts
  /** Committed since then, each with the position after it. */
  since: (Amounts & { readonly position: number })[]
}

export class GroupProgress implements Partial<CountObserver>, LogWatchObserver {
  readonly #now: () => number
  /** The partitions that were read last; null before the first reading. */
  #stored: ReadonlyMap<string, PartitionSummary> | null = null
  readonly #own = new Map<string, OwnPartition>()
  /** The topic that the service reads now. */
  #topic: { readonly topic: string; readonly topicId: string; readonly partitions: number } | null = null
  /** By partition of that topic. */
  readonly #logs = new Map<number, LogBounds & { readonly toldAt: number }>()
  #version = 0
  #commits = 0

  /** @param now a clock that never goes backwards, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Rises whenever a figure changes. */
  get version(): number {
    return this.#version
  }

  /** Whether the store was read: before, nothing is known of the group. */
  get isKnown(): boolean {
    return this.#stored !== null
  }

  /** The id of the topic that the service reads now; null before it is known. */
  get topicId(): string | null {
    return this.#topic?.topicId ?? null
  }

  /** Call it before the store is read. Commits from now on may be missing in the result. */
  readingStore(): void {
    for (const own of this.#own.values()) {
      own.before = own.since.reduce(plus, own.before)
      own.since = []
      own.isNewer = false
    }
    for (const [partition, { toldAt }] of this.#logs) if (this.#now() - toldAt > END_VALID_FOR) this.#forget(partition)
  }

  /** @param partitions all partitions of the group, read after `readingStore` */
  storeRead(partitions: readonly PartitionSummary[]): void {
    const before = this.#stored
    this.#stored = new Map(partitions.map((partition) => [partitionKey(partition), partition]))
    for (const [key, own] of [...this.#own]) {
      const offset = this.#storedOffset(key)
      if (own.before.counted + own.before.duplicates + own.before.deadLetters > 0) this.#version++
      own.before = NOTHING
      own.since = own.since.filter(({ position }) => position > offset)
      if (own.since.length > 0 || own.isNewer) continue
      own.position = null
      own.newest = null
      if (!own.here) this.#own.delete(key)
    }
    if (before === null || isChanged(before, this.#stored)) this.#version++
  }

  opened(partition: TopicPartition, position: FetchPosition): void {
    const key = partitionKey(partition)
    const known = this.#own.get(key)
    // An earlier position than before shows a reset, which has deleted all counts.
    const wasReset = typeof known?.position?.offset === 'number' && !(Number(position.offset) >= known.position.offset)
    const { before, since, newest } = known === undefined || wasReset ? { before: NOTHING, since: [], newest: null } : known
    this.#own.set(key, { here: true, position, isNewer: true, newest, before, since })
    this.#version++
  }

  counted(partition: TopicPartition, response: CountedResponse): void {
    const own = this.#own.get(partitionKey(partition))
    if (own === undefined) return
    const deadLetters = [...response.deadLetters.values()].reduce((sum, count) => sum + count, 0)
    const { counted, duplicates, position, highWatermark, lastStableOffset } = response
    const offset = this.#position(partition)?.offset
    if (counted + duplicates + deadLetters > 0 || (typeof offset === 'number' && position > offset)) {
      own.position = { offset: position, leaderEpoch: -1 }
      own.isNewer = true
      const event = newestOf([response])
      if (event !== null) own.newest = { event, countedAt: OWN_TIME + ++this.#commits }
      // The last reading of the store may include it already.
      if (position > this.#storedOffset(partitionKey(partition))) own.since.push({ counted, duplicates, deadLetters, position })
      this.#version++
    }
    const log = this.#logs.get(partition.partition)
    if (log === undefined || partition.topicId !== this.#topic?.topicId) return
    // The response is older than its commit, so the leader may have told of more records meanwhile.
    const [end, stableEnd] = [Math.max(log.end, highWatermark), Math.max(log.stableEnd, lastStableOffset)]
    if (end === log.end && stableEnd === log.stableEnd) return
    this.#logs.set(partition.partition, { ...log, end, stableEnd })
    this.#version++
  }

  closed(partition: TopicPartition): void {
    const own = this.#own.get(partitionKey(partition))
    if (own === undefined) return
    own.here = false
    this.#version++
  }

  logEnds(
    topic: { readonly topic: string; readonly topicId: string },
    partitions: number,
    ends: ReadonlyMap<number, LogBounds | null>,
  ): void {
    if (this.#topic?.topicId !== topic.topicId) this.#logs.clear()
    if (this.#topic?.topicId !== topic.topicId || this.#topic.partitions !== partitions) this.#version++
    this.#topic = { ...topic, partitions }
    for (const [partition, log] of ends) {
      if (log === null) this.#forget(partition)
      else {
        const before = this.#logs.get(partition)
        if (before?.start !== log.start || before.end !== log.end || before.stableEnd !== log.stableEnd) this.#version++
        this.#logs.set(partition, { ...log, toldAt: this.#now() })
      }
    }
  }

  /** @returns null if it is not known: the leader does not answer, the partition belongs to another topic, or the store was never read */
  lagOf({ topicId, partition }: Pick<TopicPartition, 'topicId' | 'partition'>): Lag | null {
    const log = topicId === this.#topic?.topicId ? this.#logs.get(partition) : undefined
    const stored = this.#position({ topicId, partition })
    if (log === undefined || stored === null || this.#now() - log.toldAt > END_VALID_FOR) return null
    const { end, stableEnd } = log
    const position = stored.offset === 'log-start' ? log.start : stored.offset
    return { records: Math.max(0, end - position), heldBack: Math.max(0, end - Math.max(stableEnd, position)), position, stableEnd }
  }

  /** @returns the lag of each partition of the topic, whoever reads it, in order; null for those whose lag is not known */
  lags(): (Lag | null)[] {
    const { topicId = '', partitions = 0 } = this.#topic ?? {}
    return Array.from({ length: partitions }, (_, partition) => this.lagOf({ topicId, partition }))
  }

  /** @returns the sum over all partitions of the topic; null unless the lag of each is known */
  totalLag(): Pick<Lag, 'records' | 'heldBack'> | null {
    const lags = this.lags()
    if (lags.length === 0 || lags.includes(null)) return null
    return (lags as Lag[]).reduce((sum, lag) => ({ records: sum.records + lag.records, heldBack: sum.heldBack + lag.heldBack }), {
      records: 0,
      heldBack: 0,
    })
  }

  /** @returns every partition that the group has ever read, and all others of the topic; null before the store was read */
  partitions(): GroupPartition[] | null {
    if (this.#stored === null) return null
    const known = [...this.#stored.values()].map((stored): GroupPartition => {
      const own = this.#own.get(partitionKey(stored))
      const lag = this.lagOf(stored)
      if (own === undefined) return { ...stored, here: false, lag }
      const amounts = own.since.reduce(plus, plus(own.before, stored))
      const newest = own.newest ?? stored.newest
      return { ...stored, ...amounts, position: own.position ?? stored.position, here: own.here, lag, ...(newest && { newest }) }
    })
    const { topic = '', topicId = '', partitions = 0 } = this.#topic ?? {}
    for (let partition = 0; partition < partitions; partition++) {
      const at = { topic, topicId, partition }
      if (this.#stored.has(partitionKey(at))) continue
      const here = this.#own.get(partitionKey(at))?.here ?? false
      known.push({ ...at, ...NOTHING, position: { offset: 'log-start', leaderEpoch: -1 }, owner: null, here, lag: this.lagOf(at) })
    }
    return known
  }

  #position(partition: Pick<TopicPartition, 'topicId' | 'partition'>): FetchPosition | null {
    const key = partitionKey(partition)
    const own = this.#own.get(key)?.position ?? null
    if (own !== null || this.#stored === null) return own
    return this.#stored.get(key)?.position ?? { offset: 'log-start', leaderEpoch: -1 }
  }

  /** @returns −1 if the store has no position, or was not read */
  #storedOffset(key: string): number {
    const offset = this.#stored?.get(key)?.position.offset
    return typeof offset === 'number' ? offset : -1
  }

  #forget(partition: number): void {
    if (this.#logs.delete(partition)) this.#version++
  }
}

function plus(a: Amounts, b: Amounts): Amounts {
  return { counted: a.counted + b.counted, duplicates: a.duplicates + b.duplicates, deadLetters: a.deadLetters + b.deadLetters }
}

function isChanged(before: ReadonlyMap<string, PartitionSummary>, after: ReadonlyMap<string, PartitionSummary>): boolean {
  if (before.size !== after.size) return true
  for (const [key, row] of after) {
    const old = before.get(key)
    if (
      old === undefined ||
      row.position.offset !== old.position.offset ||
      row.counted !== old.counted ||
      row.duplicates !== old.duplicates ||
      row.deadLetters !== old.deadLetters ||
      row.owner !== old.owner
    )
      return true
  }
  return false
}
