/** Counts the topic again up to the store's positions, and compares the results: type by type, record by record (rule V1). */
import { crc32 } from 'node:zlib'
import type { RecordView, TopicDescription, TopicReader } from '@poke-api-pipeline/kafka-reader'
import { MAX_LEAP } from '@poke-api-pipeline/pokemon-event'
import { DEAD_LETTER_PARTS, type DeadLetterPart, wholePart } from '../entities/dead-letter.ts'
import type { ListedDeadLetter } from '../entities/dead-letter-list.ts'
import { decodePokemon } from '../entities/pokemon.ts'
import { SeenEvents } from '../entities/seen-events.ts'
import type { DeadLetterState, PartitionSnapshot, PartitionSummary, SnapshotStore, TallyStore } from './ports.ts'

export interface Verdict {
  /**
   * `different`: a difference is proven. `unknown`: the records that are left are counted correctly, but the topic no longer contains everything
   * that was counted. `unread`: everything that was counted is correct, but the group has not read all records that the topic had when `verify` began.
   */
  readonly outcome: 'equal' | 'different' | 'unknown' | 'unread'
  /** All types of the store and of the recount, by name, in the partitions that could be counted again. */
  readonly types: readonly TypeComparison[]
  /** How many records were read. */
  readonly records: number
  /** Differences besides the counts, and reasons why partitions cannot be verified: a sentence each, at most a hundred. */
  readonly remarks: readonly string[]
}

export interface TypeComparison {
  readonly type: string
  readonly store: number
  readonly recount: number
}

export interface VerifyProgress {
  /** In offsets. */
  readonly done: number
  readonly total: number
}

/** More would not help: if everything differs, the first remarks show why. */
const MAX_REMARKS = 100

/** Waits for running instances to read what the topic had when `verify` began. */
export interface Patience {
  /** Resolves after that many ms. */
  readonly wait: (ms: number) => Promise<void>
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
}

/** How often the store's positions are read while verify waits for them, in ms. */
const POLL_INTERVAL = 100
/** A running group moves some position within this time, in ms. */
const MAX_TIME_WITHOUT_PROGRESS = 5000
/** How long verify waits for positions at most, in ms. */
const MAX_WAIT = 30_000

/** The offsets [from, to) of a partition, all of which were counted. */
interface Range {
  readonly from: number
  readonly to: number
}

/** The part of a reader without a group that verifying needs. */
export type ReadableTopic = Pick<TopicReader, 'describe' | 'read'>

/**
 * @param topic the topic's name: partitions of other topics that the group has counted are left out
 * @param patience the lag of a running group is no difference, so verify waits up to half a minute for its positions
 * @throws where store or topic cannot be read
 */
