/** What the columns of a store mean: the same in both databases. */

import type { FetchPosition } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterState, KeptDeadLetter, NewestEvent, PartitionSummary } from '../../application/ports.ts'
import type { CutParts, DeadLetterReason } from '../../entities/dead-letter.ts'
import type { ListedDeadLetter } from '../../entities/dead-letter-list.ts'

export type Row = Record<string, unknown>

/** The column of a position: null where nothing was read. */
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

/** What is kept of a name, in characters, and of how many types: the column is written with each commit, and events may be large. */
const KEPT = { name: 100, types: 8 }

/** The column of the event counted last. */
export function columnOfNewest(newest: NewestEvent | null): string | null {
  if (newest === null) return null
  const { id, name, types, at, origin } = newest
  const cut = (text: string) => text.slice(0, KEPT.name)
  return JSON.stringify({ at, origin, id, name: cut(name), types: types.slice(0, KEPT.types).map(cut) })
}

export function letterOf(row: Row): KeptDeadLetter {
  return {
    id: row.id as number,
    partition: { topic: row.topic as string, topicId: row.topic_id as string, partition: row.partition as number },
    state: row.state as DeadLetterState,
    offset: row.record_offset as number,
    leaderEpoch: row.leader_epoch as number,
    // As text: neither database gives 64 bits as a number.
    timestamp: BigInt(row.record_timestamp as string),
    reason: row.reason as DeadLetterReason,
    key: bytesOf(row.key),
    value: bytesOf(row.value),
    headers: bytesOf(row.headers) as Buffer,
    cut: cutOf(row.cut),
  }
}

/** A dead letter without its bytes. */
export function listedOf(row: Row): ListedDeadLetter<DeadLetterState> {
  return {
    offset: row.record_offset as number,
    leaderEpoch: row.leader_epoch as number,
    reason: row.reason as DeadLetterReason,
    state: row.state as DeadLetterState,
    cut: cutOf(row.cut),
  }
}

/** The column of what was cut: null where nothing was. */
export function columnOfCut(cut: CutParts): string | null {
  return Object.keys(cut).length === 0 ? null : JSON.stringify(cut)
}

export function cutOf(column: unknown): CutParts {
  return typeof column === 'string' ? (JSON.parse(column) as CutParts) : {}
}

function bytesOf(column: unknown): Buffer | null {
  return column instanceof Uint8Array ? Buffer.from(column.buffer, column.byteOffset, column.byteLength) : null
}
