/** Pure counting: each record of a partition is counted, recognised as a duplicate, or becomes a dead letter. */

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

/** What some records of a partition add up to. */
export interface TallyDelta {
  /** By type name, only types that were counted. */
  readonly counts: Map<string, number>
  /** By source name, only sources whose last sequence moved. */
  readonly lastSequences: Map<string, number>
  readonly deadLetters: DeadLetter[]
  readonly counted: number
  readonly duplicates: number
}

/** The same for people to watch. */
export interface TallySummary {
  readonly counted: number
  readonly duplicates: number
  /** By reason. */
  readonly deadLetters: ReadonlyMap<string, number>
  /** The last few Pokémon counted, oldest first. */
  readonly recent: readonly Pokemon[]
  /** Timestamp of the record counted last, ms since 1970; −1 if none was, or where no clock can show it. */
  readonly newestTimestamp: number
  /** What that record's `ce_origin` says; null where it says nothing that we know. */
  readonly newestOrigin: 'live' | 'bundled' | null
  /** Absent where no source gave a reason to doubt it. */
  readonly doubts?: SourceDoubts
}

/** What speaks against sources of events. */
export interface SourceDoubts {
  /** Records whose sequence leaps (rule C2). */
  readonly leaps: number
  /** Duplicates whose sequence the partition has never had: it is between the last one of their source and the one before. */
  readonly late: number
  /** By source: those with leaps and late records first, and not more than a few. */
  readonly sources: readonly SourceDoubt[]
}

export interface SourceDoubt {
  readonly source: string
  /** Its last sequence; −1: there is none. */
  readonly last: number
  /** The newest one that speaks against it. */
  readonly sequence: number
  readonly leaps: number
  readonly late: number
  /** Duplicates since its last sequence rose, each with a higher sequence than the one before: the same events sent again and again do not add to them. */
  readonly repeats: number
}

/** How many of the Pokémon counted last are remembered for people to watch: a power of two. */
const RECENT = 8
/** Buffers of other batches that are no larger, in bytes, are kept until the end of a response. */
const LARGEST_KEPT = 64 * 1024

/** Instead of null, so that the fields that hold bytes never hold anything else: V8 would compile what reads them anew. */
const NO_BYTES = Buffer.alloc(0)

// What these take in a commit, in bytes, about: a dead letter besides its own bytes, a source whose last sequence moved, a value with types of its own.
const SIZE_OF_LETTER = 512
const SIZE_OF_SOURCE = 512
const SIZE_OF_VALUE = 256

/** So many sources are named at once that are doubted. */
const MOST_DOUBTED = 16

interface SourceState {
  readonly name: string
  last: number
  changed: boolean
  /** The last sequence before `last`: nothing between them was ever read. The same as `last` where it is not known. */
  before: number
  /** What speaks against it since the last `take`, if it is among the doubted. */
  doubted: boolean
  leaps: number
  late: number
  sequence: number
  /** Of the duplicates since the last sequence became `repeatsOf`: the highest sequence, and how often it rose. */
  repeatsOf: number
  repeated: number
  repeats: number
}

function stateOf(name: string, last: number): SourceState {
  return {
    name,
    last,
    changed: false,
    before: last,
    doubted: false,
    leaps: 0,
    late: 0,
    sequence: -1,
    repeatsOf: last,
    repeated: -1,
    repeats: 0,
  }
}

/**
 * Counts for any number of partitions, one after the other: what is shared between them is the memory of decoded values.
 * Nothing is allocated for a record whose value and source are known.
 */
export class Counter {
  readonly #values: ValueTable
  /** Values with sightings not yet drained. */
  readonly #touched: CountableValue[] = []
  readonly #drained: number[] = []

  /** @param mostTypes how many type names may be known */
  constructor(mostTypes = Number.POSITIVE_INFINITY) {
    this.#values = new ValueTable((value) => this.#drain(value), mostTypes)
  }

  /** How many type names are known: those that were told of, and those that were met. */
  get types(): number {
    return this.#values.typeNames.names.length
  }

  /** Tells of type names that are counted already, here or elsewhere. */
  know(names: Iterable<string>): void {
    for (const name of names) this.#values.typeNames.indexOf(name)
  }

  /** @param lastSequences the partition's, as its store has them */
  tally(lastSequences: ReadonlyMap<string, number>): Tally {
    return new Tally(this, lastSequences)
  }

  /** Counts a value once; gives the value, or the reason why it cannot be counted, or `NO_ROOM`. */
  count(record: RecordView): CountableValue | string {
    const value = this.#values.find(record.bytes, record.view, record.valueStart, record.valueEnd)
    if (typeof value === 'object' && value.pending++ === 0) this.#touched.push(value)
    return value
  }

