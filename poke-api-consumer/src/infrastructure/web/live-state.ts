/** The state that the page shows. The controller's events and the polls of the store update it; the stream of events reads it. */

import type { FetchPosition, GroupView, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { printable } from '@poke-api-pipeline/service-kit'
import { newestOf } from '../../application/newest-event.ts'
import { partitionKey } from '../../application/partition-key.ts'
import type { CountedResponse, CountObserver, NewestEvent, StopReason, Totals } from '../../application/ports.ts'
import type { Pokemon } from '../../entities/pokemon.ts'
import type { TypeCounts } from '../../entities/tally.ts'
import type { GroupPartition, GroupProgress } from '../group-progress.ts'
import type { PartitionRow, Snapshot, Sums } from './snapshot.ts'

/** Bounds that keep a snapshot small whatever the topic contains. It says how many entries were left out; the API has them all. */
const MAX_TYPES = 40
const MAX_PARTITIONS = 100
const MAX_RECENT = 12
/**
 * The rate is the average of the last 10 s. Where fewer than 20 records were counted in them, it is the average of the longest part of the last
 * minute with fewer than 120 records: captures come about once a second, and a burst that is over must not count. In ms and records.
 */
const RATE_WINDOW = 10_000
const ENOUGH_FOR_A_RATE = 20
const LONGEST_RATE_WINDOW = 60_000
const MOST_IN_LONGER_WINDOW = 120
/** The age of the last poll, in ms, from which the rate is not known any more: the store is polled once a second. */
const MAX_POLL_AGE = 5000
/** The characters of a name that are shown. */
const MAX_NAME = 100

type Group = NonNullable<Snapshot['group']>
type Recent = Group['recent'][number]

export interface LiveStateOptions {
  /** The name of this instance, the same as `owner` in the store. */
  readonly instance: string
  readonly progress: GroupProgress
  /** A clock that never goes backwards, in ms. */
  readonly monotonic: () => number
  /** ms since 1970 */
  readonly timeOfDay: () => number
}

export class LiveState implements Partial<CountObserver> {
  readonly instance: string
  readonly #options: LiveStateOptions
  /** The types that were shown last, and the counts that they were made from. */
  #shown: { readonly counts: TypeCounts | null; readonly types: Group['types'] } = { counts: null, types: [] }
  /** The partitions that this instance reads, with the reason why one is stopped; null where it is not stopped. */
  readonly #own = new Map<string, string | null>()
  readonly #samples: { at: number; counted: number }[] = []
  #totals: Totals | null = null
  /** Dead letters by reason, from the last poll; null before the first. */
  #reasons: ReadonlyMap<string, number> | null = null
  #recent: readonly Recent[] = []
  #seen = 0
  /** The event that was shown last, by partition. */
  readonly #shownEvents = new Map<string, string>()
  #storeFailure: string | null = null
  #readFailure: string | null = null
  /** The partitions that no instance of this service reads, and sentences about them. */
  #unread: { readonly partitions: ReadonlySet<number>; readonly reasons: readonly string[] } = { partitions: new Set(), reasons: [] }
  #version = 0

  constructor(options: LiveStateOptions) {
    this.instance = options.instance
    this.#options = options
  }

  /** Rises when the snapshot changes. */
  get version(): number {
    this.#forgetOldRate()
    return this.#version + this.#options.progress.version
  }

  /** The counts of the group, as they were last published; null before the first poll. */
  get counts(): TypeCounts | null {
    return this.#totals?.counts ?? null
  }

  /** A poll has succeeded, and the group's progress has its partitions. @param reasons dead letters by reason */
  storeRead(reasons: ReadonlyMap<string, number>): void {
    const at = this.#options.monotonic()
    const counted = sum(this.#options.progress.partitions() ?? [], 'counted')
    const before = this.#rate()
    // A store with fewer counts than before was reset or restored from a backup: the difference is not a rate.
    if (counted < (this.#samples.at(-1)?.counted ?? 0)) this.#samples.length = 0
    this.#samples.push({ at, counted })
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > LONGEST_RATE_WINDOW) this.#samples.shift()
    if (before?.perSecond !== this.#rate()?.perSecond || this.#readFailure !== null || reasons !== this.#reasons) this.#version++
    this.#readFailure = null
    this.#reasons = reasons
    this.#showOtherInstances()
  }

  /** A poll has failed: the figures stay, and the page says why they may be old. */
  storeReadFailed(error: Error): void {
    const failure = `The store could not be read: ${printable(error.message)}`
    if (failure !== this.#readFailure) this.#version++
    this.#readFailure = failure
  }

  totals(totals: Totals): void {
    if (totals.revision !== this.#totals?.revision) this.#version++
    this.#totals = totals
  }

  opened(partition: TopicPartition, _position: FetchPosition): void {
    this.#own.set(partitionKey(partition), null)
    this.#version++
  }

  counted(partition: TopicPartition, response: CountedResponse): void {
    const newest = newestOf([response])
    if (newest === null) return
    this.#shownEvents.set(partitionKey(partition), labelOf(newest))
    this.#show(response.recent)
  }

  stopped(partition: TopicPartition, loss: StopReason): void {
    if (this.#own.has(partitionKey(partition))) this.#own.set(partitionKey(partition), printable(loss.message))
    this.#version++
  }

  closed(partition: TopicPartition): void {
    if (this.#own.delete(partitionKey(partition))) this.#version++
  }

  groupSeen({ unread, reasons }: GroupView): void {
    if (reasons.join('\n') !== this.#unread.reasons.join('\n')) this.#version++
    this.#unread = { partitions: new Set(unread), reasons }
  }

  get unread(): string[] {
    return [...this.#unread.reasons]
  }

  storeFailed(error: Error): void {
    this.#storeFailure = `The store fails: ${printable(error.message)}`
    this.#version++
  }

  storeWorked(): void {
    this.#storeFailure = null
    this.#version++
  }

  /** All partitions of the group, with lag and state of those that this instance reads; null before the first poll. */
  partitions(): PartitionRow[] | null {
    const partitions = this.#options.progress.partitions()
    if (partitions === null) return null
    return partitions.map(({ topic, topicId, partition, position, counted, duplicates, deadLetters, owner, here, lag }) => ({
      topic,
      topicId,
      partition,
      position: position.offset === 'log-start' ? null : position.offset,
      counted,
      duplicates,
      deadLetters,
      owner: here ? this.instance : owner === undefined || owner === null ? null : nameOf(owner),
      here,
      lag: lag?.records ?? null,
      heldBack: lag?.heldBack ?? null,
      unread: !here && topicId === this.#options.progress.topicId && this.#unread.partitions.has(partition),
      stopped: (here ? this.#own.get(partitionKey({ topicId, partition })) : null) ?? null,
    }))
  }

  /** The sums of all partitions; null before the first poll. */
  sums(): Sums | null {
    const partitions = this.#options.progress.partitions()
    if (partitions === null) return null
    const lag = this.#options.progress.totalLag()
    return {
      counted: sum(partitions, 'counted'),
      duplicates: sum(partitions, 'duplicates'),
      deadLetters: sum(partitions, 'deadLetters'),
      lag: lag?.records ?? null,
      heldBack: lag?.heldBack ?? null,
    }
  }

  /** @param build the version of the page's files */
  snapshot(build: string): Snapshot {
    return {
      build,
      group: this.#group(),
      unread: this.unread,
      troubles: [this.#storeFailure, this.#readFailure].filter((failure) => failure !== null),
      instance: {
        name: this.instance,
        partitions: this.#own.size,
      },
    }
  }

  /** Null until all figures are known, because a zero would be a wrong figure. */
  #group(): Snapshot['group'] {
    const [partitions, sums] = [this.partitions(), this.sums()]
    if (partitions === null || sums === null || this.#reasons === null || this.#totals === null) return null
    this.#forgetOldRate()
    const rate = this.#rate()
    const reasons = [...this.#reasons].map(([reason, count]) => ({ reason: nameOf(reason), count })).sort((a, b) => b.count - a.count)
    return {
      ...sums,
      deadLetters: reasons.reduce((total, { count }) => total + count, 0),
      rate: rate?.perSecond ?? null,
      rateSeconds: rate?.seconds ?? null,
      reasons,
      types: this.#mostFrequent(this.#totals.counts),
      moreTypes: Math.max(0, this.#totals.counts.size - MAX_TYPES),
      partitions: partitions.slice(0, MAX_PARTITIONS),
      morePartitions: Math.max(0, partitions.length - MAX_PARTITIONS),
      recent: [...this.#recent],
      newest: this.#newest(),
    }
  }

  /** The types that are shown. Of a hundred thousand, which writers of the topic may bring, none but these is sorted or printed. */
  #mostFrequent(counts: TypeCounts): Group['types'] {
    if (counts === this.#shown.counts) return this.#shown.types
    const most: [name: string, count: number][] = []
    for (const type of counts) {
      if (most.length === MAX_TYPES && byCount(type, most[MAX_TYPES - 1] as typeof type) > 0) continue
      const place = most.findIndex((other) => byCount(type, other) < 0)
      most.splice(place === -1 ? most.length : place, 0, type)
      if (most.length > MAX_TYPES) most.pop()
    }
    this.#shown = { counts, types: most.map(([name, count]) => ({ name: nameOf(name), count })) }
    return this.#shown.types
  }

  #newest(): Group['newest'] {
    const event = this.#newestEvents().at(-1)?.newest.event
    if (event === undefined) return null
    // A record may have any timestamp: one in the future counts as now.
    return { at: event.at === null ? null : Math.min(event.at, this.#options.timeOfDay()), origin: event.origin }
  }

  /** The partitions in which an event was counted, sorted by the time of the last one. */
  #newestEvents() {
    const partitions = (this.#options.progress.partitions() ?? []).flatMap(({ newest, ...partition }) =>
      newest ? [{ ...partition, newest }] : [],
    )
    return partitions.sort((a, b) => (a.newest.countedAt < b.newest.countedAt ? -1 : 1))
  }

  /**
   * Shows the events that other instances have counted: the store has the last one of each partition. It also shows the last events of our own
   * partitions from before this start.
   */
  #showOtherInstances(): void {
    for (const { here, newest, ...partition } of this.#newestEvents()) {
      const key = partitionKey(partition)
      const label = labelOf(newest.event)
      if (this.#shownEvents.get(key) === label || (here && this.#shownEvents.has(key))) continue
      this.#shownEvents.set(key, label)
      this.#show([newest.event])
    }
  }

  /** @param pokemon oldest first */
  #show(pokemon: readonly Pokemon[]): void {
    const newer = pokemon.map(({ id, name, types }): Recent => ({ seen: ++this.#seen, id, name: nameOf(name), types: types.map(nameOf) }))
    this.#recent = [...newer.reverse(), ...this.#recent].slice(0, MAX_RECENT)
    this.#version++
  }

  /** Null without two recent polls. */
  #rate(): { readonly perSecond: number; readonly seconds: number } | null {
    const last = this.#samples.at(-1)
    const before = this.#samples.at(-2)
    if (last === undefined || before === undefined) return null
    let first = this.#samples.find(({ at }) => last.at - at <= RATE_WINDOW) ?? before
    if (first === last) first = before
    if (last.counted - first.counted < ENOUGH_FOR_A_RATE)
      first = this.#samples.find(({ counted }) => last.counted - counted < MOST_IN_LONGER_WINDOW) ?? first
    const ms = last.at - first.at
    return ms === 0 ? null : { perSecond: ((last.counted - first.counted) * 1000) / ms, seconds: Math.round(ms / 1000) }
  }

  /** While polls fail, the rate is not known. */
  #forgetOldRate(): void {
    const last = this.#samples.at(-1)
    if (last === undefined || this.#options.monotonic() - last.at <= MAX_POLL_AGE) return
    this.#samples.length = 0
    this.#version++
  }
}

/** Sorts the most frequent first; equal counts by name. */
function byCount([nameA, a]: readonly [string, number], [nameB, b]: readonly [string, number]): number {
  return b - a || (nameA < nameB ? -1 : 1)
}

/** Identifies an event of a partition. */
function labelOf({ id, at }: NewestEvent): string {
  return `${id}/${at}`
}

/** @returns the name without control characters, and not too long for the page */
function nameOf(name: string): string {
  return printable(name, MAX_NAME)
}

function sum(partitions: readonly GroupPartition[], field: 'counted' | 'duplicates' | 'deadLetters'): number {
  return partitions.reduce((total, partition) => total + partition[field], 0)
}
