/** One connection to the SQLite file of a store: it opens the file, keeps its schema up to date, and throws errors that say what to do. */
import { type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  keepPrivate,
  type Migration,
  makeFolder,
  migrate,
  pragma,
  SQLITE,
  SqliteTransactions,
  schemaVersion,
} from '@poke-api-pipeline/service-kit'
import { StoreError, type StoreErrorKind } from '../../errors.ts'
import { refuseNewerSchema, storeMigrations } from './migrations.ts'
import { SqliteFiles } from './sqlite-files.ts'

/** How long a statement waits for the lock of another process, in ms. The whole process is blocked meanwhile, heartbeats too (rule S3). */
const BUSY_TIMEOUT = 500
/** How long an instance waits for the others when many open a new file at once, in ms. */
const OPEN_TIMEOUT = 10_000
const OPEN_RETRY = 25
/** SQLITE_IOERR_SHORT_READ (https://www.sqlite.org/rescode.html): the log ends before a frame that its index names. */
const SHORT_READ = 522
/** `PRAGMA application_id` of the first migration. */
const APPLICATION_ID = 0x506f6b65

export class SqliteDatabase {
  readonly path: string
  readonly #database: DatabaseSync
  readonly #files: SqliteFiles
  readonly #transactions: SqliteTransactions

  private constructor(path: string, database: DatabaseSync) {
    this.path = path
    this.#database = database
    this.#files = new SqliteFiles(path)
    this.#transactions = new SqliteTransactions(database)
  }

  /**
   * @param path of the file; the file and its folder are made where they are missing
   * @throws StoreError
   */
  static async open(path: string): Promise<SqliteDatabase> {
    const migrations = storeMigrations('sqlite')
    const absolute = resolve(path)
    makeFolderOf(absolute)
    refuseNoFile(absolute)
    keepPrivate(absolute)
    const deadline = performance.now() + OPEN_TIMEOUT
    for (;;) {
      let database: DatabaseSync | undefined
      try {
        database = new DatabaseSync(absolute, { timeout: BUSY_TIMEOUT, enableForeignKeyConstraints: true })
        prepareFile(absolute, database, migrations)
        return new SqliteDatabase(absolute, database)
      } catch (error) {
        if (database?.isOpen) database.close()
        const cause = storeError(absolute, error)
        // SQLite does not wait for the lock when it changes the journal mode, so this loop does. It also waits for a process whose log was removed:
        // its index names frames that the new log does not have, until that process has ended.
        const isTemporary = cause.kind === 'busy' || (error as { errcode?: number }).errcode === SHORT_READ
        if (!isTemporary || performance.now() > deadline) throw cause
      }
      await sleep(OPEN_RETRY)
    }
  }

  /** @throws StoreError */
  prepare(sql: string): StatementSync {
    return this.run(() => this.#database.prepare(sql))
  }

  /** Runs `work`, which reads with one statement. @throws StoreError */
  run<T>(work: () => T): T {
    try {
      const result = work()
      // What a file says that other processes do not see must not be told to anybody.
      this.#refuseLostFiles()
      return result
    } catch (error) {
      this.#refuseLostFiles()
      throw storeError(this.path, error)
    }
  }

  /** Commits everything that `work` changes. @throws StoreError; nothing is changed then */
  transaction<T>(work: () => T): T {
    return this.#within('write', work)
  }

  /** Runs several reads of one committed state. Other processes can write meanwhile. @throws StoreError */
  snapshot<T>(work: () => T): T {
    return this.#within('read', work)
  }

  #within<T>(purpose: 'write' | 'read', work: () => T): T {
    return this.run(() => {
      // Two processes that write through different logs damage the database that both have open.
      this.#refuseLostFiles()
      return this.#transactions.run(purpose, work)
    })
  }

