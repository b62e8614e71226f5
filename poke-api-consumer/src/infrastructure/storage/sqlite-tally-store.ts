/** The store in a SQLite file, which several processes of one machine can share. Every method is one transaction. */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type {
  CommitOutcome,
  DeadLetterState,
  Gap,
  KeptDeadLetter,
  PartitionChange,
  PartitionSnapshot,
  PartitionState,
  PartitionSummary,
  Totals,
} from '../../application/ports.ts'
import { columnOfNewest, offsetOf, positionOf, type Row, summaryOf } from './rows.ts'
import { SqliteDatabase } from './sqlite-database.ts'
import { SqliteDeadLetters } from './sqlite-dead-letters.ts'
import { DEAD_LETTER_PAGE_BYTES, type FullStoreOptions, idOf, type Store } from './store.ts'

export class SqliteTallyStore implements Store {
  readonly id: string
  readonly #database: SqliteDatabase
  readonly #options: FullStoreOptions
  readonly #statements: ReturnType<typeof prepareStatements>
  readonly #deadLetters: SqliteDeadLetters

  private constructor(id: string, database: SqliteDatabase, options: FullStoreOptions) {
    this.id = id
    this.#database = database
    this.#options = options
    this.#statements = prepareStatements(database)
    this.#deadLetters = new SqliteDeadLetters(database, options)
  }

  /** @throws StoreError where the file cannot be created or opened, is damaged, or belongs to another program or a newer version */
  static async open(path: string, options: FullStoreOptions): Promise<SqliteTallyStore> {
    const database = await SqliteDatabase.open(path)
    try {
      const row = database.run(() => database.prepare('SELECT id FROM store').get())
      return new SqliteTallyStore(idOf(path, row), database, options)
    } catch (error) {
      database.close()
      throw error
    }
  }

