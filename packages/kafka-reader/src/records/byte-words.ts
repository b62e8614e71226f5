/** Compares bytes in place, four at a time: for names that are compared in every record. */

/** A copy of some bytes. */
export class ByteWords {
  readonly length: number
  readonly #words: Int32Array
  readonly #tail: number

  constructor(view: DataView, start: number, end: number) {
    this.length = end - start
    this.#words = new Int32Array(this.length >> 2)
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = view.getInt32(start + 4 * i, true)
    this.#tail = lastWord(view, start, end)
  }

  /** Whether these bytes are the `length` bytes at `start`. */
  equals(view: DataView, start: number, length: number): boolean {
    return length === this.length && this.at(view, start)
  }

  /** Whether these bytes are at `start`. `view` must have at least `length` bytes from there on. */
  at(view: DataView, start: number): boolean {
    const words = this.#words
    for (let i = 0, at = start; i < words.length; i++, at += 4) if (words[i] !== view.getInt32(at, true)) return false
    return this.#tail === lastWord(view, start, start + this.length)
  }
}

/** The last four bytes, which may overlap the previous word; all bytes if there are fewer than four. */
export function lastWord(view: DataView, start: number, end: number): number {
  if (end - start >= 4) return view.getInt32(end - 4, true)
  let word = 0
  for (let at = start; at < end; at++) word = (word << 8) | view.getUint8(at)
  return word
}

/** The bytes of a text, for comparing. */
export function wordsOf(text: string): ByteWords {
  const bytes = new TextEncoder().encode(text)
  return new ByteWords(new DataView(bytes.buffer), 0, bytes.length)
}
