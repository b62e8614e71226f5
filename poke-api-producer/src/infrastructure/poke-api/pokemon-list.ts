/** Reads a page of `/pokemon`, the list of all Pokémon: https://pokeapi.co/docs/v2#resource-listspagination-section */
import { unfit } from './failed-attempt.ts'
import { beginningOf, parse } from './pokemon-body.ts'

/** Most Pokémon of a list, in all pages: an endless list must not fill the memory. PokeAPI lists 1,351. */
export const MOST_POKEMON = 100_000

export interface ListPage {
  readonly ids: readonly number[]
  /** URL of the next page, absolute or relative; null: this is the last one. */
  readonly next: string | null
  /** How many Pokémon all pages list together. */
  readonly count: number
}

/**
 * Reduces a page to its ids and the URL of the next page.
 * @throws FailedAttempt where the body is not a page of the list
 */
export function reduceListBody(body: Buffer): Buffer {
  const page = readListBody(body)
  if (page === null) throw unfit('list', `a body that is not a list of Pokémon: ${beginningOf(body)}`)
  const longest = Math.max(page.count, page.ids.length)
  if (longest > MOST_POKEMON) throw unfit('list', `a list of ${longest} Pokémon, which is more than ${MOST_POKEMON}`)
  return Buffer.from(JSON.stringify(page))
}

/** Reads the result of `reduceListBody`. @returns null where it is something else */
export function readReducedList(bytes: Buffer): ListPage | null {
  const page = parse(bytes) as Partial<ListPage> | null | undefined
  const sound =
    typeof page === 'object' && Array.isArray(page?.ids) && page.ids.every(Number.isSafeInteger) && Number.isSafeInteger(page.count)
  return sound && (page.next === null || typeof page.next === 'string') ? (page as ListPage) : null
}

function readListBody(body: Buffer): ListPage | null {
  const page = parse(body) as { count?: unknown; next?: unknown; results?: unknown } | null | undefined
  if (typeof page !== 'object' || page === null || !Array.isArray(page.results)) return null
  const { count, next = null, results } = page
  if (!Number.isSafeInteger(count) || (count as number) < 0 || (next !== null && typeof next !== 'string')) return null
  const ids: number[] = []
  for (const entry of results as ({ url?: unknown } | null)[]) {
    // Only the URL has the id. It is absolute on the live API, and relative in copies of it.
    const id = typeof entry?.url === 'string' ? /\/pokemon\/([1-9]\d{0,14})\/?$/.exec(entry.url)?.[1] : undefined
    if (id === undefined) return null
    ids.push(Number(id))
  }
  return { ids, next, count: count as number }
}
