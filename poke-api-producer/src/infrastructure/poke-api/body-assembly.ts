/** Puts the pieces of a body together, in one place for all bodies: a new buffer of 100 kB for each costs more than filling it. */
export class BodyAssembly {
  #place = Buffer.alloc(0)

  /** @returns the whole body, valid until the next call */
  join(pieces: readonly Buffer[]): Buffer {
    if (pieces.length === 1) return pieces[0] as Buffer
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (length > this.#place.length) this.#place = Buffer.allocUnsafe(length)
    let end = 0
    for (const piece of pieces) end += piece.copy(this.#place, end)
    return this.#place.subarray(0, end)
  }
}