export async function verify(
  store: SnapshotStore & Pick<TallyStore, 'partitions'>,
  reader: ReadableTopic,
  topic: string,
  progress: (p: VerifyProgress) => void,
  patience: Patience,
): Promise<Verdict> {
  // The store is read before the topic, so that the topic's ends are not below the store's positions.
  const everything = await store.snapshot()
  const snapshot = everything.filter((partition) => partition.topic === topic && partition.firstOffset !== null)
  const description = await reader.describe()
  const unknown: string[] = []
  /** Partitions with a remark that they cannot be verified. */
  const told = new Set<number>()
  const passes: PartitionRecount[] = []
  const events = new Map<string, SeenEvents>()
  for (const partition of snapshot) {
    const why = whyUnknowable(partition, description)
    if (why === null) passes.push(new PartitionRecount(partition, logStartOf(partition, description), events))
    else unknown.push(`partition ${partition.partition}: ${why}`)
    if (why !== null) told.add(partition.partition)
  }

  const total = passes.flatMap(({ ranges }) => ranges).reduce((sum, { from, to }) => sum + to - from, 0)
  let done = 0
  const recounted: PartitionRecount[] = []
  for (const pass of passes) {
    let why: string | null = null
    for (const { from, to } of pass.ranges) {
      const add = (record: RecordView) => pass.add(record)
      const missing = (first: number, end: number) => pass.miss(first, end)
      const reached = (offset: number) => progress({ done: done + offset - from, total })
      why ??= await reader.read(pass.partition, from, to, add, reached, missing)
      done += to - from
    }
    why ??= pass.writtenAgain ?? pass.gone
    if (why === null) recounted.push(pass)
    if (why === null && pass.neverThere !== null) unknown.push(`partition ${pass.partition}: ${pass.neverThere}`)
    if (why !== null) unknown.push(`partition ${pass.partition}: ${why}`)
    if (why !== null) told.add(pass.partition)
  }
  progress({ done: total, total })
  const unread = await stillUnread(store, topic, description, told, patience)

  const differences = recounted.flatMap((pass) => pass.finish())
  const types = compare(recounted)
  const different = differences.length > 0 || types.some(({ store, recount }) => store !== recount)
  return {
    outcome: different ? 'different' : unknown.length > 0 ? 'unknown' : unread.length > 0 ? 'unread' : 'equal',
    types,
    records: recounted.reduce((sum, { records }) => sum + records, 0),
    remarks: bounded([...unknown, ...unread, ...differences, ...otherTopics(everything, topic)]),
  }
}

/**
 * Waits until the group has read up to where each partition ended when `verify` began.
 * @param except partitions that have a remark already
 * @returns a sentence for each partition that is still not read
 */
async function stillUnread(
  store: Pick<TallyStore, 'partitions'>,
  topic: string,
  description: TopicDescription,
  except: ReadonlySet<number>,
  { wait, now }: Patience,
): Promise<string[]> {
  const began = now()
  const first = unreadOf(await store.partitions(), topic, description, except)
  let unread = first
  for (let movedAt = began; unread.size > 0; ) {
    const isStuck = now() - movedAt > MAX_TIME_WITHOUT_PROGRESS
    if (isStuck || now() - began > MAX_WAIT) break
    await wait(POLL_INTERVAL)
    const later = unreadOf(await store.partitions(), topic, description, except)
    if ([...unread].some(([partition, from]) => later.get(partition) !== from)) movedAt = now()
    unread = later
  }
  return [...unread].map(([partition, from]) => {
    const range = `offsets ${from} to ${(description.partitions[partition]?.readableEndOffset ?? 0) - 1}`
    const why =
      first.get(partition) === from
        ? 'and no instance of this group has read further while verify waited: the readiness of a running instance says why'
        : 'but it is being read: run verify again when the group has caught up'
    return `partition ${partition}: ${range} were in the topic when verify began and are unread, ${why}`
  })
}

/** @returns the first unread offset of each partition that has unread records */
function unreadOf(
  stored: readonly PartitionSummary[],
  topic: string,
  { topicId, partitions }: TopicDescription,
  except: ReadonlySet<number>,
): Map<number, number> {
  const positions = new Map<number, number>()
  for (const each of stored) {
    const { offset } = each.position
    if (each.topic === topic && each.topicId === topicId && offset !== 'log-start') positions.set(each.partition, offset)
  }
  const unread = new Map<number, number>()
  for (const [partition, { logStartOffset, readableEndOffset }] of partitions.entries()) {
    const position = positions.get(partition) ?? logStartOffset
    if (position < readableEndOffset && !except.has(partition)) unread.set(partition, position)
  }
  return unread
}