  /** The settings that make commits durable, as SQLite reports them: for tests. */
  durability(): { readonly journalMode: string; readonly synchronous: number; readonly busyTimeout: number } {
    return {
      journalMode: String(pragma(this.#database, 'journal_mode')),
      synchronous: Number(pragma(this.#database, 'synchronous')),
      busyTimeout: Number(pragma(this.#database, 'busy_timeout')),
    }
  }

  /**
   * Closes the database, unless its files were removed or replaced. Then SQLite would write an older state over what another process has
   * written since, and remove that process's log; so the connection stays open until this process ends.
   */
  close(): void {
    if (this.#database.isOpen && this.#lost() === null) this.#database.close()
  }

  #lost(): string | null {
    try {
      return this.#files.lost()
    } catch (error) {
      // For example a folder that this user may not enter any more, or a network disk that is away.
      throw new StoreError('io', `the files of the store ${this.path} cannot be examined: ${(error as Error).message}`, { cause: error })
    }
  }

  #refuseLostFiles(): void {
    const lost = this.#lost()
    if (lost === null) return
    throw new StoreError(
      'replaced',
      `${lost} while this process had the store ${this.path} open: the process ends, and shows no more counts. ` +
        'Stop every instance before you move the files of a store. Start this one again: records that the store lacks are counted again from the topic',
    )
  }
}

function makeFolderOf(path: string): void {
  try {
    makeFolder(dirname(path), 0o700)
  } catch (error) {
    throw new StoreError('unusable', `the folder of the store ${path} cannot be created: ${(error as Error).message}`, { cause: error })
  }
}

/** Refuses a path that is not a file: SQLite's message about a folder does not help, and it would wait for the lock of a device for ever. */
function refuseNoFile(path: string): void {
  let found: Stats | undefined
  try {
    found = statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw new StoreError('unusable', `the store ${path} cannot be opened: ${(error as Error).message}`, { cause: error })
  }
  if (found === undefined || found.isFile()) return
  const what = found.isDirectory() ? 'is a folder: add the name of a file to STORE_URL' : 'is not a file: name another one in STORE_URL'
  throw new StoreError('unusable', `the store ${path} ${what}`)
}

function prepareFile(path: string, database: DatabaseSync, migrations: readonly Migration[]): void {
  refuseForeignFile(path, database)
  if (pragma(database, 'journal_mode') !== 'wal') {
    const mode = pragma(database, 'journal_mode = WAL')
    if (mode !== 'wal') {
      throw new StoreError('unsupported', `the store ${path} cannot use a write-ahead log (journal mode ${mode}): put it on a local disk`)
    }
  }
  // NORMAL does not sync at each commit: a power cut may lose the last commits, but never a part of one. That is safe, because one commit has
  // both positions and counts, and the topic still has the records after the older position. A killed process loses nothing.
  database.exec('PRAGMA synchronous = NORMAL')
  if (schemaVersion(database) < migrations.length) {
    migrate(database, migrations)
    // Writes the schema and the store's id into the file itself. Whoever loses the log then loses counts, which the topic gives again, but not the id.
    database.exec('PRAGMA wal_checkpoint')
  }
  refuseNewerSchema(path, schemaVersion(database), migrations)
  // Reads the whole log, so that an index which does not belong to it is noticed now: a connection that is open would fail for ever.
  pragma(database, 'wal_checkpoint(PASSIVE)')
}

/** Refuses the database of another program, before anything of it is changed. */
function refuseForeignFile(path: string, database: DatabaseSync): void {
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  if (tables === 0 || pragma(database, 'application_id') === APPLICATION_ID) return
  throw new StoreError('unusable', `${path} is the database of another program: name another file in STORE_URL`)
}

const KINDS: Readonly<Record<number, readonly [kind: StoreErrorKind, what: string]>> = {
  [SQLITE.busy]: ['busy', 'is locked by another process'],
  [SQLITE.locked]: ['busy', 'is locked by another process'],
  [SQLITE.readOnly]: ['unusable', 'may not be written by this user: make the file and its folder writable, or correct STORE_URL'],
  [SQLITE.io]: ['io', 'failed'],
  [SQLITE.corrupt]: ['damaged', 'is damaged: put a backup in its place, or move it away to count from the beginning'],
  [SQLITE.full]: ['full', 'cannot grow because its disk is full: make room'],
  [SQLITE.cannotOpen]: ['unusable', 'cannot be opened'],
  [SQLITE.notADatabase]: [
    'damaged',
    'is not a SQLite database: name another file in STORE_URL, or move it away to count from the beginning',
  ],
}

function storeError(path: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const { errcode, message, code } = error as { errcode?: number; message: string; code?: string }
  if (code === 'ERR_INVALID_STATE') return new StoreError('io', `the store ${path} is closed`, { cause: error })
  if (errcode === undefined) throw error
  const [kind, what] = KINDS[errcode & 0xff] ?? ['io', 'failed']
  return new StoreError(kind, `the store ${path} ${what} (SQLite: ${message}, code ${errcode})`, { cause: error })
}
