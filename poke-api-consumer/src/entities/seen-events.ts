/**
 * Exactly which events of a source were seen, and a checksum of each: what `verify` recognises duplicates by.
 * A high-water mark would repeat the mistakes it is meant to find, so every sequence has a bit of its own.
 */

/** Sequences in a page: a page is 18 KiB, and sources number their events one after the other. */
const PAGE = 4096

interface Page {
  readonly seen: Uint32Array
  readonly checksums: Int32Array
}

export class SeenEvents {
  readonly #pages = new Map<number, Page>()

  /**
   * @param sequence 0 to 2^53 − 1
   * @param checksum 32 bits of the event's bytes
   * @returns `first`; or, where the sequence was seen before, whether with the same checksum
   */
  see(sequence: number, checksum: number): 'first' | 'equal' | 'different' {
    const number = Math.floor(sequence / PAGE)
    const place = sequence % PAGE
    let page = this.#pages.get(number)
    if (page === undefined) {
      page = { seen: new Uint32Array(PAGE / 32), checksums: new Int32Array(PAGE) }
      this.#pages.set(number, page)
    }
    const word = place >>> 5
    const bit = 1 << (place & 31)
    if (((page.seen[word] as number) & bit) !== 0) return page.checksums[place] === (checksum | 0) ? 'equal' : 'different'
    page.seen[word] = (page.seen[word] as number) | bit
    page.checksums[place] = checksum
    return 'first'
  }
}
