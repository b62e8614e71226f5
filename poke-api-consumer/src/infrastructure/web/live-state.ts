/** What the page shows, kept in memory: fed by the controller's observer and by looks at the store, read by the stream of events. */
import { printable } from 'service-kit'
import type {
  CountedResponse,
  CountObserver,
  DataLoss,
  FetchPosition,
  PartitionSummary,
  TopicPartition,
  Totals,
} from '../../application/ports.ts'
import type { TypeCounts } from '../../entities/type-counts.ts'
import type { PartitionRow, Snapshot } from './snapshot.ts'

/** A document must stay small whatever a topic holds: what is left out is counted, and the API has it. */
const MAX_TYPES = 40
const MAX_PARTITIONS = 100
const MAX_RECENT = 12
/** The rate is that of the last 10 s, or of the last minute where too little happened in 10 s to call it a rate. */
const RATE_WINDOWS = [10_000, 60_000]
const ENOUGH_FOR_A_RATE = 20
/** Characters of a name that are shown. */
const MAX_NAME = 100

/** A partition that this instance reads. */
interface OwnPartition {
  lag: number | null
  stopped: string | null
}

type Recent = Snapshot['instance']['recent'][number]

export interface LiveStateOptions {
  /** This instance's name, as the store's `owner` has it. */
  readonly instance: string
  /** A clock that never goes backwards, in ms. */
  readonly monotonic: () => number
}

export class LiveState implements CountObserver {
  readonly instance: string
  readonly #monotonic: () => number
  readonly #own = new Map<string, OwnPartition>()
  readonly #samples: { at: number; counted: number }[] = []
  #totals: Totals | null = null
  #partitions: readonly PartitionSummary[] = []
  #reasons: ReadonlyMap<string, number> = new Map()
  #recent: readonly Recent[] = []
  #seen = 0
  #newest: Snapshot['instance']['newest'] = null
  #storeTrouble: string | null = null
  #lookTrouble: string | null = null
  #version = 0

  constructor(options: LiveStateOptions) {
    this.instance = options.instance
    this.#monotonic = options.monotonic
  }

  /** Rises whenever the snapshot would look different. */
  get version(): number {
    return this.#version
  }

  /** The counts of the group as they were last published; null before the first look. */
  get counts(): TypeCounts | null {
    return this.#totals?.counts ?? null
  }

  /** Takes a look at the store: every partition of the group, and its dead letters by reason. */
  looked(partitions: readonly PartitionSummary[], reasons: ReadonlyMap<string, number>): void {
    const at = this.#monotonic()
    const counted = sum(partitions, 'counted')
    const before = this.#samples.at(-1)
    const rate = this.#rate()
    this.#samples.push({ at, counted })
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > RATE_WINDOWS.at(-1)!) this.#samples.shift()
    if (before?.counted !== counted || rate !== this.#rate() || this.#lookTrouble !== null || changed(this.#partitions, partitions))
      this.#version++
    this.#lookTrouble = null
    this.#partitions = partitions
    this.#reasons = reasons
  }