  async open(partition: TopicPartition): Promise<PartitionState> {
    const { groupId, owner, now } = this.#options
    const { topic, topicId } = partition
    const statements = this.#statements
    const time = now()
    const opened = this.#database.transaction(() => {
      statements.meetTopic.run(groupId, topicId, topic)
      const row = statements.own.get(groupId, topic, topicId, partition.partition, owner, time) as Row
      const id = row.id as number
      const tooMany = this.#forgetTooMany(id, new Map())
      const lastSequences = new Map<string, number>()
      for (const { source, sequence } of statements.lastSequences.all(id)) lastSequences.set(source as string, sequence as number)
      const replaced = statements.replacedTopic.get(groupId, topicId, topic)
      const state: PartitionState = {
        position: positionOf(row),
        token: row.token as number,
        lastSequences,
        replacedTopicId: (replaced?.topic_id as string | undefined) ?? null,
      }
      return { state, tooMany }
    })
    this.#tellForgotten(partition, { silent: 0, tooMany: opened.tooMany })
    return opened.state
  }

  async commit(change: PartitionChange): Promise<CommitOutcome> {
    const { groupId, now } = this.#options
    const { partition, from, to } = change
    const statements = this.#statements
    const time = now()
    let forgotten = NOTHING_FORGOTTEN
    const outcome = this.#database.transaction((): CommitOutcome => {
      // 1. Move the position from A to B, only if it is still A, the token is still ours, and B is beyond A (rule S1).
      const moved = statements.move.get(
        to.offset,
        to.leaderEpoch,
        change.firstOffset,
        change.counted,
        change.duplicates,
        change.deadLetters.length,
        time,
        columnOfNewest(change.newest),
        groupId,
        partition.topicId,
        partition.partition,
        change.token,
        offsetOf(from),
        from.leaderEpoch,
        to.offset,
        change.firstOffset,
      )
      if (moved === undefined) return 'fenced'
      const id = moved.id as number
      // 2. Add the counts.
      for (const [type, count] of change.counts) statements.addCount.run(id, type, count)
      // 3. Store the last sequences. A source that was never seen before may replace another one (rule C3).
      let newSources = 0
      for (const [source, sequence] of change.lastSequences) {
        if (statements.moveSequence.run(sequence, time, id, source).changes === 0) {
          statements.addSequence.run(id, source, sequence, time)
          newSources++
        }
      }
      if (newSources > 0) {
        const silent = change.caughtUp ? Number(statements.forgetSilent.run(id, time - this.#options.sourceMaxAge).changes) : 0
        forgotten = { silent, tooMany: this.#forgetTooMany(id, change.lastSequences) }
      }
      // 4. Store the dead letters (rule D1).
      this.#deadLetters.keep(id, change.deadLetters, time)
      return 'committed'
    })
    this.#tellForgotten(partition, forgotten)
    return outcome
  }

  async totals(known: Totals | null = null): Promise<Totals> {
    const { groupId } = this.#options
    const { revision: ofGroup, totals } = this.#statements
    if (known !== null && this.#database.run(() => ofGroup.get(groupId))?.revision === known.revision) return known
    const counts = new Map<string, number>()
    let revision = 0
    // One statement reads one snapshot. Its first row has the revision.
    for (const [type, number] of this.#database.run(() => totals.all(groupId, groupId)) as unknown as [string | null, number][]) {
      if (type === null) revision = number
      else counts.set(type, number)
    }
    return { counts, revision }
  }

  async partitions(): Promise<PartitionSummary[]> {
    return this.#database.run(() => this.#statements.partitions.all(this.#options.groupId)).map(summaryOf)
  }

  async recordGap({ partition, token, from, loss }: Gap): Promise<CommitOutcome> {
    const { groupId, now } = this.#options
    const { topic, topicId } = partition
    const statements = this.#statements
    return this.#database.transaction((): CommitOutcome => {
      // The partition of a recreated topic stands at its log's start already.
      const to = loss.kind === 'recreated' ? null : loss.to
      const at = [groupId, topicId, partition.partition, token, offsetOf(from), from.leaderEpoch] as const
      const moved = to === null ? statements.fence.get(...at) : statements.skip.get(to, to, ...at)
      if (moved === undefined) return 'fenced'
      statements.addGap.run(moved.id as number, loss.kind, loss.message, loss.from, loss.to, now())
      if (loss.kind === 'recreated') statements.acceptTopic.run(groupId, topicId, topic)
      return 'committed'
    })
  }

  async snapshot(): Promise<PartitionSnapshot[]> {
    const statements = this.#statements
    return this.#database.snapshot(() =>
      statements.partitions.all(this.#options.groupId).map((row) => {
        const id = row.id as number
        return {
          ...summaryOf(row),
          firstOffset: row.first_offset as number | null,
          counts: new Map(statements.counts.all(id).map(({ type, count }) => [type as string, count as number])),
          gaps: statements.gaps.all(id) as unknown as PartitionSnapshot['gaps'],
          deadLetterList: this.#deadLetters.ofPartition(id),
        }
      }),
    )
  }

  async reset(): Promise<void> {
    const { groupId } = this.#options
    this.#database.transaction(() => {
      for (const statement of this.#statements.reset) statement.run(groupId)
    })
  }

  async deadLetters(before: number | null, limit: number, maxBytes = DEAD_LETTER_PAGE_BYTES): Promise<KeptDeadLetter[]> {
    return this.#deadLetters.newest(before, limit, maxBytes)
  }

  async deadLetterReasons(): Promise<ReadonlyMap<string, number>> {
    return this.#deadLetters.reasons()
  }

  async unpublished(partition: TopicPartition, limit: number, maxBytes: number): Promise<KeptDeadLetter[]> {
    return this.#deadLetters.unpublished(partition, limit, maxBytes)
  }

  async markPublished(ids: readonly number[]): Promise<void> {
    this.#deadLetters.markPublished(ids)
  }

  async replay(id: number, counts: ReadonlyMap<string, number>): Promise<boolean> {
    return this.#database.transaction(() => {
      const partitionId = this.#deadLetters.markCounted(id)
      if (partitionId === null) return false
      this.#statements.addReplayed.run(partitionId)
      for (const [type, count] of counts) this.#statements.addCount.run(partitionId, type, count)
      return true
    })
  }

  async purge(states: readonly DeadLetterState[], keptBefore: number): Promise<number> {
    return this.#deadLetters.purge(states, keptBefore)
  }

  /** The settings that make commits durable, as SQLite reports them: for tests. */
  durability(): ReturnType<SqliteDatabase['durability']> {
    return this.#database.durability()
  }

  async close(): Promise<void> {
    this.#database.close()
  }

  /**
   * Forgets the longest silent sources beyond the bound, but never one of this commit (rule C3).
   * @param spoken the sources of this commit
   * @returns how many were forgotten
   */
  #forgetTooMany(id: number, spoken: ReadonlyMap<string, number>): number {
    const { countSequences, longestSilent, forget } = this.#statements
    const excess = (countSequences.get(id)?.number as number) - this.#options.sourceMaxCount
    let tooMany = 0
    if (excess > 0) {
      for (const { source } of longestSilent.all(id, excess + spoken.size)) {
        if (tooMany < excess && !spoken.has(source as string)) tooMany += Number(forget.run(id, source as string).changes)
      }
    }
    return tooMany
  }

  #tellForgotten(partition: TopicPartition, { silent, tooMany }: Forgotten): void {
    if (silent > 0) this.#options.onSourcesForgotten(partition, 'silent', silent)
    if (tooMany > 0) this.#options.onSourcesForgotten(partition, 'too-many', tooMany)
  }
}

interface Forgotten {
  readonly silent: number
  readonly tooMany: number
}
const NOTHING_FORGOTTEN: Forgotten = { silent: 0, tooMany: 0 }

