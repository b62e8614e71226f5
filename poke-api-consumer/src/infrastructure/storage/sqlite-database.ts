/** Opens the SQLite file of a store: pragmas, schema, transactions, and errors that say what to do. */
import { type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { keepPrivate, makeFolder } from '@poke-api-pipeline/service-kit'
import { StoreError, type StoreErrorKind } from '../../errors.ts'
import { type Migration, readMigrations, refuseNewerSchema } from './migrations.ts'
import { SqliteFiles } from './sqlite-files.ts'

/** How long another process may hold the lock, in ms. While we wait the whole process stands still, heartbeats too (rule S3). */
const BUSY_TIMEOUT = 500
/** When many instances start at once on a new file, each waits this long for the others, in ms. */
const START_TIMEOUT = 10_000
const START_RETRY = 25
/** `PRAGMA application_id` of the first migration. */
const APPLICATION_ID = 0x506f6b65

export class SqliteDatabase {
  readonly path: string
  readonly #database: DatabaseSync
  readonly #files: SqliteFiles
  readonly #beginWrite: StatementSync
  readonly #beginRead: StatementSync
  readonly #commit: StatementSync
  readonly #rollback: StatementSync

  private constructor(path: string, database: DatabaseSync) {
    this.path = path
    this.#database = database
    this.#files = new SqliteFiles(path)
    this.#beginWrite = database.prepare('BEGIN IMMEDIATE')
    this.#beginRead = database.prepare('BEGIN DEFERRED')
    this.#commit = database.prepare('COMMIT')
    this.#rollback = database.prepare('ROLLBACK')
  }

  /**
   * @param path of the file; it and its folder are made when they are missing
   * @throws StoreError
   */
  static async open(path: string): Promise<SqliteDatabase> {
    const migrations = readMigrations('sqlite')
    const absolute = resolve(path)
    makeFolderOf(absolute)
    refuseNoFile(absolute)
    keepPrivate(absolute)
    const deadline = performance.now() + START_TIMEOUT
    for (;;) {
      let database: DatabaseSync | undefined
      try {
        database = new DatabaseSync(absolute, { timeout: BUSY_TIMEOUT, enableForeignKeyConstraints: true })
        prepareFile(absolute, database, migrations)
        return new SqliteDatabase(absolute, database)
      } catch (error) {
        if (database?.isOpen) database.close()
        const cause = storeError(absolute, error)
        // Changing the journal mode does not wait for others as everything else does.
        if (cause.kind !== 'busy' || performance.now() > deadline) throw cause
      }
      await sleep(START_RETRY)
    }
  }

  /** @throws StoreError */
  prepare(sql: string): StatementSync {
    return this.run(() => this.#database.prepare(sql))
  }

  /** A read of one statement. @throws StoreError */
  run<T>(work: () => T): T {
    try {
      const result = work()
      // Nothing is said that stands in a file which nobody else sees.
      this.#refuseLostFiles()
      return result
    } catch (error) {
      this.#refuseLostFiles()
      throw storeError(this.path, error)
    }
  }

  /**
   * Everything that `work` changes, or nothing. The lock is taken first: a transaction that reads and then wants to write could not wait for it.
   * @throws StoreError; nothing was changed then
   */
  transaction<T>(work: () => T): T {
    return this.#within(this.#beginWrite, work)
  }

  /** Several reads of one committed state; writers go on meanwhile. @throws StoreError */
  snapshot<T>(work: () => T): T {
    return this.#within(this.#beginRead, work)
  }

  #within<T>(begin: StatementSync, work: () => T): T {
    return this.run(() => {
      // Two processes that write through different logs damage the database that both have open.
      this.#refuseLostFiles()
      begin.run()
      try {
        const result = work()
        this.#commit.run()
        return result
      } catch (error) {
        // A full disk has ended the transaction by itself.
        if (this.#database.isOpen && this.#database.isTransaction) this.#rollback.run()
        throw error
      }
    })
  }

  /** What the promises rest on, as the database itself has it. */
  durability(): { readonly journalMode: string; readonly synchronous: number; readonly busyTimeout: number } {
    return {
      journalMode: String(pragma(this.#database, 'journal_mode')),
      synchronous: Number(pragma(this.#database, 'synchronous')),
      busyTimeout: Number(pragma(this.#database, 'busy_timeout')),
    }
  }

  /**
   * Where the files are not the opened ones any more, they are left to the end of the process: SQLite's closing would write an older state
   * over what another process has written since, and remove that one's log.
   */
  close(): void {
    if (this.#database.isOpen && this.#lost() === null) this.#database.close()
  }

  #lost(): string | null {
    try {
      return this.#files.lost()
    } catch (error) {
      // A folder that may not be entered any more, a network disk that is away.
      throw new StoreError('io', `the files of the store ${this.path} cannot be looked at: ${(error as Error).message}`, { cause: error })
    }
  }

  #refuseLostFiles(): void {
    const lost = this.#lost()
    if (lost === null) return
    throw new StoreError(
      'replaced',
      `${lost} while this process had the store ${this.path} open: it ends, and says nothing more of the counts. ` +
        'Stop every instance before the files of a store are moved, and start this one again: what the store does not have is counted again from the topic',
    )
  }
}

function makeFolderOf(path: string): void {
  try {
    makeFolder(dirname(path), 0o700)
  } catch (error) {
    throw new StoreError('unusable', `the folder of the store ${path} cannot be made: ${(error as Error).message}`, { cause: error })
  }
}

/** SQLite would say nothing of use of a folder, and wait for the lock of a device for ever. */
function refuseNoFile(path: string): void {
  let found: Stats | undefined
  try {
    found = statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw new StoreError('unusable', `the store ${path} cannot be opened: ${(error as Error).message}`, { cause: error })
  }
  if (found === undefined || found.isFile()) return
  const what = found.isDirectory() ? 'is a folder: add the name of a file to STORE_URL' : 'is no file: name another one in STORE_URL'
  throw new StoreError('unusable', `the store ${path} ${what}`)
}

function prepareFile(path: string, database: DatabaseSync, migrations: readonly Migration[]): void {
  refuseForeignFile(path, database)
  if (pragma(database, 'journal_mode') !== 'wal') {
    const mode = pragma(database, 'journal_mode = WAL')
    if (mode !== 'wal') {
      throw new StoreError('unsupported', `the store ${path} cannot have a write-ahead log (journal mode ${mode}): put it on a local disk`)
    }
  }
  // NORMAL does not sync at each commit: a power cut may take the last commits, though never a part of one. That is safe here, because
  // positions and counts go together, and the topic still has the records behind the older position. A killed process loses nothing.
  database.exec('PRAGMA synchronous = NORMAL')
  if (Number(pragma(database, 'user_version')) < migrations.length) migrate(database, migrations)
  refuseNewerSchema(path, Number(pragma(database, 'user_version')), migrations)
}

/** Somebody else's database is never touched. */
function refuseForeignFile(path: string, database: DatabaseSync): void {
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  if (tables === 0 || pragma(database, 'application_id') === APPLICATION_ID) return
  throw new StoreError('unusable', `${path} is a database of another program: name another file in STORE_URL`)
}

/** Brings the schema up to date; of many processes that try, one does it and the others find it done. */
function migrate(database: DatabaseSync, migrations: readonly Migration[]): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    for (const { version, sql } of migrations) {
      if (version <= Number(pragma(database, 'user_version'))) continue
      database.exec(sql)
      database.exec(`PRAGMA user_version = ${version}`)
    }
    database.exec('COMMIT')
    // Into the file itself: whoever loses the log loses counts that the topic gives again, and not the store's id.
    database.exec('PRAGMA wal_checkpoint')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

function pragma(database: DatabaseSync, pragma: string): SQLOutputValue | undefined {
  return Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
}

/** By SQLite's primary result code (https://www.sqlite.org/rescode.html). */
const KINDS: Readonly<Record<number, readonly [kind: StoreErrorKind, what: string]>> = {
  5: ['busy', 'is locked by another process'],
  6: ['busy', 'is locked by another process'],
  8: ['unusable', 'may not be written by this user: make the file and its folder writable, or correct STORE_URL'],
  10: ['io', 'failed'],
  11: ['damaged', 'is damaged: put a backup in its place, or move it away to count from the beginning'],
  13: ['full', 'cannot grow, its disk is full: make room'],
  14: ['unusable', 'cannot be opened'],
  26: ['damaged', 'is no SQLite database: name another file in STORE_URL, or move it away to count from the beginning'],
}

function storeError(path: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const { errcode, message, code } = error as { errcode?: number; message: string; code?: string }
  if (code === 'ERR_INVALID_STATE') return new StoreError('io', `the store ${path} was closed`, { cause: error })
  if (errcode === undefined) throw error
  const [kind, what] = KINDS[errcode & 0xff] ?? ['io', 'failed']
  return new StoreError(kind, `the store ${path} ${what} (SQLite: ${message}, code ${errcode})`, { cause: error })
}
