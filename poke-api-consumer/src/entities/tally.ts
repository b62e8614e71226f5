/** Pure counting: each record of a partition is counted, recognised as a duplicate, or becomes a dead letter (rules C1 and C2). */

import { copyHeaders, type EventSource, type RecordView } from '@poke-api-pipeline/kafka-reader'
import { HEADER, MAX_LEAP } from '@poke-api-pipeline/pokemon-event'
import {
  bytesOfRecord,
  CUT_PART_BYTES,
  type DeadLetter,
  type DeadLetterPart,
  type DeadLetterReason,
  MAX_WHOLE_PART_BYTES,
  type WholePart,
  wholePart,
} from './dead-letter.ts'
import { decodePokemon, type Pokemon } from './pokemon.ts'
import { type CountableValue, NO_ROOM, ValueTable } from './value-table.ts'

/** How many counted Pokémon have each type, by the type's name. */
export type TypeCounts = ReadonlyMap<string, number>

/** What some records of a partition add to the store. */
export interface CountDelta {
  /** By type name; only types that were counted. */
  readonly counts: Map<string, number>
  /** By source name; only sources whose last sequence rose. */
  readonly lastSequences: Map<string, number>
  readonly deadLetters: DeadLetter[]
  /** Records that were counted, and records that were recognised as duplicates. */
  readonly counted: number
  readonly duplicates: number
}

/** What the page, the log and the metrics show of the same records. */
export interface CountSummary {
  readonly counted: number
  readonly duplicates: number
  /** By reason. */
  readonly deadLetters: ReadonlyMap<string, number>
  /** The last few Pokémon counted, oldest first. */
  readonly recent: readonly Pokemon[]
  /** Timestamp of the last record counted, ms since 1970; −1 if none was counted, or if the timestamp is outside what `Date` can show. */
  readonly newestTimestamp: number
  /** `ce_origin` of that record; null if it has another value or none. */
  readonly newestOrigin: 'live' | 'bundled' | null
  /** Absent if there were none. */
  readonly anomalies?: SourceAnomalies
}

/**
 * Records whose sequences leap or are duplicates. A duplicate is ordinary where a producer sends an unacknowledged event again; whether it is one shows
 * only over many responses (`AnomalousSources`), so sources with ordinary duplicates are among these.
 */
export interface SourceAnomalies {
  /** Records whose sequence leaps (rule C2). */
  readonly leaps: number
  /** Duplicates with a sequence between the last one of their source and the one before, so that no such event was ever read. */
  readonly late: number
  /** By source: those with most leaps and late records first, and at most a few. */
  readonly sources: readonly SourceAnomaly[]
}

/** A source with records that leap or are duplicates, ordinary ones included. */
export interface SourceAnomaly {
  readonly source: string
  /** Its last sequence; −1 if there is none. */
  readonly last: number
  /** The sequence of the newest record that leaps or is a duplicate. */
  readonly sequence: number
  readonly leaps: number
  readonly late: number
  /** Duplicates since its last sequence rose, each with a higher sequence than the one before: an event that is sent again and again adds one. */
  readonly newDuplicates: number
}

/** The outcome of one call of `PartitionTally.count`. */
export interface CountResult {
  readonly delta: CountDelta
  readonly summary: CountSummary
  /**
   * `cursor`: it has no next record for now. `size`: the delta holds as many bytes as it may.
   * `new-type`: the record that the cursor stands on was not counted, because it has a new type name and no more names may be known.
   */
  readonly endedBy: 'cursor' | 'size' | 'new-type'
}

/** How many of the Pokémon counted last are shown: a power of two. */
const RECENT = 8
/** A buffer of a batch before the newest one is kept until the end of a response only if it has at most so many bytes. */
const MAX_KEPT_BYTES = 64 * 1024

/** Stands for "none" instead of null, so that fields with bytes always hold a Buffer: otherwise V8 would compile the code that reads them anew. */
const NO_BYTES = Buffer.alloc(0)

// About how many bytes a commit takes for a dead letter besides its own bytes, for a source whose last sequence rose, and for a distinct value.
const SIZE_OF_DEAD_LETTER = 512
const SIZE_OF_SOURCE = 512
const SIZE_OF_VALUE = 256

/** At most so many sources with anomalies are named in a summary. */
const MAX_NAMED_SOURCES = 16

interface SourceState {
  readonly name: string
  last: number
  /** `last` rose since the last drain. */
  hasRisen: boolean
  /** The last two sequences between which events may be missing: nothing between them was ever read. */
  gapStart: number
  gapEnd: number
  /** It is in the next summary’s anomalies, because a record of it leapt or was a new duplicate since the last drain; the next three are of these. */
  isAnomalous: boolean
  leaps: number
  late: number
  sequence: number
  /** The value of `last` to which the next two belong: the highest sequence of a duplicate since `last` had it, and how often that sequence rose. */
  duplicatesOf: number
  highestDuplicate: number
  newDuplicates: number
}