/** Statements stay prepared: a commit takes about a tenth of a millisecond. */
function prepareStatements(database: SqliteDatabase) {
  const at = 'group_id = ? AND topic_id = ? AND partition = ? AND token = ? AND position IS ? AND leader_epoch = ?'
  const ofGroup = 'partition_id IN (SELECT id FROM partitions WHERE group_id = ?)'
  const totals = database.prepare(`
    SELECT NULL AS type, coalesce(sum(revision), 0) AS number FROM partitions WHERE group_id = ?
    UNION ALL
    SELECT counts.type, sum(counts.count) FROM counts JOIN partitions ON partitions.id = counts.partition_id
    WHERE partitions.group_id = ? GROUP BY counts.type`)
  // There may be very many rows, and rows as arrays are read in half the time of rows as objects.
  totals.setReturnArrays(true)
  return {
    // A topic is accepted at once where its name is new to the group (rule S4).
    meetTopic: database.prepare(`
      INSERT INTO topics (group_id, topic_id, topic, accepted)
      SELECT ?1, ?2, ?3, CASE WHEN NOT EXISTS (SELECT 1 FROM topics WHERE group_id = ?1 AND topic = ?3) THEN 1 END
      WHERE true
      ON CONFLICT DO NOTHING`),
    own: database.prepare(`
      INSERT INTO partitions (group_id, topic, topic_id, partition, token, owner, opened_at) VALUES (?, ?, ?, ?, 1, ?, ?)
      ON CONFLICT DO UPDATE SET token = token + 1, owner = excluded.owner, opened_at = excluded.opened_at
      RETURNING id, token, position, leader_epoch`),
    lastSequences: database.prepare('SELECT source, sequence FROM last_sequences WHERE partition_id = ?'),
    replacedTopic: database.prepare(`
      SELECT topic_id FROM topics
      WHERE group_id = ?1 AND topic = ?3 AND accepted IS NOT NULL
        AND (SELECT accepted FROM topics WHERE group_id = ?1 AND topic_id = ?2) IS NULL
      ORDER BY accepted DESC LIMIT 1`),
    acceptTopic: database.prepare(`
      UPDATE topics SET accepted = (SELECT 1 + max(accepted) FROM topics WHERE group_id = ?1 AND topic = ?3)
      WHERE group_id = ?1 AND topic_id = ?2 AND accepted IS NULL`),
    move: database.prepare(`
      UPDATE partitions SET position = ?, leader_epoch = ?, first_offset = coalesce(first_offset, ?), revision = revision + 1,
        counted = counted + ?, duplicates = duplicates + ?, dead_letters = dead_letters + ?, committed_at = ?,
        newest = coalesce(?, newest)
      WHERE ${at} AND ? > coalesce(position, ?)
      RETURNING id`),
    addCount: database.prepare('INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count'),
    moveSequence: database.prepare('UPDATE last_sequences SET sequence = ?, updated_at = ? WHERE partition_id = ? AND source = ?'),
    addSequence: database.prepare('INSERT INTO last_sequences (partition_id, source, sequence, updated_at) VALUES (?, ?, ?, ?)'),
    forgetSilent: database.prepare('DELETE FROM last_sequences WHERE partition_id = ? AND updated_at < ?'),
    countSequences: database.prepare('SELECT count(*) AS number FROM last_sequences WHERE partition_id = ?'),
    longestSilent: database.prepare('SELECT source FROM last_sequences WHERE partition_id = ? ORDER BY updated_at, source LIMIT ?'),
    forget: database.prepare('DELETE FROM last_sequences WHERE partition_id = ? AND source = ?'),
    revision: database.prepare('SELECT coalesce(sum(revision), 0) AS revision FROM partitions WHERE group_id = ?'),
    totals,
    partitions: database.prepare('SELECT * FROM partitions WHERE group_id = ? ORDER BY topic, topic_id, partition'),
    skip: database.prepare(`
      UPDATE partitions SET token = token + 1, revision = revision + 1, position = ?, leader_epoch = -1, first_offset = coalesce(first_offset, ?)
      WHERE ${at} RETURNING id`),
    fence: database.prepare(`UPDATE partitions SET token = token + 1, revision = revision + 1 WHERE ${at} RETURNING id`),
    addGap: database.prepare(
      'INSERT INTO gaps (partition_id, kind, message, from_offset, to_offset, recorded_at) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    counts: database.prepare('SELECT type, count FROM counts WHERE partition_id = ? ORDER BY type'),
    gaps: database.prepare(`
      SELECT kind, message, from_offset AS "from", to_offset AS "to", recorded_at AS recordedAt
      FROM gaps WHERE partition_id = ? ORDER BY id`),
    addReplayed: database.prepare(
      'UPDATE partitions SET revision = revision + 1, counted = counted + 1, dead_letters = dead_letters - 1 WHERE id = ?',
    ),
    reset: [
      database.prepare(`
        UPDATE partitions SET token = token + 1, revision = revision + 1, position = NULL, leader_epoch = -1, first_offset = NULL,
          counted = 0, duplicates = 0, dead_letters = 0, newest = NULL
        WHERE group_id = ?`),
      database.prepare(`DELETE FROM counts WHERE ${ofGroup}`),
      database.prepare(`DELETE FROM last_sequences WHERE ${ofGroup}`),
      database.prepare(`DELETE FROM gaps WHERE ${ofGroup}`),
      database.prepare(`UPDATE dead_letters SET state = 'superseded' WHERE ${ofGroup}`),
      database.prepare('DELETE FROM topics WHERE group_id = ?'),
    ],
  }
}
