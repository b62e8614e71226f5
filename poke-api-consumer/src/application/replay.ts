/** Decodes all dead letters again. Those that can be counted now, for example by a new version of this service, are counted, each once (rule D3). */

import { copyHeaders, countHeaders, MAX_HEADERS } from '@poke-api-pipeline/kafka-reader'
import { readIdentity } from '@poke-api-pipeline/pokemon-event'
import type { DeadLetter, DeadLetterReason } from '../entities/dead-letter.ts'
import { decodePokemon, type Pokemon } from '../entities/pokemon.ts'
import type { DeadLetterStore } from './ports.ts'

export interface ReplayReport {
  /** Dead letters that were counted. */
  readonly counted: number
  /** Dead letters that still cannot be counted, by the reason of now. */
  readonly left: ReadonlyMap<DeadLetterReason, number>
  /** How many of those left are cut in the store, so that only a reset, which counts the topic again, could count them. */
  readonly cut: number
  /** Dead letters that somebody else counted or purged meanwhile. */
  readonly gone: number
}

/** Dead letters in memory at once: each can have several megabytes. */
const PAGE = 16

/**
 * Each dead letter is counted in a transaction of its own, so that a replay that is interrupted, or runs twice at once, counts nothing twice.
 * @param progress called with the dead letters decoded so far, after each page
 * @throws where the store cannot be read or written
 */
export async function replay(
  store: Pick<DeadLetterStore, 'deadLetters' | 'replay'>,
  progress: (tried: number) => void,
): Promise<ReplayReport> {
  const left = new Map<DeadLetterReason, number>()
  let counted = 0
  let cut = 0
  let gone = 0
  let tried = 0
  let before: number | null = null
  for (;;) {
    const page = await store.deadLetters(before, PAGE)
    if (page.length === 0) return { counted, left, cut, gone }
    for (const deadLetter of page) {
      const pokemon = decodeAgain(deadLetter)
      if (typeof pokemon === 'string') {
        left.set(pokemon, (left.get(pokemon) ?? 0) + 1)
        if (deadLetter.cut.value !== undefined || deadLetter.cut.headers !== undefined) cut++
      } else if (await store.replay(deadLetter.id, new Map(pokemon.types.map((type) => [type, 1])))) counted++
      else gone++
    }
    tried += page.length
    progress(tried)
    before = page.at(-1)?.id ?? null
  }
}

/** Decodes it as a record with these bytes would be decoded now (rule C1). */
function decodeAgain({ headers, value, reason, cut }: DeadLetter): Pokemon | DeadLetterReason {
  if (cut.headers !== undefined || countHeaders(headers) > MAX_HEADERS) return reason
  const { kind } = readIdentity(copyHeaders(headers, MAX_HEADERS))
  if (kind === 'unknown') return 'unknown-event-type'
  return cut.value === undefined ? decodePokemon(value) : 'too-large'
}