  /** The look failed: what is shown stays, and says why. */
  lookFailed(error: Error): void {
    const trouble = `The store could not be read: ${error.message}`
    if (trouble !== this.#lookTrouble) this.#version++
    this.#lookTrouble = trouble
  }

  totals(totals: Totals): void {
    if (totals.revision !== this.#totals?.revision) this.#version++
    this.#totals = totals
  }

  opened(partition: TopicPartition, _position: FetchPosition): void {
    this.#own.set(keyOf(partition), { lag: null, stopped: null })
    this.#version++
  }

  counted(partition: TopicPartition, response: CountedResponse): void {
    const own = this.#own.get(keyOf(partition))
    const lag = Math.max(0, response.lastStableOffset - response.position)
    if (own !== undefined && own.lag !== lag) {
      own.lag = lag
      this.#version++
    }
    if (response.newestTimestamp >= 0 && response.newestTimestamp >= (this.#newest?.at ?? 0)) {
      this.#newest = { at: response.newestTimestamp, origin: response.newestOrigin }
      this.#version++
    }
    if (response.recent.length > 0) {
      const newer = response.recent.map(
        ({ id, name, types }): Recent => ({ seen: ++this.#seen, id, name: nameOf(name), types: types.map(nameOf) }),
      )
      this.#recent = [...newer.reverse(), ...this.#recent].slice(0, MAX_RECENT)
      this.#version++
    }
  }

  stopped(partition: TopicPartition, loss: DataLoss): void {
    const own = this.#own.get(keyOf(partition))
    if (own !== undefined) own.stopped = loss.message
    this.#version++
  }

  closed(partition: TopicPartition): void {
    if (this.#own.delete(keyOf(partition))) this.#version++
  }

  storeFailed(error: Error): void {
    this.#storeTrouble = `The store fails: ${error.message}`
    this.#version++
  }

  storeWorked(): void {
    this.#storeTrouble = null
    this.#version++
  }

  // Not shown, or looked at by ourselves: commits, fences and gaps are metrics, and a file that cannot be written does not make the counts older.
  committed(): void {}
  fenced(): void {}
  partitionsSeen(): void {}
  skipped(): void {}
  fileWritten(): void {}
  fileFailed(): void {}

  deadLettersPublished(): void {}

  deadLetterPublishingFailed(): void {}

  deadLetterPublishingWorked(): void {}

  /** All partitions of the group, each with what this instance knows of it. */
  partitions(): PartitionRow[] {
    return this.#partitions.map((summary) => {
      const own = this.#own.get(keyOf(summary))
      return {
        topic: summary.topic,
        topicId: summary.topicId,
        partition: summary.partition,
        position: summary.position.offset === 'log-start' ? null : summary.position.offset,
        counted: summary.counted,
        duplicates: summary.duplicates,
        deadLetters: summary.deadLetters,
        owner: own !== undefined ? this.instance : (summary.owner ?? null),
        here: own !== undefined,
        lag: own?.lag ?? null,
        stopped: own?.stopped ?? null,
      }
    })
  }

  /** @param build names the version of the page's files */
  snapshot(build: string): Snapshot {
    const types = [...(this.#totals?.counts ?? [])].map(([name, count]) => ({ name: nameOf(name), count }))
    types.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
    const reasons = [...this.#reasons].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count)
    const partitions = this.partitions()
    const own = [...this.#own.values()]
    return {
      build,
      group: {
        counted: sum(this.#partitions, 'counted'),
        duplicates: sum(this.#partitions, 'duplicates'),
        deadLetters: reasons.reduce((total, { count }) => total + count, 0),
        rate: this.#rate(),
        reasons,
        types: types.slice(0, MAX_TYPES),
        moreTypes: Math.max(0, types.length - MAX_TYPES),
        partitions: partitions.slice(0, MAX_PARTITIONS),
        morePartitions: Math.max(0, partitions.length - MAX_PARTITIONS),
        troubles: [this.#storeTrouble, this.#lookTrouble].filter((trouble) => trouble !== null),
      },
      instance: {
        name: this.instance,
        partitions: own.length,
        lag: own.every(({ lag }) => lag === null) ? null : own.reduce((total, { lag }) => total + (lag ?? 0), 0),
        recent: [...this.#recent],
        newest: this.#newest,
      },
    }
  }

  #rate(): number | null {
    const last = this.#samples.at(-1)
    if (last === undefined || this.#samples.length < 2) return null
    let rate = 0
    for (const window of RATE_WINDOWS) {
      const first = this.#samples.find(({ at }): boolean => last.at - at <= window)
      if (first === undefined || first === last) continue
      // A store that was put back counts less than before: that is no negative speed.
      const counted = Math.max(0, last.counted - first.counted)
      rate = (counted * 1000) / (last.at - first.at)
      if (counted >= ENOUGH_FOR_A_RATE) break
    }
    return rate
  }
}

/** A name as the page may show it. */
function nameOf(name: string): string {
  return printable(name, MAX_NAME)
}

function keyOf(partition: { readonly topicId: string; readonly partition: number }): string {
  return `${partition.topicId}/${partition.partition}`
}

function sum(partitions: readonly PartitionSummary[], field: 'counted' | 'duplicates'): number {
  return partitions.reduce((total, partition) => total + partition[field], 0)
}

function changed(before: readonly PartitionSummary[], after: readonly PartitionSummary[]): boolean {
  return (
    before.length !== after.length ||
    after.some((row, i) => {
      const old = before[i]!
      return (
        row.position.offset !== old.position.offset ||
        row.duplicates !== old.duplicates ||
        row.deadLetters !== old.deadLetters ||
        row.owner !== old.owner
      )
    })
  )
}
