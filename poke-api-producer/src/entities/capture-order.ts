/** The order in which Pokémon are captured: at random for ever, or each of them once. */
import { type PokemonEvent, typeNames } from './pokemon.ts'

/**
 * Gives Pokémon without end, each with the same probability.
 * @param ids of all Pokémon. They are not one range, so the order draws from the list.
 * @param random uniform in [0, 1)
 * @returns draws the id of the next Pokémon
 * @throws RangeError where there is no Pokémon
 */
export function randomOrder(ids: readonly number[], random: () => number): () => number {
  if (ids.length === 0) throw new RangeError('no Pokémon can be drawn from an empty list')
  return () => ids[Math.floor(random() * ids.length)] as number
}

/**
 * The progress of a sweep: small, so that it can be stored with every capture (rule P2), and complete, so that a killed sweep can continue.
 * Captures finish in any order, so it has a bit for each Pokémon. It can be written as JSON.
 */
export interface SweepProgress {
  /** The Pokémon of this sweep as the API listed them when it began, ascending: `1-1025,10001-10326`. */
  readonly ids: string
  /** A bit for each of them in that order, lowest bit of the first byte first, set where it is done; base64. */
  readonly done: string
  /** Those of the done ones that were captured. The others do not exist (404). */
  readonly captured: number
  /** How many of the captured have each type: the counts rise by this when all of them are counted. */
  readonly types: Readonly<Record<string, number>>
  /** Those of the done ones that could not be obtained; absent: none. */
  readonly leftOut?: {
    /** As in `ids`. */
    readonly ids: string
    /** The reasons of the first of them, by id. */
    readonly reasons: Readonly<Record<string, string>>
  }
}

/** Bounds of the stored reasons, and of their characters: a broken API must not fill the outbox. */
const MOST_REASONS = 100
const LONGEST_REASON = 200
/** How many of them are shown together. */
const MOST_SHOWN = 20

/** The Pokémon that a sweep has left out: how many, and a line for each of the first, `#7: types is empty`. */
export interface LeftOut {
  readonly count: number
  readonly lines: readonly string[]
}

export function leftOutOf({ leftOut }: SweepProgress): LeftOut {
  if (leftOut === undefined) return { count: 0, lines: [] }
  const ids = parseRanges(leftOut.ids)
  const lines = ids.slice(0, MOST_SHOWN).map((id) => `#${id}: ${leftOut.reasons[id] ?? 'the log says why'}`)
  return { count: ids.length, lines }
}

/** Gives each Pokémon of a list once. One that could not be obtained is given again after all others, or left out. */
export class SweepOrder {
  readonly #ids: readonly number[]
  readonly #ranges: string
  /** The index of each id in the list. */
  readonly #places: ReadonlyMap<number, number>
  readonly #done: Uint8Array
  #doneCount = 0
  #captured = 0
  readonly #types: Map<string, number>
  readonly #leftOut: Set<number>
  readonly #reasons: Map<string, string>
  /** Ids that are still to be given, from `#next` on. */
  readonly #waiting: number[] = []
  #next = 0