  /** Takes what was counted since the last call: by type name. */
  take(): Map<string, number> {
    for (const value of this.#touched) this.#drain(value)
    this.#touched.length = 0
    const counts = new Map<string, number>()
    const names = this.#values.typeNames.names
    for (let type = 0; type < this.#drained.length; type++) {
      const count = this.#drained[type]
      if (count) counts.set(names[type] as string, count)
    }
    this.#drained.fill(0)
    return counts
  }

  #drain(value: CountableValue): void {
    const drained = this.#drained
    for (const type of value.types) {
      while (drained.length <= type) drained.push(0)
      drained[type] = (drained[type] as number) + value.pending
    }
    value.pending = 0
  }
}

/** The records of one partition, from the position its store had at `open`. Add all records of a response, then `take`, without waiting between. */
export class Tally {
  readonly #counter: Counter
  readonly #sources = new Map<string, SourceState>()
  /** Finds a source's state without hashing its name. */
  #byIdentity = new WeakMap<EventSource, SourceState>()
  #lastSource: EventSource | null = null
  #lastState: SourceState | null = null
  readonly #changed: SourceState[] = []
  readonly #doubted: SourceState[] = []
  #deadLetters: DeadLetter[] = []
  #size = 0
  #lacksRoom = false
  #counted = 0
  #duplicates = 0
  // The records counted last, at their number modulo the room: where their values are, or whose they were.
  readonly #recentPokemon: (Pokemon | null)[] = new Array(RECENT).fill(null)
  readonly #recentBytes: Buffer[] = new Array(RECENT).fill(NO_BYTES)
  readonly #recentStarts: number[] = new Array(RECENT).fill(0)
  readonly #recentEnds: number[] = new Array(RECENT).fill(0)
  #newestTimestamp = -1
  #newestBytes: Buffer = NO_BYTES
  #newestHeaders = 0
  #newestHeadersEnd = 0

  constructor(counter: Counter, lastSequences: ReadonlyMap<string, number>) {
    this.#counter = counter
    for (const [name, last] of lastSequences) this.#sources.set(name, stateOf(name, last))
  }

  /** How many sources it knows. */
  get sources(): number {
    return this.#sources.size
  }

  /** What the dead letters, moved sources and distinct values since the last `take` hold, about, in bytes. */
  get size(): number {
    return this.#size
  }

  /** Whether the record added last was not added: a type of it is one more than there may be. Nothing else can be added before `take`. */
  get lacksRoom(): boolean {
    return this.#lacksRoom
  }

