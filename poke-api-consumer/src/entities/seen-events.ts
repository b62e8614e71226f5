/**
 * Exactly which events of a source were seen, and a checksum of each: what `verify` recognises duplicates by (rule V1).
 * A high-water mark would repeat the mistakes it is meant to find, so every sequence has a bit of its own.
 */

/** Sequences in a page. A full page takes 18 KiB; sources number their events one after the other, so pages fill up. */
const PAGE = 4096
/** A page with at most so many events is a map, because anybody who writes to the topic can use any sequences and any number of sources. */
const MAX_MAPPED = 128

interface Page {
  readonly seen: Uint32Array
  readonly checksums: Int32Array
}

export class SeenEvents {
  readonly #pages = new Map<number, Page | Map<number, number>>()

  /**
   * @param sequence 0 to 2^53 − 1
   * @param checksum 32 bits of the event's bytes
   * @returns `first`; or, if the sequence was seen before, whether its checksum was `equal` or `different`
   */
  see(sequence: number, checksum: number): 'first' | 'equal' | 'different' {
    const number = Math.floor(sequence / PAGE)
    const place = sequence % PAGE
    let page = this.#pages.get(number)
    if (page === undefined) {
      page = new Map()
      this.#pages.set(number, page)
    }
    if (page instanceof Map) {
      const known = page.get(place)
      if (known !== undefined) return known === (checksum | 0) ? 'equal' : 'different'
      if (page.size < MAX_MAPPED) {
        page.set(place, checksum | 0)
        return 'first'
      }
      page = fullPage(page)
      this.#pages.set(number, page)
    }
    if (isSeen(page, place)) return page.checksums[place] === (checksum | 0) ? 'equal' : 'different'
    mark(page, place, checksum)
    return 'first'
  }
}

function fullPage(mapped: ReadonlyMap<number, number>): Page {
  const page = { seen: new Uint32Array(PAGE / 32), checksums: new Int32Array(PAGE) }
  for (const [place, checksum] of mapped) mark(page, place, checksum)
  return page
}

function isSeen({ seen }: Page, place: number): boolean {
  return ((seen[place >>> 5] as number) & (1 << (place & 31))) !== 0
}

function mark({ seen, checksums }: Page, place: number, checksum: number): void {
  seen[place >>> 5] = (seen[place >>> 5] as number) | (1 << (place & 31))
  checksums[place] = checksum
}