/** @returns why the partition cannot be verified; null if, as far as is known without reading it, the topic still contains everything that was counted */
function whyUnknowable(partition: PartitionSnapshot, description: TopicDescription): string | null {
  if (partition.topicId !== description.topicId)
    return `the counted topic (id ${partition.topicId}) was deleted; the topic that has its name now has the id ${description.topicId}`
  if (description.compacted) return 'the topic is compacted, so records are missing from it'
  const now = description.partitions[partition.partition]
  if (now === undefined) return 'the topic no longer has this partition'
  // A topic that was deleted and created again is reported with the partitions of the old topic id.
  const lost = partition.gaps.find(({ kind, to }) => kind === 'truncated' || (to === null && kind !== 'recreated'))
  if (lost !== undefined) return lost.message
  const [first] = countedRanges(partition, partition.firstOffset as number)
  if (first !== undefined && now.logStartOffset > first.from)
    return `retention removed its beginning: counted from offset ${first.from}, readable from ${now.logStartOffset}`
  const position = Number(partition.position.offset)
  return now.endOffset < position ? `the log was truncated: it ends at offset ${now.endOffset}, but was counted up to ${position}` : null
}

function logStartOf(partition: PartitionSnapshot, description: TopicDescription): number {
  return description.partitions[partition.partition]?.logStartOffset ?? 0
}

/** The counted ranges of a partition: from its first offset to its position, without its gaps. Gaps of the kind `missing` are not left out, because they contain no record. */
function countedRanges(partition: PartitionSnapshot, first: number): Range[] {
  const ranges: Range[] = []
  let from = first
  for (const gap of partition.gaps) {
    if (gap.from === null || gap.to === null || gap.kind === 'missing') continue
    if (gap.from > from) ranges.push({ from, to: gap.from })
    from = Math.max(from, gap.to)
  }
  const position = Number(partition.position.offset)
  if (position > from) ranges.push({ from, to: position })
  return ranges
}

type SnapshotDeadLetter = ListedDeadLetter<DeadLetterState>

/** Counts one partition again, and recognises duplicates more strictly: by the exact set of events instead of last sequences. */
class PartitionRecount {
  readonly partition: number
  readonly ranges: readonly Range[]
  readonly counts = new Map<string, number>()
  records = 0
  /** Why the log is not the one that was counted; null if nothing shows that. */
  writtenAgain: string | null = null
  readonly snapshot: PartitionSnapshot
  /** By index: whether the record of this dead letter was read. */
  readonly #met: Uint8Array
  readonly #events: Map<string, SeenEvents>
  /** The highest sequence of each source, without those that leap (rule C2). */
  readonly #highest = new Map<string, number>()
  readonly #remarks: string[] = []
  /** Recorded gaps of offsets that had no record when they were counted: the end of each by its beginning. */
  readonly #gaps: ReadonlyMap<number, number>
  #counted = 0
  #duplicates = 0
  #dead = 0
  /** How many offsets have no record: those with a recorded gap; those without; and the first of those without. */
  #neverThere = 0
  #gone = 0
  #firstGone = ''

