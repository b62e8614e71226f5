/**
 * Stores answers in an SQLite file, behind undici's interface for cache stores. undici decides which answers may be stored and how long they are fresh
 * (RFC 9111). It passes reduced answers of about 100 bytes, so an entry is one small row.
 *
 * Losing the cache does no harm: a damaged file is replaced by an empty one, and if it cannot be written, requests go to the API.
 */
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { Writable } from 'node:stream'
import { keepPrivate, pragma, SQLITE, SqliteTransactions, schemaVersion } from '@poke-api-pipeline/service-kit'
import type { interceptors } from 'undici'
import { PokeApiError } from '../../errors.ts'

type CacheStore = NonNullable<NonNullable<Parameters<typeof interceptors.cache>[0]>['store']>
type CacheKey = Parameters<CacheStore['get']>[0]
type CacheValue = Parameters<CacheStore['createWriteStream']>[1]

export interface CachedAnswer extends CacheValue {
  readonly cacheControlDirectives: NonNullable<CacheValue['cacheControlDirectives']>
  readonly body: Buffer
}

export interface ResponseCacheOptions {
  /** The file, in a folder that exists. No other process uses it. */
  readonly file: string
  /** ms since 1970. */
  readonly now: () => number
  /** Called with a sentence when the cache was replaced by an empty one, or cannot be read or written. */
  readonly failed: (message: string) => void
  /** Most entries; then the oldest are removed. Default: 10,000. */
  readonly maxEntries?: number
}

/** The version of an entry's content: a file of another version is replaced by an empty one. */
const FORMAT = 1
/** How long an entry that the API can confirm is stored, in ms. Long after it is stale: a confirmation takes a few bytes, the body 100 kB. */
const KEPT_FOR_REVALIDATION = 365 * 24 * 60 * 60 * 1000
/** A larger answer is not stored, in bytes. The list of all Pokémon takes 7 kB. */
const LARGEST_BODY = 1024 * 1024
/** New entries are written together, because a transaction costs more than an entry: when there are so many, or after so many ms. */
const WRITTEN_TOGETHER = 64
const LONGEST_UNWRITTEN = 500
/** After so many new entries, the oldest ones beyond the bound are removed. */
const PRUNED_AFTER = 500
/** How long to wait for a file that another process is just closing, in ms. */
const LOCK_TIMEOUT = 1000

const SCHEMA = `
  CREATE TABLE answer (name TEXT PRIMARY KEY, value TEXT NOT NULL, body BLOB NOT NULL, stored_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${FORMAT};
`

type Database = ReturnType<typeof statementsOf>

/** A stored answer. */
interface Entry {
  readonly value: CacheValue
  readonly body: Buffer
}

export class ResponseCache implements CacheStore {
  readonly #options: ResponseCacheOptions
  readonly #maxEntries: number
  #database: Database
  /** A failure was reported, and nothing could be written since. */
  #failing = false
  /** Entries that are not in the file yet, by name. */
  readonly #unwritten = new Map<string, Entry>()
  #timer: NodeJS.Timeout | undefined
  #sincePruned = 0

  /** @throws PokeApiError where the file cannot be created */
  constructor(options: ResponseCacheOptions) {
    this.#options = options
    this.#maxEntries = options.maxEntries ?? 10_000
    try {
      this.#database = openOrReplace(options)
    } catch (error) {
      const why = `the cache ${options.file} cannot be opened (${(error as Error).message})`
      throw new PokeApiError('cache', `${why}: make its folder writable, and give each producer a DATA_DIR of its own`, { cause: error })
    }
  }

