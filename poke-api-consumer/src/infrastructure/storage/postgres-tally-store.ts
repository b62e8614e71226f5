/** The store in a PostgreSQL database, which any number of instances on any number of machines can share. */

import type { DataLoss, TopicPartition } from '@poke-api-pipeline/kafka-reader'
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
import type { DeadLetter } from '../../entities/dead-letter.ts'
import { DeadLetterList } from '../../entities/dead-letter-list.ts'
import { PostgresDatabase } from './postgres-database.ts'
import { STATEMENTS } from './postgres-statements.ts'
import { columnOfCut, columnOfNewest, deadLetterOf, listedOf, offsetOf, positionOf, type Row, summaryOf } from './rows.ts'
import { DEAD_LETTER_PAGE_BYTES, type FullStoreOptions, idOf, type Store } from './store.ts'

/** More dead letters, or more bytes of them, than a busy server writes within the deadline of one statement. */
const MANY_DEAD_LETTERS = 2000
const MANY_BYTES = 8 << 20
/** Rows of dead letters that are in memory at once while a snapshot lists them. */
const LIST_PAGE = 10_000

export class PostgresTallyStore implements Store {
  readonly id: string
  readonly #database: PostgresDatabase
  readonly #options: FullStoreOptions

  private constructor(id: string, database: PostgresDatabase, options: FullStoreOptions) {
    this.id = id
    this.#database = database
    this.#options = options
  }

  /** @throws StoreError where the database cannot be reached or used, or has the schema of a newer version */
  static async open(url: string, options: FullStoreOptions): Promise<PostgresTallyStore> {
    const database = new PostgresDatabase(url, options)
    try {
      await database.migrate()
      const [row] = await database.query({ name: 'store', text: 'SELECT id FROM store' }, [])
      return new PostgresTallyStore(idOf(database.name, row), database, options)
    } catch (error) {
      await database.close()
      throw error
    }
  }

  async open(partition: TopicPartition): Promise<PartitionState> {
    const { groupId, owner, sourceMaxCount } = this.#options
    const { topic, topicId } = partition
    await this.#database.query(STATEMENTS.meetTopic, [groupId, topicId, topic])
    const [own] = await this.#database.query(STATEMENTS.own, [groupId, topic, topicId, partition.partition, owner])
    const { id, token } = own as { id: number; token: number }
    const [forgotten] = await this.#database.query(STATEMENTS.forgetTooMany, [id, sourceMaxCount])
    this.#tellForgotten(partition, forgotten as Row)
    const rows = await this.#database.query(STATEMENTS.state, [id])
    const lastSequences = new Map<string, number>()
    for (const { source, sequence } of rows) if (source !== null) lastSequences.set((source as Buffer).toString(), sequence as number)
    const [row] = rows as [Row]
    return { position: positionOf(row), token, lastSequences, replacedTopicId: row.replaced_topic_id as string | null }
  }

