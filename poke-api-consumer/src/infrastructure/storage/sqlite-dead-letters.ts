/** The table of dead letters in a SQLite store. */
import type { StatementSync } from 'node:sqlite'
import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterState, KeptDeadLetter, PartitionSnapshot } from '../../application/ports.ts'
import type { DeadLetter } from '../../entities/dead-letter.ts'
import { DeadLetterList } from '../../entities/dead-letter-list.ts'
import { deadLetterPageSql } from './dead-letter-page.ts'
import { columnOfCut, deadLetterOf, listedOf } from './rows.ts'
import type { SqliteDatabase } from './sqlite-database.ts'
import type { FullStoreOptions } from './store.ts'

/** The ids that one transaction of a purge covers. */
const PURGE_CHUNK = 4096

export class SqliteDeadLetters {
  readonly #database: SqliteDatabase
  readonly #groupId: string
  readonly #now: () => number
  readonly #statements: ReturnType<typeof prepareStatements>

  constructor(database: SqliteDatabase, { groupId, now }: FullStoreOptions) {
    this.#database = database
    this.#groupId = groupId
    this.#now = now
    this.#statements = prepareStatements(database)
  }

  /** Stores the dead letters of a commit. Call it in the commit's transaction. */
  keep(partitionId: number, deadLetters: readonly DeadLetter[], time: number): void {
    for (const { offset, leaderEpoch, timestamp, reason, key, value, headers, cut } of deadLetters) {
      this.#statements.keep.run(partitionId, offset, leaderEpoch, timestamp, reason, time, key, headers, value, columnOfCut(cut))
    }
  }

  /**
   * Marks a dead letter as counted. Call it in the transaction that counts it.
   * @returns the row id of its partition; null where it has been counted, purged or superseded already
   */
  markCounted(id: number): number | null {
    return (this.#statements.markCounted.get(id, this.#groupId)?.partition_id as number | undefined) ?? null
  }

  newest(before: number | null, limit: number, maxBytes: number): KeptDeadLetter[] {
    return this.#read(this.#statements.newest, this.#groupId, before ?? Number.MAX_SAFE_INTEGER, limit, maxBytes)
  }

  unpublished({ topicId, partition }: TopicPartition, limit: number, maxBytes: number): KeptDeadLetter[] {
    return this.#read(this.#statements.unpublished, this.#groupId, topicId, partition, limit, maxBytes)
  }

  reasons(): Map<string, number> {
    const rows = this.#database.run(() => this.#statements.reasons.all(this.#groupId))
    return new Map(rows.map(({ reason, number }) => [reason as string, number as number]))
  }

  ofPartition(partitionId: number): PartitionSnapshot['deadLetterList'] {
    const list: PartitionSnapshot['deadLetterList'] = new DeadLetterList()
    for (const row of this.#statements.ofPartition.iterate(partitionId)) list.add(listedOf(row))
    return list
  }

  markPublished(ids: readonly number[]): void {
    this.#database.transaction(() => {
      for (const id of ids) this.#statements.markPublished.run(id, this.#groupId)
    })
  }

  /** Purges in chunks, so that counting continues meanwhile: there may be millions. A purge that is interrupted has purged some of them. */
  purge(states: readonly DeadLetterState[], keptBefore: number): number {
    const time = this.#now()
    const last = this.#database.run(() => this.#statements.lastId.get()?.id as number)
    let purged = 0
    for (let from = 0; from < last; from += PURGE_CHUNK) {
      this.#database.transaction(() => {
        for (const state of states) {
          purged += Number(this.#statements.purge.run(time, state, keptBefore, from, from + PURGE_CHUNK, this.#groupId).changes)
        }
      })
    }
    return purged
  }

  #read(statement: StatementSync, ...values: (string | number)[]): KeptDeadLetter[] {
    return this.#database.run(() => statement.all(...values)).map(deadLetterOf)
  }
}