  get(key: CacheKey): CachedAnswer | undefined {
    const entry = this.#unwritten.get(nameOf(key)) ?? this.#attempt(() => this.#read(nameOf(key)))
    if (entry === undefined || entry.value.deleteAt <= this.#options.now() || !sameVariant(entry.value.vary, key.headers)) return undefined
    return { cacheControlDirectives: {}, ...entry.value, body: entry.body }
  }

  createWriteStream(key: CacheKey, value: CacheValue): Writable {
    const chunks: Buffer[] = []
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        chunks.push(chunk)
        done()
      },
      final: (done) => {
        this.#store(key, value, Buffer.concat(chunks))
        done()
      },
    })
  }

  delete(key: CacheKey): void {
    this.#unwritten.delete(nameOf(key))
    this.#attempt(() => this.#database.forget.run(nameOf(key)))
  }

  /** Writes new entries to the file. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#unwritten.size > 0) this.#attempt(() => this.#write())
    // If that failed, they are lost, which does no harm.
    this.#unwritten.clear()
  }

  close(): void {
    this.flush()
    if (this.#database.db.isOpen) this.#database.db.close()
  }

  #read(name: string): Entry | undefined {
    const row = this.#database.get.get(name)
    if (row === undefined) return undefined
    const body = row.body as Uint8Array
    return { value: JSON.parse(String(row.value)), body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) }
  }

  #store(key: CacheKey, value: CacheValue, body: Buffer): void {
    if (body.length > LARGEST_BODY || !this.#database.db.isOpen) return
    const revalidatable = value.etag !== undefined || value.headers['last-modified'] !== undefined
    const deleteAt = revalidatable ? Math.max(value.deleteAt, value.cachedAt + KEPT_FOR_REVALIDATION) : value.deleteAt
    this.#unwritten.set(nameOf(key), { value: { ...value, deleteAt }, body })
    if (this.#unwritten.size >= WRITTEN_TOGETHER) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), LONGEST_UNWRITTEN).unref()
  }

  #write(): void {
    const { transactions, set, prune } = this.#database
    const now = this.#options.now()
    transactions.run('write', () => {
      for (const [name, { value, body }] of this.#unwritten) set.run(name, JSON.stringify(value), body, now)
      this.#sincePruned += this.#unwritten.size
      if (this.#sincePruned >= PRUNED_AFTER) {
        prune.run(this.#maxEntries)
        this.#sincePruned = 0
      }
    })
    // Only a write shows that the cache works again: reading succeeds on a full disk too.
    this.#failing = false
  }

  /** @returns undefined where it fails: the cache then counts as empty */
  #attempt<T>(work: () => T): T | undefined {
    // Answers that arrive after `close` are no failure.
    if (!this.#database.db.isOpen) return undefined
    try {
      return work()
    } catch (error) {
      this.#recover(error as Error & { errcode?: number })
      return undefined
    }
  }

  #recover(error: Error & { errcode?: number }): void {
    // A row that is not JSON is damage too; any other error that is not SQLite's is a mistake in the program.
    const damaged = isDamage(error) || error instanceof SyntaxError
    if (!damaged && error.errcode === undefined) throw error
    const { file, failed } = this.#options
    let failure = error
    if (damaged) {
      try {
        this.#database.db.close()
        this.#database = replace(this.#options, error.message)
        return
      } catch (again) {
        failure = again as Error
      }
    }
    if (!this.#failing)
      failed(`the cache ${file} cannot be used (${failure.message}): all requests go to PokeAPI; check the disk and the rights of the file`)
    this.#failing = true
  }
}

function openOrReplace(options: ResponseCacheOptions): Database {
  try {
    return open(options.file)
  } catch (error) {
    if (!isDamage(error as Error)) throw error
    return replace(options, (error as Error).message)
  }
}

function replace(options: ResponseCacheOptions, why: string): Database {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(options.file + suffix, { force: true })
  options.failed(`the cache ${options.file} was damaged (${why}) and was replaced by an empty one, which is filled again`)
  return open(options.file)
}

function open(file: string): Database {
  keepPrivate(file)
  const db = new DatabaseSync(file, { timeout: LOCK_TIMEOUT })
  try {
    prepareFile(db)
    return statementsOf(db)
  } catch (error) {
    db.close()
    throw error
  }
}

/** The file is damaged, or not a cache of this format. */
class UnusableFile extends Error {}

function isDamage(error: Error & { errcode?: number }): boolean {
  if (error instanceof UnusableFile) return true
  return error.errcode !== undefined && [SQLITE.corrupt, SQLITE.notADatabase].includes((error.errcode & 0xff) as 11 | 26)
}

/** @throws UnusableFile, and what SQLite throws */
function prepareFile(db: DatabaseSync): void {
  // No other process uses it, so it is locked once. Nothing is synced: a file that a power cut has damaged is replaced by an empty one.
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')
  const damage = String(pragma(db, 'quick_check(1)'))
  if (damage !== 'ok') throw new UnusableFile(damage.replaceAll('\n', ' '))
  const empty = db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined
  if (empty) db.exec(SCHEMA)
  const format = schemaVersion(db)
  if (format !== FORMAT) throw new UnusableFile(`its format is ${format}, and this version writes ${FORMAT}`)
}

function statementsOf(db: DatabaseSync) {
  return {
    db,
    transactions: new SqliteTransactions(db),
    get: db.prepare('SELECT value, body FROM answer WHERE name = ?'),
    set: db.prepare(
      'INSERT INTO answer VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value, body = excluded.body, stored_at = excluded.stored_at',
    ),
    forget: db.prepare('DELETE FROM answer WHERE name = ?'),
    prune: db.prepare('DELETE FROM answer WHERE name IN (SELECT name FROM answer ORDER BY stored_at DESC LIMIT -1 OFFSET ?)'),
  }
}

/** Only GET is cached, so the URL is enough. */
function nameOf({ origin, path }: CacheKey): string {
  return origin + path
}

/** Whether the request has the headers that the answer was chosen by (RFC 9111, 4.1). */
function sameVariant(vary: CacheValue['vary'], headers: CacheKey['headers']): boolean {
  return Object.entries(vary ?? {}).every(([name, value]) => String(headers?.[name] ?? '') === String(value ?? ''))
}
