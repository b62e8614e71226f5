/** Stores captures in an SQLite file until Kafka has acknowledged them: rules P1 and P2. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { encodeKey, encodeValue, SOURCE_PREFIX } from '@poke-api-pipeline/pokemon-event'
import { keepPrivate, makeFolder, migrate, pragma, readMigrations, SqliteTransactions, schemaVersion } from '@poke-api-pipeline/service-kit'
import type { Outbox, OutboxChange, OutboxEvent } from '../../application/ports.ts'
import type { SweepProgress } from '../../entities/capture-order.ts'
import { OutboxError } from '../../errors.ts'
import { damaged, outboxError } from './outbox-failure.ts'

export interface SqliteOutboxOptions {
  /** The outbox's folder; created if it is missing. */
  readonly dir: string
  /** Names this process start in ce_source. Random, so that a copied or restored folder can never give an identity twice (rule P1). */
  readonly run?: string
}

/** How long to wait for an outbox that another process is just closing, in ms. */
const LOCK_TIMEOUT = 1000

export class SqliteOutbox implements Outbox {
  /** ce_source of the events that this run captures. */
  readonly source: string
  readonly #dir: string
  readonly #db: DatabaseSync
  readonly #transactions: SqliteTransactions
  readonly #statements: ReturnType<typeof prepareStatements>
  #depth: number
  #captured: number

  /** Opens the folder's outbox and locks it until `close` or the end of the process. @throws OutboxError */
  constructor(options: SqliteOutboxOptions) {
    this.#dir = options.dir
    this.source = `${SOURCE_PREFIX}${options.run ?? randomUUID()}`
    let db: DatabaseSync | null = null
    try {
      makeFolder(options.dir, 0o700)
      const file = join(options.dir, 'outbox.db')
      keepPrivate(file)
      db = new DatabaseSync(file, { timeout: LOCK_TIMEOUT })
      prepareFile(db, options.dir)
      this.#transactions = new SqliteTransactions(db)
      this.#statements = prepareStatements(db)
      this.#depth = Number(db.prepare('SELECT count(*) AS depth FROM event').get()?.depth)
      this.#captured = Number(this.#statements.lastSequence.get()?.last_sequence)
    } catch (error) {
      if (db?.isOpen) db.close()
      throw outboxError(error, options.dir)
    }
    this.#db = db
  }

  get depth(): number {
    return this.#depth
  }

  get captured(): number {
    return this.#captured
  }

  commit(change: OutboxChange): void {
    const { lastSequence, setLastSequence, insert, forget, setSweep, endSweep } = this.#statements
    const { captures, acknowledged, sweep, partitionOf } = change
    const stored = this.#transaction(() => {
      let depth = this.#depth
      let sequence = this.#captured
      if (captures.length > 0) {
        sequence = Number(lastSequence.get()?.last_sequence)
        for (const { pokemon, time, origin } of captures) {
          const key = encodeKey(pokemon)
          insert.run(++sequence, this.source, partitionOf === null ? null : partitionOf(key), key, encodeValue(pokemon), time, origin)
        }
        setLastSequence.run(sequence)
        depth += captures.length
      }
      if (acknowledged > 0) depth -= Number(forget.run(acknowledged).changes)
      if (sweep === null) endSweep.run()
      else if (sweep !== undefined) setSweep.run(JSON.stringify(sweep))
      return { depth, sequence }
    })
    this.#depth = stored.depth
    this.#captured = stored.sequence
  }

  oldest(limit: number): OutboxEvent[] {
    try {
      return this.#statements.oldest.all(limit).map(eventOf)
    } catch (error) {
      throw outboxError(error, this.#dir)
    }
  }

  assignPartitions(partitions: ReadonlyMap<number, number>): void {
    this.#transaction(() => {
      for (const [sequence, partition] of partitions) this.#statements.assign.run(partition, sequence)
    })
  }

  sweep(): SweepProgress | null {
    try {
      const row = this.#statements.sweep.get()
      return row === undefined ? null : (JSON.parse(String(row.progress)) as SweepProgress)
    } catch (error) {
      throw outboxError(error, this.#dir)
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  /** Synced when it returns. @throws OutboxError; then nothing has changed */
  #transaction<T>(work: () => T): T {
    try {
      return this.#transactions.run('write', work)
    } catch (error) {
      throw outboxError(error, this.#dir)
    }
  }
}

/** Locks the file, makes every commit durable, and migrates the schema. */
function prepareFile(db: DatabaseSync, dir: string): void {
  // The lock is the operating system's, so it ends with the process, also when that is killed. Set before the first access.
  db.exec('PRAGMA locking_mode = EXCLUSIVE')
  const mode = pragma(db, 'journal_mode = WAL')
  if (mode !== 'wal') {
    throw new OutboxError(
      'unusable',
      `the outbox in ${dir} cannot use a write-ahead log (SQLite chose ${mode}): set DATA_DIR to a folder on a local disk`,
    )
  }
  // FULL: an event that was sent must survive a power cut, or its sequence would be given to another event (rule P2).
  db.exec('PRAGMA synchronous = FULL')
  // On macOS fsync returns before the drive has written; these wait for the drive.
  db.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON')
  const damage = pragma(db, 'quick_check(1)')
  if (damage !== 'ok') throw new OutboxError('damaged', damaged(dir, String(damage)))
  const migrations = readMigrations(new URL('./migrations/', import.meta.url))
  const version = schemaVersion(db)
  if (version > migrations.length) {
    throw new OutboxError(
      'newer-schema',
      `the outbox in ${dir} was written by a newer version of this service (schema ${version}, this version knows ${migrations.length}): run that version, or give this one a folder of its own`,
    )
  }
  migrate(db, migrations)
}

function prepareStatements(db: DatabaseSync) {
  return {
    lastSequence: db.prepare('SELECT last_sequence FROM counter'),
    setLastSequence: db.prepare('UPDATE counter SET last_sequence = ?'),
    insert: db.prepare('INSERT INTO event (sequence, source, partition, key, value, time, origin) VALUES (?, ?, ?, ?, ?, ?, ?)'),
    forget: db.prepare('DELETE FROM event WHERE sequence <= ?'),
    oldest: db.prepare('SELECT sequence, source, partition, key, value, time, origin FROM event ORDER BY sequence LIMIT ?'),
    // A chosen partition never changes (rule P3).
    assign: db.prepare('UPDATE event SET partition = ? WHERE sequence = ? AND partition IS NULL'),
    sweep: db.prepare('SELECT progress FROM sweep'),
    setSweep: db.prepare('INSERT INTO sweep VALUES (1, ?) ON CONFLICT (only_row) DO UPDATE SET progress = excluded.progress'),
    endSweep: db.prepare('DELETE FROM sweep'),
  }
}

function eventOf(row: Record<string, unknown>): OutboxEvent {
  const value = row.value as Uint8Array
  return {
    source: row.source as string,
    sequence: row.sequence as number,
    partition: row.partition as number | null,
    key: row.key as string,
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    time: row.time as string,
    origin: row.origin as OutboxEvent['origin'],
  }
}