function prepareStatements(database: SqliteDatabase) {
  // As text, because node:sqlite refuses to read an integer beyond 2^53 as a number.
  const columns = `dead_letters.id, dead_letters.record_offset, dead_letters.leader_epoch, CAST(dead_letters.record_timestamp AS TEXT) AS record_timestamp,
    dead_letters.reason, dead_letters.state, dead_letters.key, dead_letters.headers, dead_letters.value, dead_letters.cut, partitions.topic, partitions.topic_id, partitions.partition`
  // SQLite reads lengths from the header of a row, without reading the bytes.
  const bytes = 'coalesce(length(key), 0) + coalesce(length(value), 0) + length(headers)'
  const ofGroup = 'partition_id IN (SELECT id FROM partitions WHERE group_id = ?)'
  return {
    // After a reset the same record may come again: it replaces the row, with its timestamp, which earlier versions have rounded.
    keep: database.prepare(`
      INSERT INTO dead_letters (partition_id, record_offset, leader_epoch, record_timestamp, reason, state, kept_at, key, headers, value, cut)
      VALUES (?, ?, ?, ?, ?, 'kept', ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET record_timestamp = excluded.record_timestamp, reason = excluded.reason, state = 'kept',
        kept_at = excluded.kept_at, purged_at = NULL, key = excluded.key, headers = excluded.headers, value = excluded.value, cut = excluded.cut`),
    markCounted: database.prepare(`
      UPDATE dead_letters SET state = 'counted' WHERE id = ? AND state IN ('kept', 'published') AND ${ofGroup} RETURNING partition_id`),
    markPublished: database.prepare(`UPDATE dead_letters SET state = 'published' WHERE id = ? AND state = 'kept' AND ${ofGroup}`),
    newest: database.prepare(
      deadLetterPageSql({
        columns,
        // First the newest of each partition by their index, then the newest of these: few rows are read, however many there are.
        candidates: `SELECT id, ${bytes} AS size FROM dead_letters WHERE id IN (
            SELECT newest.id FROM partitions JOIN dead_letters newest ON newest.id IN (
              SELECT id FROM dead_letters INDEXED BY dead_letters_newest
              WHERE partition_id = partitions.id AND id < ?2 AND state IN ('kept', 'published') ORDER BY id DESC LIMIT ?3)
            WHERE partitions.group_id = ?1 ORDER BY newest.id DESC LIMIT ?3)`,
        order: 'id DESC',
        maxBytes: '?4',
      }),
    ),
    unpublished: database.prepare(
      deadLetterPageSql({
        columns,
        candidates: `SELECT id, record_offset, leader_epoch, ${bytes} AS size FROM dead_letters INDEXED BY dead_letters_to_publish
          WHERE partition_id = (SELECT id FROM partitions WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3) AND state = 'kept'
          ORDER BY record_offset, leader_epoch LIMIT ?4`,
        order: 'record_offset, leader_epoch',
        maxBytes: '?5',
      }),
    ),
    reasons: database.prepare(`
      SELECT reason, sum(letters) AS number FROM letter_reasons WHERE letters > 0 AND ${ofGroup}
      GROUP BY reason ORDER BY reason`),
    ofPartition: database.prepare(`
      SELECT record_offset, leader_epoch, reason, state, cut FROM dead_letters
      WHERE partition_id = ? AND state <> 'superseded' ORDER BY record_offset, leader_epoch`),
    // A counted or superseded dead letter keeps its state, because verify needs it.
    purge: database.prepare(`
      UPDATE dead_letters SET purged_at = ?, key = NULL, headers = NULL, value = NULL, cut = NULL,
        state = CASE state WHEN 'counted' THEN 'counted' WHEN 'superseded' THEN 'superseded' ELSE 'purged' END
      WHERE state = ? AND purged_at IS NULL AND kept_at < ? AND id > ? AND id <= ? AND +${ofGroup}`),
    lastId: database.prepare('SELECT coalesce(max(id), 0) AS id FROM dead_letters'),
  }
}