  /**
   * Adds the records behind the cursor, up to its end, or until what was added since the last `take` holds so many bytes, or to a record for which
   * there is no room. A function of its own, and nothing else: V8 compiles it while it runs, and what runs once for a response beside it would make
   * that void each time.
   */
  addAll(cursor: RecordView & { next(): boolean }, mostSize: number): void {
    while (this.#size < mostSize && cursor.next()) this.add(cursor)
  }

  /** Adds the record that the cursor stands on (rules C1 and C2). */
  add(record: RecordView): void {
    if (record.kind === 'unknown') {
      this.#bury(record, 'unknown-event-type')
      return
    }
    const source = record.source
    let state: SourceState | null = null
    if (source !== null) {
      state = source === this.#lastSource ? (this.#lastState as SourceState) : this.#stateOf(source)
      if (record.sequence <= state.last) {
        this.#duplicates++
        if (record.sequence > state.repeated || state.repeatsOf !== state.last) this.#repeat(state, record.sequence)
        return
      }
    }
    const value = this.#counter.count(record)
    if (value === NO_ROOM) {
      this.#lacksRoom = true
      this.#size = Number.MAX_SAFE_INTEGER
      return
    }
    if (state !== null) {
      if (record.sequence - state.last > MAX_LEAP) this.#leap(state, record.sequence)
      else {
        state.before = state.last
        state.last = record.sequence
        if (!state.changed) this.#change(state)
      }
    }
    if (typeof value === 'string') {
      this.#bury(record, value as DeadLetterReason)
      return
    }
    if (value.pending === 1) this.#size += SIZE_OF_VALUE
    if (record.bytes !== this.#newestBytes) this.#turnTo(record.bytes)
    const place = this.#counted & (RECENT - 1)
    this.#recentBytes[place] = record.bytes
    this.#recentStarts[place] = record.valueStart
    this.#recentEnds[place] = record.valueEnd
    this.#counted++
    this.#newestTimestamp = record.timestamp
    this.#newestHeaders = record.headersStart
    this.#newestHeadersEnd = record.headersEnd
  }

  /** What was added since the last `take`. */
  take(): TallyDelta {
    const lastSequences = new Map<string, number>()
    for (const state of this.#changed) {
      lastSequences.set(state.name, state.last)
      state.changed = false
    }
    const delta = {
      counts: this.#counter.take(),
      lastSequences,
      deadLetters: this.#deadLetters,
      counted: this.#counted,
      duplicates: this.#duplicates,
    }
    this.#changed.length = 0
    for (const state of this.#doubted) {
      state.doubted = false
      state.leaps = 0
      state.late = 0
    }
    this.#doubted.length = 0
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

  /** What was added since the last `take`, for people; to be asked before it. */
  summary(): TallySummary {
    const deadLetters = new Map<string, number>()
    for (const { reason } of this.#deadLetters) deadLetters.set(reason, (deadLetters.get(reason) ?? 0) + 1)
    return {
      ...(this.#doubted.length > 0 && { doubts: this.#doubts() }),
      counted: this.#counted,
      duplicates: this.#duplicates,
      deadLetters,
      recent: this.#recent(),
      newestTimestamp: isTime(this.#newestTimestamp) ? this.#newestTimestamp : -1,
      newestOrigin:
        this.#newestBytes === NO_BYTES ? null : originOf(this.#newestBytes.subarray(this.#newestHeaders, this.#newestHeadersEnd)),
    }
  }

  /** A record of it was counted whose sequence leaps: whatever follows is measured against the one before. */
  #leap(state: SourceState, sequence: number): void {
    state.leaps++
    this.#doubt(state, sequence)
  }

  /** A duplicate of it has a sequence that no duplicate had since its last one rose. */
  #repeat(state: SourceState, sequence: number): void {
    if (state.repeatsOf !== state.last) {
      state.repeatsOf = state.last
      state.repeats = 0
    }
    state.repeated = sequence
    state.repeats++
    if (sequence > state.before && sequence < state.last) state.late++
    this.#doubt(state, sequence)
  }

  #doubt(state: SourceState, sequence: number): void {
    state.sequence = sequence
    if (state.doubted) return
    state.doubted = true
    this.#size += SIZE_OF_SOURCE
    this.#doubted.push(state)
  }

  #doubts(): SourceDoubts {
    const most = this.#doubted.toSorted((a, b) => b.leaps + b.late - (a.leaps + a.late)).slice(0, MOST_DOUBTED)
    return {
      leaps: this.#doubted.reduce((sum, { leaps }) => sum + leaps, 0),
      late: this.#doubted.reduce((sum, { late }) => sum + late, 0),
      sources: most.map(({ name, last, sequence, leaps, late, repeats, repeatsOf }) => ({
        source: name,
        last,
        sequence,
        leaps,
        late,
        repeats: repeatsOf === last ? repeats : 0,
      })),
    }
  }

  #change(state: SourceState): void {
    state.changed = true
    this.#size += SIZE_OF_SOURCE
    this.#changed.push(state)
  }

  /** Each buffer may be a whole batch decompressed: large ones are not kept for people's sake. */
  #turnTo(bytes: Buffer): void {
    if (this.#newestBytes.length > LARGEST_KEPT) this.#understandRecent()
    this.#newestBytes = bytes
  }

  #recent(): Pokemon[] {
    this.#understandRecent()
    const recent: Pokemon[] = []
    for (let i = Math.max(0, this.#counted - RECENT); i < this.#counted; i++) {
      const pokemon = this.#recentPokemon[i & (RECENT - 1)]
      if (pokemon) recent.push(pokemon)
    }
    return recent
  }

  /** Only these few: of most records nobody asks whose they are. */
  #understandRecent(): void {
    for (let place = 0; place < RECENT; place++) {
      const bytes = this.#recentBytes[place] as Buffer
      if (bytes === NO_BYTES) continue
      const pokemon = decodePokemon(bytes.subarray(this.#recentStarts[place], this.#recentEnds[place]))
      this.#recentPokemon[place] = typeof pokemon === 'string' ? null : pokemon
      this.#recentBytes[place] = NO_BYTES
    }
  }

  #bury(record: RecordView, reason: DeadLetterReason): void {
    const letter = deadLetter(record, reason)
    this.#size += SIZE_OF_LETTER + bytesOfRecord(letter)
    this.#deadLetters.push(letter)
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
const LAST_TIME = 8.64e15

function isTime(timestamp: number): boolean {
  return timestamp >= 0 && timestamp <= LAST_TIME
}

/** An event of ours has eight at most; whoever adds many does not say where it is from. */
const HEADERS_OF_EVENTS = 64

function originOf(bytes: Buffer): 'live' | 'bundled' | null {
  if (bytes.length > LARGEST_KEPT) return null
  for (const [key, value] of copyHeaders(bytes, HEADERS_OF_EVENTS)) {
    if (key.toString() !== HEADER.origin) continue
    const origin = value?.toString()
    return origin === 'live' || origin === 'bundled' ? origin : null
  }
  return null
}

/** Copies a record out of the response, whose bytes are gone after it was counted. */
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