function stateOf(name: string, last: number): SourceState {
  return {
    name,
    last,
    hasRisen: false,
    gapStart: last,
    gapEnd: -1,
    isAnomalous: false,
    leaps: 0,
    late: 0,
    sequence: -1,
    duplicatesOf: last,
    highestDuplicate: -1,
    newDuplicates: 0,
  }
}

/**
 * Counts types for any number of partitions, one after the other: the partitions share one table of decoded values.
 * Nothing is allocated for a record whose value and source are known.
 */
export class TypeCounter {
  readonly #values: ValueTable
  /** Values with sightings that were not drained yet. */
  readonly #touched: CountableValue[] = []
  /** By index of the type name. */
  readonly #sums: number[] = []

  /** @param maxTypes how many type names may be known */
  constructor(maxTypes = Number.POSITIVE_INFINITY) {
    this.#values = new ValueTable((value) => this.#sum(value), maxTypes)
  }

  /** How many type names are known: those given to `know`, and those of counted records. */
  get types(): number {
    return this.#values.typeNames.names.length
  }

  /** Adds type names that are counted already, here or by other instances. */
  know(names: Iterable<string>): void {
    for (const name of names) this.#values.typeNames.indexOf(name)
  }

  /** Opens a partition. @param lastSequences the partition's, as the store has them */
  tally(lastSequences: ReadonlyMap<string, number>): PartitionTally {
    return new PartitionTally(this, lastSequences)
  }

  /** For `PartitionTally`: counts a value once. @returns the value, or the reason why it cannot be counted, or `NO_ROOM` */
  count(record: RecordView): CountableValue | string {
    const value = this.#values.find(record.bytes, record.view, record.valueStart, record.valueEnd)
    if (typeof value === 'object' && value.pending++ === 0) this.#touched.push(value)
    return value
  }

  /** For `PartitionTally`: @returns the counts since the last drain, by type name */
  drain(): Map<string, number> {
    for (const value of this.#touched) this.#sum(value)
    this.#touched.length = 0
    const counts = new Map<string, number>()
    const names = this.#values.typeNames.names
    for (let type = 0; type < this.#sums.length; type++) {
      const count = this.#sums[type]
      if (count) counts.set(names[type] as string, count)
    }
    this.#sums.fill(0)
    return counts
  }

  #sum(value: CountableValue): void {
    const sums = this.#sums
    for (const type of value.types) {
      while (sums.length <= type) sums.push(0)
      sums[type] = (sums[type] as number) + value.pending
    }
    value.pending = 0
  }
}

/** Counts the records of one partition, from the position that the store had when the partition was opened. */
export class PartitionTally {
  readonly #counter: TypeCounter
  readonly #sources = new Map<string, SourceState>()
  /** Finds the state of a source without hashing its name. */
  #byIdentity = new WeakMap<EventSource, SourceState>()
  #lastSource: EventSource | null = null
  #lastState: SourceState | null = null
  readonly #risen: SourceState[] = []
  readonly #anomalous: SourceState[] = []
  #deadLetters: DeadLetter[] = []
  /** About how many bytes the delta holds. */
  #size = 0
  #lacksRoom = false
  #counted = 0
  #duplicates = 0
  // The last records counted, each at its number modulo RECENT: where its value is, or the Pokémon once it was decoded.
  readonly #recentPokemon: (Pokemon | null)[] = new Array(RECENT).fill(null)
  readonly #recentBytes: Buffer[] = new Array(RECENT).fill(NO_BYTES)
  readonly #recentStarts: number[] = new Array(RECENT).fill(0)
  readonly #recentEnds: number[] = new Array(RECENT).fill(0)
  #newestTimestamp = -1
  #newestBytes: Buffer = NO_BYTES
  #newestHeaders = 0
  #newestHeadersEnd = 0

  constructor(counter: TypeCounter, lastSequences: ReadonlyMap<string, number>) {
    this.#counter = counter
    for (const [name, last] of lastSequences) this.#sources.set(name, stateOf(name, last))
  }

  /** How many sources it knows. */
  get sources(): number {
    return this.#sources.size
  }

