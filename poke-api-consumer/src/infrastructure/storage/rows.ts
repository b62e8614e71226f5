/** Turns rows of a store into objects, and objects into columns: the same for both databases. */

import type { FetchPosition } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterState, KeptDeadLetter, NewestEvent, PartitionSummary } from '../../application/ports.ts'
import type { CutParts, DeadLetterReason } from '../../entities/dead-letter.ts'
import type { ListedDeadLetter } from '../../entities/dead-letter-list.ts'

export type Row = Record<string, unknown>

/** The column of a position: null before the first record. */
export function offsetOf(position: FetchPosition): number | null {
  return position.offset === 'log-start' ? null : position.offset
}

export function positionOf(row: Row): FetchPosition {
  return { offset: (row.position as number | null) ?? 'log-start', leaderEpoch: row.leader_epoch as number }
}

export function summaryOf(row: Row): PartitionSummary {
  return {
    topic: row.topic as string,
    topicId: row.topic_id as string,
    partition: row.partition as number,
    position: positionOf(row),
    counted: row.counted as number,
    duplicates: row.duplicates as number,
    deadLetters: row.dead_letters as number,
    owner: row.owner as string | null,
    ...(typeof row.newest === 'string' && {
      newest: { event: JSON.parse(row.newest) as NewestEvent, countedAt: row.committed_at as number },
    }),
  }
}

/** The characters of a name and the number of types that are stored: events may be large, and each commit writes this column. */
const KEPT = { name: 100, types: 8 }

/** The column of the event that was counted last. */
export function columnOfNewest(newest: NewestEvent | null): string | null {
  if (newest === null) return null
  const { id, name, types, at, origin } = newest
  const cut = (text: string) => text.slice(0, KEPT.name)
  return JSON.stringify({ at, origin, id, name: cut(name), types: types.slice(0, KEPT.types).map(cut) })
}

export function deadLetterOf(row: Row): KeptDeadLetter {
  return {
    id: row.id as number,
    partition: { topic: row.topic as string, topicId: row.topic_id as string, partition: row.partition as number },
    state: row.state as DeadLetterState,
    offset: row.record_offset as number,
    leaderEpoch: row.leader_epoch as number,
    // As text, because neither database gives a 64-bit integer as a JavaScript number.
    timestamp: BigInt(row.record_timestamp as string),
    reason: row.reason as DeadLetterReason,
    key: bytesOf(row.key),
    value: bytesOf(row.value),
    headers: bytesOf(row.headers) as Buffer,
    cut: cutOf(row.cut),
  }
}

/** @returns the dead letter without its bytes */
export function listedOf(row: Row): ListedDeadLetter<DeadLetterState> {
  return {
    offset: row.record_offset as number,
    leaderEpoch: row.leader_epoch as number,
    reason: row.reason as DeadLetterReason,
    state: row.state as DeadLetterState,
    cut: cutOf(row.cut),
  }
}

/** The column of the parts that were shortened: null where there are none. */
export function columnOfCut(cut: CutParts): string | null {
  return Object.keys(cut).length === 0 ? null : JSON.stringify(cut)
}

export function cutOf(column: unknown): CutParts {
  return typeof column === 'string' ? (JSON.parse(column) as CutParts) : {}
}

function bytesOf(column: unknown): Buffer | null {
  return column instanceof Uint8Array ? Buffer.from(column.buffer, column.byteOffset, column.byteLength) : null
}
