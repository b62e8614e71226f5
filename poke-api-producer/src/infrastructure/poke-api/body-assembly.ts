/** Joins the pieces of a body in one buffer for all bodies: allocating 100 kB for each body costs more than filling them. */
export class BodyAssembly {
  #buffer = Buffer.alloc(0)

  /** @returns the whole body, valid until the next call */
  join(pieces: readonly Buffer[]): Buffer {
    if (pieces.length === 1) return pieces[0] as Buffer
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(length)
    let end = 0
    for (const piece of pieces) end += piece.copy(this.#buffer, end)
    return this.#buffer.subarray(0, end)
  }
}
