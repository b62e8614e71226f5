/**
 * Remembers what values come to by their bytes, so that JSON is parsed once for each distinct one.
 *
 * Of a value as our producer writes it only the end matters, from its types on (`endOfHead`): values of any number of Pokémon are then as many as
 * there are combinations of types. Any other value is remembered as a whole.
 *
 * A four-way set-associative table without chains: a key has four places, found by a hash, and is recognised only when all bytes are equal.
 * So a collision costs a parse, never a mistake. A key enters at its second sighting: where all are distinct nothing is ever copied, and
 * what is kept is bounded by the table.
 */
import { endOfHead } from '@poke-api-pipeline/pokemon-event'
import { decodePokemon } from './pokemon.ts'

/** What values with one key come to, and how often they were seen since the last drain. */
export interface CountableValue {
  /** Indices of its types in `TypeNames`. */
  readonly types: readonly number[]
  /** Sightings not drained yet; belongs to the tally. */
  pending: number
}

/** Keys longer than this are parsed each time: ours are about 60 bytes. */
const LONGEST_KEPT = 1024
const SHORTEST_KEPT = 40
const QUOTE = 0x22
/** The first bytes of our keys are the same in all of them, `","types":[{"slot":1,"type":{"name":`: these are not hashed. */
const SAME_IN_OURS = 36
const SLOTS = 1 << 15
/** Places that a key can have. With fewer, some of the 1351 values of another producer would push each other out for ever. */
const WAYS = 4

interface Slot {
  readonly length: number
  readonly bytes: DataView
  readonly value: CountableValue
}

/** A value that would bring a type name more than there may be. It can be counted, by whoever may know more of them. */
export const NO_ROOM = 'no-room'

/** Gives each type name a small number, in the order of their appearance. */
export class TypeNames {
  readonly names: string[] = []
  /** So many may be met. */
  readonly most: number
  readonly #indices = new Map<string, number>()

  constructor(most: number) {
    this.most = most
  }

  /** Whether these are known, or may become so. */
  hasRoomFor(names: readonly string[]): boolean {
    if (this.names.length + names.length <= this.most) return true
    const unknown = names.filter((name) => !this.#indices.has(name)).length
    return unknown === 0 || this.names.length + unknown <= this.most
  }

  indexOf(name: string): number {
    let index = this.#indices.get(name)
    if (index === undefined) {
      index = this.names.length
      this.names.push(name)
      this.#indices.set(name, index)
    }
    return index
  }
}

export class ValueTable {
  readonly typeNames: TypeNames
  readonly #slots: (Slot | undefined)[] = new Array(SLOTS)
  /** The hashes last missed at each set of places, newest first: a value is kept when it is missed again. */
  readonly #seen = new Int32Array(SLOTS)
  readonly #evicted: (value: CountableValue) => void

  /**
   * @param evicted called with a value that leaves the table while sightings of it are pending
   * @param mostTypes how many type names may be known
   */
  constructor(evicted: (value: CountableValue) => void, mostTypes = Number.POSITIVE_INFINITY) {
    this.#evicted = evicted
    this.typeNames = new TypeNames(mostTypes)
  }

  /**
   * The value in bytes[start, end), or the reason why it cannot be counted, or `NO_ROOM`.
   * @param view of the same bytes
   * @param start −1 where the record's value is null
   */
  find(bytes: Buffer, view: DataView, start: number, end: number): CountableValue | string {
    if (start < 0) return this.#decode(bytes, start, end)
    const headEnd = endOfHead(bytes, view, start, end)
    const isOurs = headEnd >= 0
    const key = isOurs ? headEnd : start
    const length = end - key
    // Only keys of ours begin with a quotation mark: no whole value is ever taken for one of them.
    if (length < SHORTEST_KEPT || length > LONGEST_KEPT || (!isOurs && bytes[start] === QUOTE)) {
      return this.#decode(bytes, start, end)
    }
    const hash = hashOf(view, isOurs ? key + SAME_IN_OURS : key, end)
    const first = hash & (SLOTS - 1)
    const slots = this.#slots
    let way = 0
    while (way < WAYS) {
      // Incremented where each value passes: V8 would compile all of this anew for the first collision, had it never seen it run.
      const slot = slots[first ^ way++]
      if (slot === undefined) break
      if (slot.length === length && equal(slot.bytes, view, key, length)) return slot.value
    }
    const value = this.#decode(bytes, start, end)
    if (typeof value === 'object' && this.#isSeenAgain(first, hash)) this.#keep(first, view, key, length, value)
    return value
  }

  /** With room for one hash, two values that come in turns would make each other forgotten for ever. */
  #isSeenAgain(first: number, hash: number): boolean {
    const seen = this.#seen
    const set = first & -WAYS
    for (let way = 0; way < WAYS; way++) if (seen[set + way] === hash) return true
    for (let way = WAYS - 1; way > 0; way--) seen[set + way] = seen[set + way - 1] as number
    seen[set] = hash
    return false
  }

  #decode(bytes: Buffer, start: number, end: number): CountableValue | string {
    const pokemon = decodePokemon(start < 0 ? null : bytes.subarray(start, end))
    if (typeof pokemon === 'string') return pokemon
    if (!this.typeNames.hasRoomFor(pokemon.types)) return NO_ROOM
    const types: number[] = []
    for (const name of pokemon.types) types.push(this.typeNames.indexOf(name))
    return { types, pending: 0 }
  }

  #keep(first: number, view: DataView, start: number, length: number, value: CountableValue): void {
    let way = 0
    while (way < WAYS - 1 && this.#slots[first ^ way] !== undefined) way++
    const place = first ^ way
    const old = this.#slots[place]
    if (old !== undefined && old.value.pending > 0) this.#evicted(old.value)
    const copy = new Uint8Array(length)
    copy.set(new Uint8Array(view.buffer, view.byteOffset + start, length))
    this.#slots[place] = { length, bytes: new DataView(copy.buffer), value }
  }
}

/** Mixes the length and all words; the last one may overlap the one before. At least four bytes. */
function hashOf(view: DataView, start: number, end: number): number {
  let h = end - start
  const last = end - 4
  for (let at = start; at < last; at += 4) h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(at, true), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(last, true), 0x85ebca77)
  // The lowest bits choose the place, and have seen the fewest of the others until here.
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae3d)
  return h ^ (h >>> 16)
}

/** Whether `length` (4 or more) bytes of `view` from `start` on are those of `kept`. */
function equal(kept: DataView, view: DataView, start: number, length: number): boolean {
  const words = length & ~3
  for (let i = 0; i < words; i += 4) if (kept.getInt32(i, true) !== view.getInt32(start + i, true)) return false
  return words === length || kept.getInt32(length - 4, true) === view.getInt32(start + length - 4, true)
}
