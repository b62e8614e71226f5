/** Remembers which sources do not number their events as they should, and says why: a single response does not show how long that lasts. */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { MAX_LEAP } from '@poke-api-pipeline/pokemon-event'
import { printable } from '@poke-api-pipeline/service-kit'
import { partitionKey } from '../application/partition-key.ts'
import type { SourceAnomaly } from '../entities/tally.ts'

/** A producer that sends unacknowledged events again has sent all of them by then, in ms. */
const MAX_REPETITION = 5 * 60_000
/** A source is reported for so long after its last anomaly, in ms. */
const REPORTED_FOR = 10 * 60_000
/** Bounded, because anybody who writes to a topic can invent any number of sources. */
const MAX_SOURCES = 1000
const MAX_NAME_LENGTH = 100

interface Remembered {
  readonly at: TopicPartition
  /** Its last sequence, and since when all of its records have been duplicates of that. */
  last: number
  duplicatesSince: number
  seenAt: number
  /** Why it is reported; null where it is not. */
  reason: string | null
}

export class AnomalousSources {
  readonly #now: () => number
  /** In the order in which they were seen last. */
  readonly #sources = new Map<string, Remembered>()

  /** @param now a clock that never goes backwards, in ms */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Adds an anomaly of a response. @returns why the source is reported from now on; null if it is not, or was before */
  add(at: TopicPartition, anomaly: SourceAnomaly): string | null {
    const now = this.#now()
    this.#forget(now)
    const key = `${partitionKey(at)} ${anomaly.source}`
    const known = this.#sources.get(key) ?? { at, last: anomaly.last, duplicatesSince: now, seenAt: now, reason: null }
    // A record of it was counted in between.
    if (anomaly.last !== known.last) known.duplicatesSince = now
    known.last = anomaly.last
    known.seenAt = now
    this.#sources.delete(key)
    this.#sources.set(key, known)
    const reason = reasonFor(at, anomaly, anomaly.newDuplicates > 1 && now - known.duplicatesSince >= MAX_REPETITION)
    if (reason === null) return null
    const isNew = known.reason === null
    known.reason = reason
    return isNew ? reason : null
  }

  closed(at: TopicPartition): void {
    const closed = partitionKey(at)
    for (const [key, source] of this.#sources) if (partitionKey(source.at) === closed) this.#sources.delete(key)
  }

  /** Why sources are reported now: a sentence for each. */
  get reasons(): string[] {
    this.#forget(this.#now())
    return [...this.#sources.values()].map(({ reason }) => reason).filter((reason) => reason !== null)
  }

  #forget(now: number): void {
    for (const [key, { seenAt }] of this.#sources) {
      if (now - seenAt <= REPORTED_FOR && this.#sources.size <= MAX_SOURCES) break
      this.#sources.delete(key)
    }
  }
}

function reasonFor({ partition }: TopicPartition, anomaly: SourceAnomaly, isDuplicateForLong: boolean): string | null {
  const { last, sequence, leaps, late, newDuplicates } = anomaly
  const source = printable(anomaly.source, MAX_NAME_LENGTH)
  const restart = 'Restart that producer: it then numbers its events under a new source, and they count. verify tells how many are missing'
  if (late > 0)
    return `partition ${partition}: records of source ${source} were left out as duplicates though they were never read, because sequence ${sequence} came after ${last}. Either another program writes under its name, or it does not send its events in order. ${restart}`
  if (isDuplicateForLong)
    return `partition ${partition}: all records of source ${source} have been left out as duplicates for more than 5 minutes, ${newDuplicates} different ones, because their sequences (now ${sequence}) are not above ${last}. Either another program has written under its name, or it began to number anew. ${restart}`
  if (leaps === 0) return null
  const before = last < 0 ? 'of which nothing was read before' : `whose last one is ${last}`
  return `partition ${partition}: a record claims the sequence ${sequence} of source ${source}, ${before}. No producer leaps by more than ${MAX_LEAP.toLocaleString('en')}. The record was counted, but the last sequence of that source stays, so its next events count as before. Find out who wrote the record`
}