  /** @param events by source; shared by all partitions, because an event may be in one partition only */
  constructor(snapshot: PartitionSnapshot, logStart: number, events: Map<string, SeenEvents>) {
    const missing = snapshot.gaps.filter(({ kind }) => kind === 'missing')
    this.#gaps = new Map(missing.map(({ from, to }) => [Number(from), Number(to)]))
    const read = snapshot.firstOffset as number
    // Reading began behind records that were missing from the start, unless retention has removed them since.
    const first = Math.max(Math.min(read, ...this.#gaps.keys()), Math.min(read, logStart))
    // The start of a log only rises, so reading cannot have begun above it unless a gap is recorded.
    const accounted = Math.min(first, ...snapshot.gaps.map(({ from, to }) => (to === null ? first : (from ?? first))))
    if (logStart < accounted) this.#remarks.push(`partition ${snapshot.partition}: offsets ${logStart} to ${accounted - 1} were never read`)
    this.partition = snapshot.partition
    this.snapshot = snapshot
    this.ranges = countedRanges(snapshot, logStart < accounted ? logStart : first)
    this.#met = new Uint8Array(snapshot.deadLetterList.length)
    this.#events = events
  }

  /** Call it for offsets [from, to) without a record. */
  miss(from: number, to: number): void {
    if (this.#gaps.get(from) === to) {
      this.#neverThere += to - from
      return
    }
    if (this.#gone === 0) this.#firstGone = to - from === 1 ? String(from) : `${from} to ${to - 1}`
    this.#gone += to - from
  }

  /** Why the log no longer contains everything that was counted; null if it does. */
  get gone(): string | null {
    if (this.#gone === 0) return null
    return `${this.#gone} counted ${this.#gone === 1 ? 'offset has' : 'offsets have'} no record any more (the first: ${this.#firstGone}), and no gap is recorded there: records were removed from within the log, as compaction does`
  }

  /** Which offsets had no record when they were counted; null if there were none. */
  get neverThere(): string | null {
    if (this.#neverThere === 0) return null
    return `${this.#neverThere} ${this.#neverThere === 1 ? 'offset' : 'offsets'} had no record when they were to be counted, and are recorded as gaps: records were removed from there before, as compaction does`
  }

  add(record: RecordView): void {
    this.records++
    const deadLetter = this.#deadLetterOf(record)
    this.#compareEpochs(record, deadLetter?.leaderEpoch)
    if (record.eventType !== 'foreign' && this.#isDuplicate(record)) {
      this.#duplicates++
      if (deadLetter !== undefined) this.#remark(record, `is a duplicate, but is among the dead letters (${deadLetter.reason})`)
      return
    }
    const pokemon = record.eventType === 'foreign' ? 'unknown-event-type' : decodePokemon(bytesOf(record))
    if (typeof pokemon === 'string') {
      this.#dead++
      if (deadLetter === undefined) this.#remark(record, `cannot be counted (${pokemon}), but is not among the dead letters`)
      else if (deadLetter.state === 'counted') this.#remark(record, `was counted by a replay, but cannot be counted (${pokemon})`)
      if (deadLetter !== undefined) this.#compareCut(record, deadLetter)
      return
    }
    this.#counted++
    for (const type of pokemon.types) this.counts.set(type, (this.counts.get(type) ?? 0) + 1)
    if (deadLetter === undefined || deadLetter.state === 'counted') return
    const remedy = deadLetter.state === 'purged' ? '' : '; dead-letters replay counts it'
    this.#remark(record, `can be counted, but is among the dead letters (${deadLetter.reason})${remedy}`)
  }

  /** @returns the differences besides the counts */
  finish(): string[] {
    const { partition, snapshot } = this
    for (const [index, isMet] of this.#met.entries()) {
      const { offset, reason } = snapshot.deadLetterList.at(index)
      // A truncated log can use an offset again, so that it has several dead letters: the log has the record of the last one.
      if (isMet === 0 && snapshot.deadLetterList.find(offset) === index)
        this.#remark({ offset }, `is among the dead letters (${reason}), but there is no such record`)
    }
    const store = [snapshot.counted, snapshot.duplicates, snapshot.deadLetters]
    const topic = [this.#counted, this.#duplicates, this.#dead]
    if (store.some((amount, i) => amount !== topic[i]))
      this.#remarks.push(`partition ${partition}: the store has ${amounts(store)}; the topic has ${amounts(topic)}`)
    return this.#remarks
  }

  #deadLetterOf({ offset }: RecordView): SnapshotDeadLetter | undefined {
    const list = this.snapshot.deadLetterList
    const index = list.find(offset)
    if (index === -1) return undefined
    this.#met[index] = 1
    return list.at(index)
  }

  /** Leader epochs rise along a log. A newer one before the position shows that the log was truncated there and written again (KIP-101). */
  #compareEpochs(record: RecordView, ofDeadLetter: number | undefined): void {
    const { position } = this.snapshot
    const beyond = position.leaderEpoch >= 0 && record.leaderEpoch > position.leaderEpoch
    if (!beyond && (ofDeadLetter === undefined || ofDeadLetter === record.leaderEpoch)) return
    this.writtenAgain ??=
      `the log was truncated and written again: the record at offset ${record.offset} has leader epoch ${record.leaderEpoch} now, ` +
      (beyond ? `but the counted records had epochs up to ${position.leaderEpoch}` : `but its dead letter has epoch ${ofDeadLetter}`)
  }

  /** A cut part is compared by its length and hash. */
  #compareCut(record: RecordView, { cut }: SnapshotDeadLetter): void {
    for (const part of DEAD_LETTER_PARTS) {
      const kept = cut[part]
      if (kept === undefined) continue
      const { bytes, sha256 } = wholePart(partOf(record, part))
      if (bytes !== kept.bytes || sha256 !== kept.sha256)
        this.#remark(
          record,
          `has a ${part} of ${bytes} bytes, which is not that of its dead letter (${kept.bytes} bytes, SHA-256 ${kept.sha256})`,
        )
    }
  }

  #isDuplicate(record: RecordView): boolean {
    if (record.source === null) return false
    const { name } = record.source
    const highest = this.#highest.get(name) ?? -1
    // A record whose sequence leaps is counted each time that it comes.
    if (record.sequence - highest > MAX_LEAP) return false
    if (record.sequence > highest) this.#highest.set(name, record.sequence)
    let events = this.#events.get(name)
    if (events === undefined) {
      events = new SeenEvents()
      this.#events.set(name, events)
    }
    const value = bytesOf(record)
    const seen = events.see(record.sequence, value === null ? 0 : crc32(value))
    if (seen === 'different') this.#remark(record, `${name} used its sequence ${record.sequence} before, for another event`)
    return seen === 'equal'
  }

  #remark({ offset }: Pick<RecordView, 'offset'>, what: string): void {
    // One more than is shown, so that `bounded` knows that there are more.
    if (this.#remarks.length <= MAX_REMARKS) this.#remarks.push(`partition ${this.partition}, offset ${offset}: ${what}`)
  }
}

function bytesOf(record: RecordView): Buffer | null {
  return record.valueStart < 0 ? null : record.bytes.subarray(record.valueStart, record.valueEnd)
}

function partOf(record: RecordView, part: DeadLetterPart): Buffer {
  const [start, end] = {
    key: [record.keyStart, record.keyEnd] as const,
    value: [record.valueStart, record.valueEnd] as const,
    headers: [record.headersStart, record.headersEnd] as const,
  }[part]
  return record.bytes.subarray(Math.max(start, 0), Math.max(end, 0))
}

function amounts([counted, duplicates, dead]: readonly number[]): string {
  return `${counted} counted, ${duplicates} duplicates, ${dead} dead letters`
}

/** Other topics of the group are in the same counts, but were not verified. */
function otherTopics(snapshot: readonly PartitionSnapshot[], topic: string): string[] {
  const counted = new Map<string, number>()
  for (const other of snapshot) if (other.topic !== topic) counted.set(other.topic, (counted.get(other.topic) ?? 0) + other.counted)
  return [...counted]
    .filter(([, records]) => records > 0)
    .map(
      ([name, records]) =>
        `the group has counted ${records} of topic ${name} too, which were not verified: set KAFKA_TOPIC=${name} to do so`,
    )
}

function bounded(remarks: readonly string[]): string[] {
  return remarks.length <= MAX_REMARKS ? [...remarks] : [...remarks.slice(0, MAX_REMARKS), 'and so on']
}

function compare(passes: readonly PartitionRecount[]): TypeComparison[] {
  const store = new Map<string, number>()
  const recount = new Map<string, number>()
  const add = (to: Map<string, number>, counts: ReadonlyMap<string, number>) => {
    for (const [type, count] of counts) to.set(type, (to.get(type) ?? 0) + count)
  }
  for (const { snapshot, counts } of passes) {
    add(store, snapshot.counts)
    add(recount, counts)
  }
  const names = [...new Set([...store.keys(), ...recount.keys()])].sort()
  return names.map((type) => ({ type, store: store.get(type) ?? 0, recount: recount.get(type) ?? 0 }))
}
