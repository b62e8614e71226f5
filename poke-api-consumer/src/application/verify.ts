/** Counts the topic anew up to the store's positions, and compares: type by type, record by record. */
import { crc32 } from 'node:zlib'
import { decodePokemon } from '../entities/pokemon.ts'
import { SeenEvents } from '../entities/seen-events.ts'
import type { RecordView } from '../entities/tally.ts'
import type { DeadLetterState, PartitionSnapshot, SnapshotStore, TopicDescription, TopicReader } from './ports.ts'

export interface Verdict {
  /** `unknown`: the topic no longer holds what was counted. */
  readonly outcome: 'equal' | 'different' | 'unknown'
  /** Every type of either side, by name. */
  readonly types: readonly { readonly type: string; readonly store: number; readonly recount: number }[]
  /** Records read anew. */
  readonly records: number
  /** What differs besides the counts, or why it cannot be known: a sentence each. */
  readonly remarks: readonly string[]
}

export interface VerifyProgress {
  /** Offsets walked, and to walk. */
  readonly done: number
  readonly total: number
}

/** A range of offsets of a partition that was counted. */
interface Range {
  readonly from: number
  readonly to: number
}

/**
 * @param topic the topic's name: partitions of other topics that the group has counted are left out
 * @throws where store or topic cannot be read
 */
export async function verify(
  store: SnapshotStore,
  reader: TopicReader,
  topic: string,
  progress: (p: VerifyProgress) => void,
): Promise<Verdict> {
  const [snapshot, description] = [await store.snapshot(), await reader.describe()]
  const partitions = snapshot.filter((partition) => partition.topic === topic && partition.firstOffset !== null)
  const unknowable = partitions.flatMap((partition) => whyUnknowable(partition, description))
  if (unknowable.length > 0) return { outcome: 'unknown', types: [], records: 0, remarks: unknowable }

  const ranges = new Map(partitions.map((partition) => [partition, countedRanges(partition)]))
  const total = [...ranges.values()].flat().reduce((sum, { from, to }) => sum + to - from, 0)
  const recount = new Recount()
  let before = 0
  for (const [partition, parts] of ranges) {
    const pass = recount.partition(partition)
    for (const { from, to } of parts) {
      await reader.read(
        partition.partition,
        from,
        to,
        (record) => pass.add(record),
        (offset) => progress({ done: before + offset - from, total }),
      )
      before += to - from
    }
    pass.finish()
  }
  progress({ done: total, total })
  const types = compare(partitions, recount.counts)
  const different = recount.remarks.length > 0 || types.some(({ store, recount }) => store !== recount)
  return { outcome: different ? 'different' : 'equal', types, records: recount.records, remarks: recount.remarks }
}

function whyUnknowable(partition: PartitionSnapshot, description: TopicDescription): string[] {
  const name = `partition ${partition.partition}`
  if (partition.topicId !== description.topicId)
    return [`${name}: the topic that was counted (id ${partition.topicId}) was deleted; now it has the id ${description.topicId}`]
  if (description.compacted) return [`${name}: the topic is compacted`]
  const now = description.partitions[partition.partition]
  if (now === undefined) return [`${name}: the topic has it no longer`]
  const [first] = countedRanges(partition)
  if (first !== undefined && now.logStartOffset > first.from) {
    return [`${name}: retention removed its beginning: counted from offset ${first.from}, readable from ${now.logStartOffset}`]
  }
  const position = Number(partition.position.offset)
  if (now.endOffset < position) return [`${name}: the log was truncated: counted up to offset ${position}, it ends at ${now.endOffset}`]
  const cut = partition.gaps.find(({ kind, to }) => kind === 'truncated' || to === null)
  return cut === undefined ? [] : [`${name}: ${cut.message}`]
}

/** What was counted of a partition: everything from its first offset to its position but for the gaps. */
function countedRanges(partition: PartitionSnapshot): Range[] {
  const ranges: Range[] = []
  let from = partition.firstOffset as number
  for (const gap of partition.gaps) {
    if (gap.from === null || gap.to === null) continue
    if (gap.from > from) ranges.push({ from, to: gap.from })
    from = Math.max(from, gap.to)
  }
  const position = Number(partition.position.offset)
  if (position > from) ranges.push({ from, to: position })
  return ranges
}

/** The counting, once more and more strictly: an exact set of events in place of last sequences. */
class Recount {
  readonly counts = new Map<string, number>()
  readonly remarks: string[] = []
  records = 0
  /** By source; over all partitions, since an event belongs to one. */
  readonly #events = new Map<string, SeenEvents>()

  partition(snapshot: PartitionSnapshot): { add(record: RecordView): void; finish(): void } {
    const letters = new Map<number, DeadLetterState>(snapshot.letters.map(({ offset, state }) => [offset, state]))
    const before = this.records
    const name = `partition ${snapshot.partition}`
    return {
      add: (record) => {
        this.records++
        const letter = letters.get(record.offset)
        letters.delete(record.offset)
        if (record.kind !== 'unknown' && this.#isDuplicate(record, name)) {
          if (letter !== undefined) this.remarks.push(`${name}, offset ${record.offset}: a duplicate is kept as a dead letter`)
          return
        }
        const pokemon = record.kind === 'unknown' ? 'unknown-event-type' : decodePokemon(bytesOf(record))
        if (letter !== undefined && letter !== 'counted') return
        if (typeof pokemon === 'object') for (const type of pokemon.types) this.counts.set(type, (this.counts.get(type) ?? 0) + 1)
        else if (letter === undefined)
          this.remarks.push(`${name}, offset ${record.offset}: cannot be counted (${pokemon}), and is not among the dead letters`)
      },
      finish: () => {
        for (const offset of letters.keys())
          this.remarks.push(`${name}, offset ${offset}: is among the dead letters, but there is no such record`)
        const read = this.records - before
        const known = snapshot.counted + snapshot.duplicates + snapshot.deadLetters
        if (read !== known) this.remarks.push(`${name}: the store knows ${known} records, the topic has ${read}`)
      },
    }
  }

  #isDuplicate(record: RecordView, name: string): boolean {
    if (record.source === null) return false
    let events = this.#events.get(record.source.name)
    if (events === undefined) {
      events = new SeenEvents()
      this.#events.set(record.source.name, events)
    }
    const value = bytesOf(record)
    const seen = events.see(record.sequence, value === null ? 0 : crc32(value))
    if (seen === 'different') {
      this.remarks.push(`${name}, offset ${record.offset}: ${record.source.name} used sequence ${record.sequence} for two different events`)
    }
    return seen === 'equal'
  }
}

function bytesOf(record: RecordView): Buffer | null {
  return record.valueStart < 0 ? null : record.bytes.subarray(record.valueStart, record.valueEnd)
}

function compare(partitions: readonly PartitionSnapshot[], recount: ReadonlyMap<string, number>): Verdict['types'] {
  const store = new Map<string, number>()
  for (const { counts } of partitions) for (const [type, count] of counts) store.set(type, (store.get(type) ?? 0) + count)
  const names = [...new Set([...store.keys(), ...recount.keys()])].sort()
  return names.map((type) => ({ type, store: store.get(type) ?? 0, recount: recount.get(type) ?? 0 }))
}
