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
const MIN_KEY_BYTES = 40
const QUOTE = 0x22
/** The first bytes of a suffix are always `","types":[{"slot":1,"type":{"name":`, so they are not hashed. */
const SUFFIX_PREFIX_BYTES = 36
const SLOTS = 1 << 15
/** Places of a key. With fewer, some of the 1351 values that another producer writes would replace each other for ever. */
const WAYS = 4

interface Slot {
  readonly length: number
  readonly bytes: DataView
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
      if (slot.length === length && equal(slot.bytes, view, key, length)) return slot.value
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
    const copy = new Uint8Array(length)
    copy.set(new Uint8Array(view.buffer, view.byteOffset + start, length))
    this.#slots[place] = { length, bytes: new DataView(copy.buffer), value }
  }
}

/** Hashes the length and all words of at least four bytes; the last word may overlap the one before. */
function hashOf(view: DataView, start: number, end: number): number {
  let h = end - start
  const last = end - 4
  for (let at = start; at < last; at += 4) h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(at, true), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(last, true), 0x85ebca77)
  // The lowest bits choose the place, and have been mixed least until here.
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae3d)
  return h ^ (h >>> 16)
}

/** Whether `length` (4 or more) bytes of `view` from `start` on equal those of `kept`. */
function equal(kept: DataView, view: DataView, start: number, length: number): boolean {
  const words = length & ~3
  for (let i = 0; i < words; i += 4) if (kept.getInt32(i, true) !== view.getInt32(start + i, true)) return false
  return words === length || kept.getInt32(length - 4, true) === view.getInt32(start + length - 4, true)
}
