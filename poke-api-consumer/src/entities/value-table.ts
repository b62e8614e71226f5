/**
 * A cache of decoded types by the bytes of a value, so that the JSON of each distinct value is parsed only once.
 *
 * A value that our producer wrote is cached by its JSON suffix, which begins at its types (`endOfHead`). There are only as many suffixes as
 * combinations of types, however many Pokémon there are. Any other value is cached as a whole.
 *
 * The table is four-way set-associative: a hash gives a key four places, and a key is found only if all of its bytes are equal. So a collision costs a
 * parse, never a wrong count. A key is stored when it is seen for the second time: distinct values are never copied, and the memory is bounded by
 * the table.
 */
import { endOfHead } from '@poke-api-pipeline/pokemon-event'
import { decodePokemon } from './pokemon.ts'

/** The types of all values with one key, and how often such a value was seen since the last drain. */
export interface CountableValue {
  /** Indices of its types in `TypeNames`. */
  readonly types: readonly number[]
  /** Sightings that were not drained yet. Written by `TypeCounter`. */
  pending: number
}

/** Values with shorter or longer keys are parsed each time. Keys of our producer have about 60 bytes. */
const MAX_KEY_BYTES = 1024
const MIN_KEY_BYTES = 44
const QUOTE = 0x22
/** The first bytes of a suffix are always `","types":[{"slot":1,"type":{"name":`, so they are not hashed. */
const SUFFIX_PREFIX_BYTES = 36
const SLOTS = 1 << 15
/** Places of a key. With fewer, some of the 1351 values that another producer writes would replace each other for ever. */
const WAYS = 4

interface Slot {
  readonly length: number
  /** The bytes of the key, eight at a time as floating-point numbers; the last word ends with the key, and may overlap the one before. */
  readonly words: Float64Array
  readonly value: CountableValue
}

/** Instead of a value: it has a new type name, and no more names may be known. */
export const NO_ROOM = 'no-room'

/** Gives each type name a small number, in the order of their appearance. */
export class TypeNames {
  readonly names: string[] = []
  /** How many names may be known. */
  readonly max: number
  readonly #indices = new Map<string, number>()

  constructor(max: number) {
    this.max = max
  }

  /** Whether all of these names are known, or may still be added. */
  hasRoomFor(names: readonly string[]): boolean {
    if (this.names.length + names.length <= this.max) return true
    const unknown = names.filter((name) => !this.#indices.has(name)).length
    return unknown === 0 || this.names.length + unknown <= this.max
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
  /** The last hashes that were not found in each set of places, newest first: a value is stored when its hash is among them. */
  readonly #missed = new Int32Array(SLOTS)
  readonly #evicted: (value: CountableValue) => void

  /**
   * @param evicted called with a value that is replaced while it has pending sightings
   * @param maxTypes how many type names may be known
   */
  constructor(evicted: (value: CountableValue) => void, maxTypes = Number.POSITIVE_INFINITY) {
    this.#evicted = evicted
    this.typeNames = new TypeNames(maxTypes)
  }

  /**
   * @returns the value in bytes[start, end), or the reason why it cannot be counted, or `NO_ROOM`
   * @param view of the same bytes
   * @param start −1 where the record's value is null
   */
  find(bytes: Buffer, view: DataView, start: number, end: number): CountableValue | string {
    if (start < 0) return this.#decode(bytes, start, end)
    const headEnd = endOfHead(bytes, view, start, end)
    const isOurs = headEnd >= 0
    const key = isOurs ? headEnd : start
    const length = end - key
    // Suffixes begin with a quotation mark. A whole value that does is not cached, so that it is never mistaken for a suffix.
    if (length < MIN_KEY_BYTES || length > MAX_KEY_BYTES || (!isOurs && bytes[start] === QUOTE)) {
      return this.#decode(bytes, start, end)
    }
    const hash = hashOf(view, isOurs ? key + SUFFIX_PREFIX_BYTES : key, end)
    const first = hash & (SLOTS - 1)
    const slots = this.#slots
    let way = 0
    while (way < WAYS) {
      // `way` is incremented here, where each value passes. In the loop's head it would first run at the first collision, and V8 would then compile everything anew.
      const slot = slots[first ^ way++]
      if (slot === undefined) break
      if (slot.length === length && equal(slot.words, view, key, length)) return slot.value
    }
    const value = this.#decode(bytes, start, end)
    if (typeof value === 'object' && this.#isSecondMiss(first, hash)) this.#keep(first, view, key, length, value)
    return value
  }

  /** Several hashes are remembered for each set, because two values that alternate would otherwise replace each other's hash for ever. */
  #isSecondMiss(first: number, hash: number): boolean {
    const missed = this.#missed
    const set = first & -WAYS
    for (let way = 0; way < WAYS; way++) if (missed[set + way] === hash) return true
    for (let way = WAYS - 1; way > 0; way--) missed[set + way] = missed[set + way - 1] as number
    missed[set] = hash
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
    const words = new Float64Array(Math.ceil(length / 8))
    for (let word = 0; word < words.length; word++) words[word] = view.getFloat64(start + Math.min(word * 8, length - 8), true)
    this.#slots[place] = { length, words, value }
  }
}

/**
 * Hashes the length and all words of at least eight bytes; the last words may overlap those before. Two hashes take turns, so that the processor can
 * work on both at once.
 */
function hashOf(view: DataView, start: number, end: number): number {
  let a = end - start
  let b = 0x27d4eb2f
  const last = end - 8
  for (let at = start; at < last; at += 8) {
    a = Math.imul(a ^ (a >>> 15) ^ view.getInt32(at, true), 0x9e3779b1)
    b = Math.imul(b ^ (b >>> 15) ^ view.getInt32(at + 4, true), 0x85ebca77)
  }
  a = Math.imul(a ^ (a >>> 15) ^ view.getInt32(last, true), 0x9e3779b1)
  b = Math.imul(b ^ (b >>> 15) ^ view.getInt32(last + 4, true), 0x85ebca77)
  // The lowest bits choose the place, and have been mixed least until here.
  const h = Math.imul(a ^ (a >>> 15) ^ Math.imul(b ^ (b >>> 13), 0x165667b1), 0xc2b2ae3d)
  return h ^ (h >>> 16)
}

/**
 * Whether `length` (8 or more) bytes of `view` from `start` on equal those of `kept`. Equal numbers have equal bits unless they are zeros, and a kept
 * key has no zeros: it is part of a JSON text, in which no byte is 0. (A NaN equals nothing: that costs a parse, but gives no wrong count.)
 */
function equal(kept: Float64Array, view: DataView, start: number, length: number): boolean {
  const last = kept.length - 1
  for (let word = 0; word < last; word++) if (kept[word] !== view.getFloat64(start + word * 8, true)) return false
  return kept[last] === view.getFloat64(start + length - 8, true)
}
