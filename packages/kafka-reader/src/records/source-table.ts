/**
 * Finds the object of an event source by the bytes of its name, so that names are not decoded for every record.
 *
 * A two-way table of fixed size, without chains. A name that was replaced is decoded again and gets a new object with the same name. A hash
 * collision has the same effect; it never returns another source, because all bytes are compared.
 */
import { isUtf8 } from 'node:buffer'
import type { EventSource } from '../ports.ts'
import { ByteWords, lastWord, wordsOf } from './byte-words.ts'

const SLOTS = 1 << 11

interface Slot {
  readonly name: ByteWords
  /** null: these bytes name no source (rule C1). */
  readonly source: EventSource | null
}

/** The slot of the empty name, which names no source. */
const EMPTY: Slot = { name: wordsOf(''), source: null }

export class SourceTable {
  readonly #slots: Slot[] = new Array(SLOTS).fill(EMPTY)
  readonly #maxBytes: number
  #last: Slot = EMPTY

  /** @param maxBytes the longest name */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * The source that bytes[start, end) name; null if they name none. A name is UTF-8 without NUL: text columns cannot store other bytes, so two
   * sources whose names differ only in these would become one.
   * @param view over the same bytes
   */
  find(bytes: Buffer, view: DataView, start: number, end: number): EventSource | null {
    const length = end - start
    const last = this.#last
    if (length > this.#maxBytes) return null
    if (length === last.name.length && last.name.at(view, start)) return last.source
    const first = hashOf(view, start, end) & (SLOTS - 1)
    let slot = this.#slots[first] as Slot
    if (slot.name.length !== length || !slot.name.at(view, start)) {
      slot = this.#slots[first ^ 1] as Slot
      if (slot.name.length !== length || !slot.name.at(view, start)) {
        slot = { name: new ByteWords(view, start, end), source: named(bytes, start, end) }
        this.#slots[this.#slots[first] === EMPTY ? first : first ^ 1] = slot
      }
    }
    this.#last = slot
    return slot.source
  }
}

function named(bytes: Buffer, start: number, end: number): EventSource | null {
  const name = bytes.subarray(start, end)
  return name.length === 0 || name.includes(0) || !isUtf8(name) ? null : { name: name.toString() }
}

/** A hash of the length and every word. */
function hashOf(view: DataView, start: number, end: number): number {
  let h = end - start
  for (let at = start; at + 4 <= end; at += 4) h = Math.imul(h ^ (h >>> 15) ^ view.getInt32(at, true), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ lastWord(view, start, end), 0x85ebca77)
  return h ^ (h >>> 16)
}
