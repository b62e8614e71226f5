/** Which sources of events are not to be believed, and why: what the tally met of them, over time. */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { MAX_LEAP } from '@poke-api-pipeline/pokemon-event'
import { printable } from '@poke-api-pipeline/service-kit'
import type { SourceDoubt } from '../entities/tally.ts'
import { keyOf } from './group-progress.ts'

/** A producer that sends again what it has in doubt is through with that by then, in ms. */
const LONGEST_REPETITION = 5 * 60_000
/** A source is doubted for so long after the last record that spoke against it, in ms. */
const DOUBTED_FOR = 10 * 60_000
/** More are not remembered: whoever writes to a topic can invent any number. */
const MOST_SOURCES = 1000
const LONGEST_NAME = 100

interface Remembered {
  readonly at: TopicPartition
  /** Its last sequence, and since when all of its records have been duplicates of what it tells. */
  last: number
  repeatingSince: number
  seenAt: number
  /** Why it is doubted; null where it is not. */
  reason: string | null
}

export class DoubtedSources {
  readonly #now: () => number
  readonly #sources = new Map<string, Remembered>()

  /** @param now a clock that never goes backwards, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Remembers what a response had against a source. @returns what is to be said of it now that was not said yet, or null */
  told(at: TopicPartition, doubt: SourceDoubt): string | null {
    const now = this.#now()
    this.#forget(now)
    const key = `${keyOf(at)} ${doubt.source}`
    const known = this.#sources.get(key) ?? { at, last: doubt.last, repeatingSince: now, seenAt: now, reason: null }
    // Something of it was counted in between.
    if (doubt.last !== known.last) known.repeatingSince = now
    known.last = doubt.last
    known.seenAt = now
    // The one seen last is the last one of them.
    this.#sources.delete(key)
    this.#sources.set(key, known)
    const reason = reasonFor(at, doubt, doubt.repeats > 1 && now - known.repeatingSince >= LONGEST_REPETITION)
    if (reason === null) return null
    const isNew = known.reason === null
    known.reason = reason
    return isNew ? reason : null
  }

  closed(at: TopicPartition): void {
    const closed = keyOf(at)
    for (const [key, source] of this.#sources) if (keyOf(source.at) === closed) this.#sources.delete(key)
  }

  /** Why sources are doubted now: a sentence for each. */
  get reasons(): string[] {
    this.#forget(this.#now())
    return [...this.#sources.values()].map(({ reason }) => reason).filter((reason) => reason !== null)
  }

  #forget(now: number): void {
    for (const [key, { seenAt }] of this.#sources) {
      if (now - seenAt <= DOUBTED_FOR && this.#sources.size <= MOST_SOURCES) break
      this.#sources.delete(key)
    }
  }
}

function reasonFor({ partition }: TopicPartition, doubt: SourceDoubt, repeatsForLong: boolean): string | null {
  const { last, sequence, leaps, late, repeats } = doubt
  const source = printable(doubt.source, LONGEST_NAME)
  const restart = 'Restart that producer: it then numbers its events under a new source, and they count. verify tells how many are missing'
  if (late > 0)
    return `partition ${partition}: records of source ${source} were left out as duplicates though they were never read, as sequence ${sequence} came behind ${last}: another program writes under its name, or it does not send its events in their order. ${restart}`
  if (repeatsForLong)
    return `partition ${partition}: all records of source ${source} have been left out as duplicates for more than 5 minutes, ${repeats} different ones, since their sequences (now ${sequence}) are not above ${last}: another program has written under its name, or it began to number anew. ${restart}`
  if (leaps === 0) return null
  const before = last < 0 ? 'of which nothing was read before' : `whose last one is ${last}`
  return `partition ${partition}: a record claims the sequence ${sequence} of source ${source}, ${before}: no producer leaps by more than ${MAX_LEAP.toLocaleString('en')}. The record was counted, and is not taken for the last one of that source: what follows counts as ever. Find out who wrote it`
}
