/**
 * Remembers decoded values by their bytes, so that JSON is parsed once for each distinct value.
 *
 * A four-way set-associative table without chains: a value has four places, found by a hash of its length and of the words at its
 * beginning and end, and is recognised only when all bytes are equal. So a collision costs a parse, never a mistake. A value enters
 * at its second sighting: where all values are distinct nothing is ever copied, and what is kept is bounded by the table.
 */
import { decodePokemon, type Pokemon } from './pokemon.ts'

/** A value that can be counted, and how often it was since the last drain. */
export interface CountableValue {
  readonly pokemon: Pokemon
  /** Indices of its types in `TypeNames`. */
  readonly types: readonly number[]
  /** Sightings not drained yet; belongs to the tally. */
  pending: number
}

/** Values longer than this are parsed each time: our own are about 120 bytes. */
const LONGEST_KEPT = 1024
const SLOTS = 1 << 15
/** Places that a value can have. With fewer, some of the 1351 real values would push each other out for ever. */
const WAYS = 4

interface Slot {
  readonly length: number
  readonly bytes: DataView
  readonly value: CountableValue
}

/** Gives each type name a small number, in the order of their appearance. */
export class TypeNames {
  readonly names: string[] = []
  readonly #indices = new Map<string, number>()

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
  readonly typeNames = new TypeNames()
  readonly #slots: (Slot | undefined)[] = new Array(SLOTS)
  /** The hashes last missed at each set of places, newest first: a value is kept when it is missed again. */
  readonly #seen = new Int32Array(SLOTS)
  readonly #evicted: (value: CountableValue) => void
  #buffer: Buffer | null = null
  #view: DataView = new DataView(new ArrayBuffer(0))

  /** @param evicted called with a value that leaves the table while sightings of it are pending */
  constructor(evicted: (value: CountableValue) => void) {
    this.#evicted = evicted
  }

  /**
   * The value in bytes[start, end), or the reason why it cannot be counted.
   * @param start −1 where the record's value is null
   */
  find(bytes: Buffer, start: number, end: number): CountableValue | string {
    const length = end - start
    if (start < 0 || length < 16 || length > LONGEST_KEPT) return this.#decode(bytes, start, end)
    if (bytes !== this.#buffer) {
      this.#buffer = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    const view = this.#view
    const hash = hashOf(view, start, end)
    const first = hash & (SLOTS - 1)
    const slots = this.#slots
    for (let way = 0; way < WAYS; way++) {
      const slot = slots[first ^ way]
      if (slot === undefined) break
      if (slot.length === length && equal(slot.bytes, view, start, length)) return slot.value
    }
    const value = this.#decode(bytes, start, end)
    if (typeof value === 'object' && this.#isSeenAgain(first, hash)) this.#keep(first, view, start, length, value)
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
    const types: number[] = []
    for (const name of pokemon.types) types.push(this.typeNames.indexOf(name))
    return { pokemon, types, pending: 0 }
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

/** Mixes the length, the first 16 and the last 16 bytes: where ids, names and types differ. At least 16 bytes. */
function hashOf(view: DataView, start: number, end: number): number {
  let h = end - start
  h = Math.imul(h ^ view.getInt32(start, true), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(start + 4, true), 0x85ebca77)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(start + 8, true), 0xc2b2ae3d)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(start + 12, true), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(end - 16, true), 0x85ebca77)
  h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(end - 12, true), 0xc2b2ae3d)
  // The lowest bits choose the place, and have seen the fewest of the others until here.
  h = Math.imul(h ^ (h >>> 15), 0x9e3779b1)
  return h ^ (h >>> 16)
}

/** Whether `length` (16 or more) bytes of `view` from `start` on are those of `kept`. */
function equal(kept: DataView, view: DataView, start: number, length: number): boolean {
  const words = length & ~3
  for (let i = 0; i < words; i += 4) if (kept.getInt32(i, true) !== view.getInt32(start + i, true)) return false
  return words === length || kept.getInt32(length - 4, true) === view.getInt32(start + length - 4, true)
}
