/** What the page shows, kept in memory: fed by the controller's observer and by looks at the store, read by the stream of events. */

import type { FetchPosition, GroupView, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { printable } from '@poke-api-pipeline/service-kit'
import { newestOf } from '../../application/newest-event.ts'
import type { CountedResponse, CountObserver, NewestEvent, StopReason, Totals } from '../../application/ports.ts'
import type { Pokemon } from '../../entities/pokemon.ts'
import type { TypeCounts } from '../../entities/tally.ts'
import { type GroupPartition, type GroupProgress, keyOf } from '../group-progress.ts'
import type { PartitionRow, Snapshot, Sums } from './snapshot.ts'

/** A document must stay small whatever a topic holds: what is left out is counted, and the API has it. */
const MAX_TYPES = 40
const MAX_PARTITIONS = 100
const MAX_RECENT = 12
/**
 * The rate is that of the last 10 s. Where fewer than 20 records were counted in them, it is that of as much of the last minute as has fewer
 * than 120: captures come about one a second, but a burst must not be in the rate when it is long over. In ms and records.
 */
const RATE_WINDOW = 10_000
const ENOUGH_FOR_A_RATE = 20
const LONGEST_RATE_WINDOW = 60_000
const MOST_IN_LONGER_WINDOW = 120
/** ms after which a rate is not that of now any more: the store is read once a second. */
const LONGEST_WITHOUT_LOOK = 5000
/** Characters of a name that are shown. */
const MAX_NAME = 100

type Group = NonNullable<Snapshot['group']>
type Recent = Group['recent'][number]

export interface LiveStateOptions {
  /** This instance's name, as the store's `owner` has it. */
  readonly instance: string
  readonly progress: GroupProgress
  /** A clock that never goes backwards, in ms. */
  readonly monotonic: () => number
  /** ms since 1970 */
  readonly timeOfDay: () => number
}

export class LiveState implements Partial<CountObserver> {
  readonly instance: string
  readonly #monotonic: () => number
  readonly #timeOfDay: () => number
  readonly #progress: GroupProgress
  /** The types that were shown last, and the counts that they are of. */
  #shown: { readonly counts: TypeCounts | null; readonly types: Group['types'] } = { counts: null, types: [] }
  /** Why a partition that this instance reads is stopped; null where it is not. */
  readonly #own = new Map<string, string | null>()
  readonly #samples: { at: number; counted: number }[] = []
  #totals: Totals | null = null
  /** Dead letters by reason, as they were read last; null: they were not read yet. */
  #reasons: ReadonlyMap<string, number> | null = null
  #recent: readonly Recent[] = []
  #seen = 0
  /** By partition: which event was shown last. */
  readonly #told = new Map<string, string>()
  #storeFailure: string | null = null
  #readFailure: string | null = null
  /** What the group gave to other programs, or to nobody. */
  #unread: { readonly partitions: ReadonlySet<number>; readonly reasons: readonly string[] } = { partitions: new Set(), reasons: [] }
  #version = 0

  constructor(options: LiveStateOptions) {
    this.instance = options.instance
    this.#progress = options.progress
    this.#monotonic = options.monotonic
    this.#timeOfDay = options.timeOfDay
  }

  /** Rises whenever the snapshot would look different. */
  get version(): number {
    this.#forgetOldRate()
    return this.#version + this.#progress.version
  }

  /** The counts of the group as they were last published; null before the first look. */
  get counts(): TypeCounts | null {
    return this.#totals?.counts ?? null
  }

  /** The store was read, as the group's progress was told: its dead letters by reason. */
  looked(reasons: ReadonlyMap<string, number>): void {
    const at = this.#monotonic()
    const counted = sum(this.#progress.partitions() ?? [], 'counted')
    const before = this.#rate()
    // A store that counts less than before was reset, or put back: that is no speed.
    if (counted < (this.#samples.at(-1)?.counted ?? 0)) this.#samples.length = 0
    this.#samples.push({ at, counted })
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > LONGEST_RATE_WINDOW) this.#samples.shift()
    if (before?.perSecond !== this.#rate()?.perSecond || this.#readFailure !== null || reasons !== this.#reasons) this.#version++
    this.#readFailure = null
    this.#reasons = reasons
    this.#tellOfOthers()
  }

  /** The look failed: what is shown stays, and says why. */
  lookFailed(error: Error): void {
    const failure = `The store could not be read: ${printable(error.message)}`
    if (failure !== this.#readFailure) this.#version++
    this.#readFailure = failure
  }

  totals(totals: Totals): void {
    if (totals.revision !== this.#totals?.revision) this.#version++
    this.#totals = totals
  }

  opened(partition: TopicPartition, _position: FetchPosition): void {
    this.#own.set(keyOf(partition), null)
    this.#version++
  }

  counted(partition: TopicPartition, response: CountedResponse): void {
    const newest = newestOf([response])
    if (newest === null) return
    this.#told.set(keyOf(partition), labelOf(newest))
    this.#tell(response.recent)
  }

  stopped(partition: TopicPartition, loss: StopReason): void {
    if (this.#own.has(keyOf(partition))) this.#own.set(keyOf(partition), printable(loss.message))
    this.#version++
  }

  closed(partition: TopicPartition): void {
    if (this.#own.delete(keyOf(partition))) this.#version++
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

  /** All partitions of the group, each with what this instance knows of it; null before the store was read. */
  partitions(): PartitionRow[] | null {
    const partitions = this.#progress.partitions()
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
      unread: !here && topicId === this.#progress.topicId && this.#unread.partitions.has(partition),
      stopped: (here ? this.#own.get(keyOf({ topicId, partition })) : null) ?? null,
    }))
  }

  /** What they add up to; null before the store was read. */
  sums(): Sums | null {
    const partitions = this.#progress.partitions()
    if (partitions === null) return null
    const lag = this.#progress.totalLag()
    return {
      counted: sum(partitions, 'counted'),
      duplicates: sum(partitions, 'duplicates'),
      deadLetters: sum(partitions, 'deadLetters'),
      lag: lag?.records ?? null,
      heldBack: lag?.heldBack ?? null,
    }
  }

  /** @param build names the version of the page's files */
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

  /** Null before all of it is known: a zero would be a figure. */
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
    // A record may carry any time: none of the future is newer than now.
    return { at: event.at === null ? null : Math.min(event.at, this.#timeOfDay()), origin: event.origin }
  }

  /** Partitions in which an event was counted, the one that was counted last at the end. */
  #newestEvents() {
    const partitions = (this.#progress.partitions() ?? []).flatMap(({ newest, ...partition }) => (newest ? [{ ...partition, newest }] : []))
    return partitions.sort((a, b) => (a.newest.countedAt < b.newest.countedAt ? -1 : 1))
  }

  /** What other instances have counted, as far as the store tells it: the last event of each of their partitions. And of ours, from before the start. */
  #tellOfOthers(): void {
    for (const { here, newest, ...partition } of this.#newestEvents()) {
      const key = keyOf(partition)
      const label = labelOf(newest.event)
      if (this.#told.get(key) === label || (here && this.#told.has(key))) continue
      this.#told.set(key, label)
      this.#tell([newest.event])
    }
  }

  /** @param pokemon oldest first */
  #tell(pokemon: readonly Pokemon[]): void {
    const newer = pokemon.map(({ id, name, types }): Recent => ({ seen: ++this.#seen, id, name: nameOf(name), types: types.map(nameOf) }))
    this.#recent = [...newer.reverse(), ...this.#recent].slice(0, MAX_RECENT)
    this.#version++
  }

  /** Null where the store was not read twice lately. */
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

  /** While the store is not read, nobody knows how fast is counted. */
  #forgetOldRate(): void {
    const last = this.#samples.at(-1)
    if (last === undefined || this.#monotonic() - last.at <= LONGEST_WITHOUT_LOOK) return
    this.#samples.length = 0
    this.#version++
  }
}

/** The most frequent first; as many of each by name. */
function byCount([nameA, a]: readonly [string, number], [nameB, b]: readonly [string, number]): number {
  return b - a || (nameA < nameB ? -1 : 1)
}

/** Tells one event of a partition from the one before. */
function labelOf({ id, at }: NewestEvent): string {
  return `${id}/${at}`
}

/** A name as the page may show it. */
function nameOf(name: string): string {
  return printable(name, MAX_NAME)
}

function sum(partitions: readonly GroupPartition[], field: 'counted' | 'duplicates' | 'deadLetters'): number {
  return partitions.reduce((total, partition) => total + partition[field], 0)
}