  async commit(change: PartitionChange): Promise<CommitOutcome> {
    const { groupId, sourceMaxAge, sourceMaxCount } = this.#options
    const { partition, from, to, counts, lastSequences, deadLetters } = change
    const values = [
      ...[groupId, partition.topicId, partition.partition, change.token, offsetOf(from), from.leaderEpoch],
      ...[to.offset, to.leaderEpoch, change.firstOffset, change.counted, change.duplicates],
      ...[[...counts.keys()], [...counts.values()]],
      ...[[...lastSequences.keys()].map((source) => Buffer.from(source)), [...lastSequences.values()], sourceMaxAge, sourceMaxCount],
      deadLetters.map(({ offset }) => offset),
      deadLetters.map(({ leaderEpoch }) => leaderEpoch),
      deadLetters.map(({ timestamp }) => String(timestamp)),
      deadLetters.map(({ reason }) => reason),
      deadLetters.map(({ key }) => key),
      deadLetters.map(({ headers }) => headers),
      deadLetters.map(({ value }) => value),
      change.caughtUp,
      deadLetters.map(({ cut }) => columnOfCut(cut)),
      columnOfNewest(change.newest),
    ]
    const [row] = isLarge(deadLetters)
      ? await this.#database.transaction(
          'read committed',
          async (client) => (await client.query(STATEMENTS.commit.text, values)).rows as Row[],
        )
      : await this.#database.query(STATEMENTS.commit, values)
    if (row?.moved !== 1) return 'fenced'
    this.#tellForgotten(partition, row)
    return 'committed'
  }

  async totals(known: Totals | null = null): Promise<Totals> {
    if (known !== null) {
      const [row] = await this.#database.query(STATEMENTS.revision, [this.#options.groupId])
      if (row?.revision === known.revision) return known
    }
    const counts = new Map<string, number>()
    let revision = 0
    for (const { type, number } of await this.#database.query(STATEMENTS.totals, [this.#options.groupId])) {
      if (type === null) revision = number as number
      else counts.set(type as string, number as number)
    }
    return { counts, revision }
  }

  async partitions(): Promise<PartitionSummary[]> {
    return (await this.#database.query(STATEMENTS.partitions, [this.#options.groupId])).map(summaryOf)
  }

  async recordGap({ partition, token, from, loss }: Gap): Promise<CommitOutcome> {
    const recorded = await this.#database.query(STATEMENTS.recordGap, [
      ...[this.#options.groupId, partition.topicId, partition.partition, token, offsetOf(from), from.leaderEpoch],
      // The partition of a recreated topic stands at its log's start already.
      ...[loss.kind, loss.message, loss.kind === 'recreated' ? null : loss.to, loss.from, loss.to],
    ])
    return recorded.length === 1 ? 'committed' : 'fenced'
  }

  async snapshot(): Promise<PartitionSnapshot[]> {
    return await this.#database.transaction('repeatable read', async (client) => {
      const values = [this.#options.groupId]
      const partitions: Row[] = (await client.query(STATEMENTS.partitions.text, values)).rows
      const counts = byPartition((await client.query(STATEMENTS.snapshotCounts.text, values)).rows)
      const gaps = byPartition((await client.query(STATEMENTS.snapshotGaps.text, values)).rows)
      const deadLetters = new Map<unknown, PartitionSnapshot['deadLetterList']>()
      for (const { id } of partitions) deadLetters.set(id, await deadLettersOf(client, id as number))
      return partitions.map((row) => ({
        ...summaryOf(row),
        firstOffset: row.first_offset as number | null,
        counts: new Map((counts.get(row.id) ?? []).map(({ type, count }) => [type as string, count as number])),
        gaps: (gaps.get(row.id) ?? []).map(({ kind, message, from, to, recorded_at }) => ({
          kind: kind as DataLoss['kind'],
          message: message as string,
          from: from as number | null,
          to: to as number | null,
          recordedAt: recorded_at as number,
        })),
        deadLetterList: deadLetters.get(row.id) as PartitionSnapshot['deadLetterList'],
      }))
    })
  }

  async reset(): Promise<void> {
    const { groupId } = this.#options
    await this.#database.transaction('read committed', async (client) => {
      const { rows } = await client.query(STATEMENTS.resetPartitions.text, [groupId])
      const ids = rows.map(({ id }) => id)
      for (const { text } of [STATEMENTS.resetCounts, STATEMENTS.resetSequences, STATEMENTS.resetGaps, STATEMENTS.resetDeadLetters]) {
        await client.query(text, [ids])
      }
      await client.query(STATEMENTS.resetTopics.text, [groupId])
    })
  }

  async deadLetters(before: number | null, limit: number, maxBytes = DEAD_LETTER_PAGE_BYTES): Promise<KeptDeadLetter[]> {
    const values = [this.#options.groupId, before ?? Number.MAX_SAFE_INTEGER, limit, maxBytes]
    return (await this.#database.query(STATEMENTS.newestDeadLetters, values)).map(deadLetterOf)
  }

  async deadLetterReasons(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#database.query(STATEMENTS.deadLetterReasons, [this.#options.groupId])
    return new Map(rows.map(({ reason, number }) => [reason as string, number as number]))
  }

  async unpublished({ topicId, partition }: TopicPartition, limit: number, maxBytes: number): Promise<KeptDeadLetter[]> {
    const values = [this.#options.groupId, topicId, partition, limit, maxBytes]
    return (await this.#database.query(STATEMENTS.unpublished, values)).map(deadLetterOf)
  }

  async markPublished(ids: readonly number[]): Promise<void> {
    await this.#database.query(STATEMENTS.markPublished, [this.#options.groupId, ids])
  }

  async replay(id: number, counts: ReadonlyMap<string, number>): Promise<boolean> {
    const values = [this.#options.groupId, id, [...counts.keys()], [...counts.values()]]
    return (await this.#database.query(STATEMENTS.replay, values)).length === 1
  }

  async purge(states: readonly DeadLetterState[], keptBefore: number): Promise<number> {
    return await this.#database.transaction('read committed', async (client) => {
      return (await client.query(STATEMENTS.purge.text, [this.#options.groupId, states, keptBefore])).rowCount ?? 0
    })
  }

  async close(): Promise<void> {
    await this.#database.close()
  }

  #tellForgotten(partition: TopicPartition, row: Row): void {
    const [silent, tooMany] = [row.silent as number, row.too_many as number]
    if (silent > 0) this.#options.onSourcesForgotten(partition, 'silent', silent)
    if (tooMany > 0) this.#options.onSourcesForgotten(partition, 'too-many', tooMany)
  }
}

/** Lists the dead letters without their bytes, a page at a time: all rows at once would take a hundred times the memory of the list. */
async function deadLettersOf(
  client: { query(text: string, values: unknown[]): Promise<{ rows: Row[] }> },
  partitionId: number,
): Promise<PartitionSnapshot['deadLetterList']> {
  const list: PartitionSnapshot['deadLetterList'] = new DeadLetterList()
  for (let [offset, leaderEpoch] = [-1, -1]; ; ) {
    const { rows } = await client.query(STATEMENTS.snapshotDeadLetters.text, [partitionId, offset, leaderEpoch, LIST_PAGE])
    for (const row of rows) list.add(listedOf(row))
    if (rows.length < LIST_PAGE) return list
    const last = list.at(list.length - 1)
    offset = last.offset
    leaderEpoch = last.leaderEpoch
  }
}

function byPartition(rows: readonly Row[]): Map<unknown, Row[]> {
  const groups = new Map<unknown, Row[]>()
  for (const row of rows) {
    const group = groups.get(row.partition_id)
    if (group === undefined) groups.set(row.partition_id, [row])
    else group.push(row)
  }
  return groups
}

function isLarge(deadLetters: readonly DeadLetter[]): boolean {
  if (deadLetters.length > MANY_DEAD_LETTERS) return true
  let bytes = 0
  for (const { key, value, headers } of deadLetters) bytes += (key?.length ?? 0) + (value?.length ?? 0) + headers.length
  return bytes > MANY_BYTES
}