  /**
   * Counts the records behind the cursor, up to its end, or until the delta holds about `maxSize` bytes, or up to a record with a type name that is
   * one too many.
   * @throws where memory runs out. What was counted in this call is dropped, and this tally must not be used again.
   */
  count(cursor: RecordView & { next(): boolean }, maxSize: number): CountResult {
    try {
      this.#addAll(cursor, maxSize)
      const endedBy = this.#lacksRoom ? 'new-type' : this.#size >= maxSize ? 'size' : 'cursor'
      // The summary first: draining empties it.
      return { summary: this.#summary(), delta: this.#drain(), endedBy }
    } catch (error) {
      // The counter is shared: without this the next partition's delta would have these counts.
      this.#drain()
      throw error
    }
  }

  /** A function of its own: V8 compiles this loop while it runs, and code that runs once for a response would make that void each time. */
  #addAll(cursor: RecordView & { next(): boolean }, maxSize: number): void {
    while (this.#size < maxSize && cursor.next()) this.#add(cursor)
  }

  /** Adds the record that the cursor stands on (rules C1 and C2). */
  #add(record: RecordView): void {
    if (record.eventType === 'foreign') {
      this.#addDeadLetter(record, 'unknown-event-type')
      return
    }
    const source = record.source
    let state: SourceState | null = null
    if (source !== null) {
      state = source === this.#lastSource ? (this.#lastState as SourceState) : this.#stateOf(source)
      // A duplicate (rule C2): the producer sent it again, or it is late.
      if (record.sequence <= state.last) {
        this.#duplicates++
        if (record.sequence > state.highestDuplicate || state.duplicatesOf !== state.last) this.#newDuplicate(state, record.sequence)
        return
      }
    }
    const value = this.#counter.count(record)
    // The kind of the value first: V8 compiles the comparison of two values that may be objects or texts to a call.
    const isCountable = typeof value === 'object'
    if (!isCountable && value === NO_ROOM) {
      this.#lacksRoom = true
      // Ends the loop of `#addAll`.
      this.#size = Number.MAX_SAFE_INTEGER
      return
    }
    if (state !== null) {
      const step = record.sequence - state.last
      if (step === 1 || this.#passesGap(state, record.sequence, step)) {
        state.last = record.sequence
        if (!state.hasRisen) this.#rise(state)
      }
    }
    if (!isCountable) {
      this.#addDeadLetter(record, value as DeadLetterReason)
      return
    }
    if (value.pending === 1) this.#size += SIZE_OF_VALUE
    if (record.bytes !== this.#newestBytes) this.#changeBuffer(record.bytes)
    const place = this.#counted & (RECENT - 1)
    this.#recentBytes[place] = record.bytes
    this.#recentStarts[place] = record.valueStart
    this.#recentEnds[place] = record.valueEnd
    this.#counted++
    this.#newestTimestamp = record.timestamp
    this.#newestHeaders = record.headersStart
    this.#newestHeadersEnd = record.headersEnd
  }

  #drain(): CountDelta {
    const lastSequences = new Map<string, number>()
    for (const state of this.#risen) {
      lastSequences.set(state.name, state.last)
      state.hasRisen = false
    }
    const delta = {
      counts: this.#counter.drain(),
      lastSequences,
      deadLetters: this.#deadLetters,
      counted: this.#counted,
      duplicates: this.#duplicates,
    }
    this.#risen.length = 0
    for (const state of this.#anomalous) {
      state.isAnomalous = false
      state.leaps = 0
      state.late = 0
    }
    this.#anomalous.length = 0
    this.#deadLetters = []
    this.#size = 0
    this.#lacksRoom = false
    this.#counted = 0
    this.#duplicates = 0
    this.#newestTimestamp = -1
    this.#newestBytes = NO_BYTES
    this.#recentBytes.fill(NO_BYTES)
    return delta
  }

  #summary(): CountSummary {
    const deadLetters = new Map<string, number>()
    for (const { reason } of this.#deadLetters) deadLetters.set(reason, (deadLetters.get(reason) ?? 0) + 1)
    return {
      ...(this.#anomalous.length > 0 && { anomalies: this.#anomalies() }),
      counted: this.#counted,
      duplicates: this.#duplicates,
      deadLetters,
      recent: this.#recent(),
      newestTimestamp: isTime(this.#newestTimestamp) ? this.#newestTimestamp : -1,
      newestOrigin:
        this.#newestBytes === NO_BYTES ? null : originOf(this.#newestBytes.subarray(this.#newestHeaders, this.#newestHeadersEnd)),
    }
  }

  /** @returns false if the sequence leaps: then the record is counted, but the last sequence of its source stays */
  #passesGap(state: SourceState, sequence: number, step: number): boolean {
    if (step > MAX_LEAP) {
      state.leaps++
      this.#addAnomaly(state, sequence)
      return false
    }
    state.gapStart = state.last
    state.gapEnd = sequence
    return true
  }

  /** A duplicate has a sequence that no duplicate of its source had since the last sequence rose. */
  #newDuplicate(state: SourceState, sequence: number): void {
    if (state.duplicatesOf !== state.last) {
      state.duplicatesOf = state.last
      state.newDuplicates = 0
    }
    state.highestDuplicate = sequence
    state.newDuplicates++
    if (state.gapEnd === state.last && sequence > state.gapStart && sequence < state.gapEnd) state.late++
    this.#addAnomaly(state, sequence)
  }