  /** @param from the ids of a new sweep, or the progress of an earlier run @throws RangeError where the progress contradicts itself */
  constructor(from: readonly number[] | SweepProgress) {
    const progress = 'ids' in from ? from : null
    this.#ids = 'ids' in from ? parseRanges(from.ids) : [...new Set(from)].sort((a, b) => a - b)
    this.#ranges = formatRanges(this.#ids)
    this.#places = new Map(this.#ids.map((id, place) => [id, place]))
    const bytes = Math.ceil(this.#ids.length / 8)
    this.#done = progress === null ? new Uint8Array(bytes) : Uint8Array.fromBase64(progress.done)
    if (this.#done.length !== bytes)
      throw new RangeError(`progress of ${this.#done.length} bytes is not that of ${this.#ids.length} Pokémon`)
    this.#captured = progress?.captured ?? 0
    this.#types = new Map(Object.entries(progress?.types ?? {}))
    this.#leftOut = new Set(parseRanges(progress?.leftOut?.ids ?? ''))
    this.#reasons = new Map(Object.entries(progress?.leftOut?.reasons ?? {}))
    for (const [place, id] of this.#ids.entries()) {
      if (this.#isDone(place)) this.#doneCount++
      else this.#waiting.push(id)
    }
  }

  /** How many Pokémon this sweep has. */
  get total(): number {
    return this.#ids.length
  }

  /** How many of them are captured, do not exist or were left out. */
  get done(): number {
    return this.#doneCount
  }

  /** How many of the done ones were left out. */
  get leftOut(): number {
    return this.#leftOut.size
  }

  /** A Pokémon of this sweep that the API has answered for; null: none yet. */
  get answered(): number | null {
    if (this.#doneCount === this.#leftOut.size) return null
    return this.#ids.find((id, place) => this.#isDone(place) && !this.#leftOut.has(id)) ?? null
  }

  get finished(): boolean {
    return this.#doneCount === this.#ids.length
  }

  /** The next Pokémon to capture; null while all that are left are under way, and at the end. */
  next(): number | null {
    if (this.#next === this.#waiting.length) return null
    return this.#waiting[this.#next++] as number
  }

  /**
   * Marks a Pokémon as done. Its capture is to be stored together with the progress.
   * @param pokemon null where it does not exist
   * @returns the progress with it
   */
  complete(id: number, pokemon: PokemonEvent | null): SweepProgress {
    this.#markDone(id)
    if (pokemon !== null) {
      this.#captured++
      for (const name of typeNames(pokemon)) this.#types.set(name, (this.#types.get(name) ?? 0) + 1)
    }
    return this.progress
  }

  /**
   * Leaves a Pokémon out of the sweep. The progress remembers it, also over restarts.
   * @param reason for people
   * @returns the progress with it
   */
  leaveOut(id: number, reason: string): SweepProgress {
    this.#markDone(id)
    this.#leftOut.add(id)
    if (this.#reasons.size < MOST_REASONS) this.#reasons.set(String(id), reason.slice(0, LONGEST_REASON).toWellFormed())
    return this.progress
  }

  /** A Pokémon could not be obtained: it is given again after all others. */
  putBack(id: number): void {
    if (this.#isDone(this.#placeOf(id))) throw new RangeError(`Pokémon ${id} is completed: it would be captured twice`)
    this.#waiting.push(id)
  }

  get progress(): SweepProgress {
    const progress = { ids: this.#ranges, done: this.#done.toBase64(), captured: this.#captured, types: Object.fromEntries(this.#types) }
    if (this.#leftOut.size === 0) return progress
    const ids = formatRanges([...this.#leftOut].sort((a, b) => a - b))
    return { ...progress, leftOut: { ids, reasons: Object.fromEntries(this.#reasons) } }
  }

  #markDone(id: number): void {
    const place = this.#placeOf(id)
    if (this.#isDone(place)) throw new RangeError(`Pokémon ${id} was completed before: it would be captured twice`)
    this.#done[place >> 3] = (this.#done[place >> 3] as number) | (1 << (place & 7))
    this.#doneCount++
  }

  #isDone(place: number): boolean {
    return ((this.#done[place >> 3] as number) & (1 << (place & 7))) !== 0
  }

  #placeOf(id: number): number {
    const place = this.#places.get(id)
    if (place === undefined) throw new RangeError(`Pokémon ${id} is not part of this sweep`)
    return place
  }
}

/** @param ids ascending, each once */
function formatRanges(ids: readonly number[]): string {
  const ranges: string[] = []
  for (let first = 0; first < ids.length; ) {
    let last = first
    while (ids[last + 1] === (ids[last] as number) + 1) last++
    ranges.push(last === first ? `${ids[first]}` : `${ids[first]}-${ids[last]}`)
    first = last + 1
  }
  return ranges.join()
}

/** Reads the result of `formatRanges`. @throws RangeError where the ranges do not ascend */
function parseRanges(ranges: string): number[] {
  const ids: number[] = []
  for (const range of ranges === '' ? [] : ranges.split(',')) {
    const [first, last = first] = range.split('-').map(Number)
    const ascending =
      Number.isSafeInteger(first) &&
      Number.isSafeInteger(last) &&
      (ids.at(-1) ?? 0) < (first as number) &&
      (first as number) <= (last as number)
    if (!ascending) throw new RangeError(`'${range}' in '${ranges}' is no range of Pokémon`)
    for (let id = first as number; id <= (last as number); id++) ids.push(id)
  }
  return ids
}