  #addAnomaly(state: SourceState, sequence: number): void {
    state.sequence = sequence
    if (state.isAnomalous) return
    state.isAnomalous = true
    this.#size += SIZE_OF_SOURCE
    this.#anomalous.push(state)
  }

  #anomalies(): SourceAnomalies {
    const named = this.#anomalous.toSorted((a, b) => b.leaps + b.late - (a.leaps + a.late)).slice(0, MAX_NAMED_SOURCES)
    return {
      leaps: this.#anomalous.reduce((sum, { leaps }) => sum + leaps, 0),
      late: this.#anomalous.reduce((sum, { late }) => sum + late, 0),
      sources: named.map(({ name, last, sequence, leaps, late, newDuplicates, duplicatesOf }) => ({
        source: name,
        last,
        sequence,
        leaps,
        late,
        newDuplicates: duplicatesOf === last ? newDuplicates : 0,
      })),
    }
  }

  #rise(state: SourceState): void {
    state.hasRisen = true
    this.#size += SIZE_OF_SOURCE
    this.#risen.push(state)
  }

  /** The next record is in another buffer. Each may be a whole decompressed batch, so a large one is not kept for the summary: its Pokémon are decoded now. */
  #changeBuffer(bytes: Buffer): void {
    if (this.#newestBytes.length > MAX_KEPT_BYTES) this.#decodeRecent()
    this.#newestBytes = bytes
  }

  #recent(): Pokemon[] {
    this.#decodeRecent()
    const recent: Pokemon[] = []
    for (let i = Math.max(0, this.#counted - RECENT); i < this.#counted; i++) {
      const pokemon = this.#recentPokemon[i & (RECENT - 1)]
      if (pokemon) recent.push(pokemon)
    }
    return recent
  }

  /** Only the last few records: counting the others needs their types alone. */
  #decodeRecent(): void {
    for (let place = 0; place < RECENT; place++) {
      const bytes = this.#recentBytes[place] as Buffer
      if (bytes === NO_BYTES) continue
      const pokemon = decodePokemon(bytes.subarray(this.#recentStarts[place], this.#recentEnds[place]))
      this.#recentPokemon[place] = typeof pokemon === 'string' ? null : pokemon
      this.#recentBytes[place] = NO_BYTES
    }
  }

  #addDeadLetter(record: RecordView, reason: DeadLetterReason): void {
    const added = deadLetter(record, reason)
    this.#size += SIZE_OF_DEAD_LETTER + bytesOfRecord(added)
    this.#deadLetters.push(added)
  }

  #stateOf(source: EventSource): SourceState {
    let state = this.#byIdentity.get(source)
    if (state === undefined) {
      state = this.#sources.get(source.name)
      if (state === undefined) {
        state = stateOf(source.name, -1)
        this.#sources.set(source.name, state)
      }
      this.#byIdentity.set(source, state)
    }
    this.#lastSource = source
    this.#lastState = state
    return state
  }
}

/** The last time that `Date` can show, in ms since 1970. */
const MAX_TIME = 8.64e15

function isTime(timestamp: number): boolean {
  return timestamp >= 0 && timestamp <= MAX_TIME
}

/** An event of our producer has at most eight headers. In a record with more than this, `ce_origin` is looked for among the first ones only. */
const MAX_EVENT_HEADERS = 64

function originOf(bytes: Buffer): 'live' | 'bundled' | null {
  if (bytes.length > MAX_KEPT_BYTES) return null
  for (const [key, value] of copyHeaders(bytes, MAX_EVENT_HEADERS)) {
    if (key.toString() !== HEADER.origin) continue
    const origin = value?.toString()
    return origin === 'live' || origin === 'bundled' ? origin : null
  }
  return null
}

/** Copies a record out of its response, because the bytes of a response are reused after it was counted. */
function deadLetter(record: RecordView, reason: DeadLetterReason): DeadLetter {
  const cut: Partial<Record<DeadLetterPart, WholePart>> = {}
  const keep = (part: DeadLetterPart, start: number, end: number): Buffer => {
    const bytes = record.bytes.subarray(start, end)
    if (bytes.length <= MAX_WHOLE_PART_BYTES) return Buffer.from(bytes)
    cut[part] = wholePart(bytes)
    return Buffer.from(bytes.subarray(0, CUT_PART_BYTES))
  }
  return {
    offset: record.offset,
    leaderEpoch: record.leaderEpoch,
    timestamp: record.exactTimestamp(),
    reason,
    key: record.keyStart < 0 ? null : keep('key', record.keyStart, record.keyEnd),
    value: record.valueStart < 0 ? null : keep('value', record.valueStart, record.valueEnd),
    headers: keep('headers', record.headersStart, record.headersEnd),
    cut,
  }
}
