/** Shared code for SQLite files: transactions, pragmas, and a schema that numbered SQL files create. */
import { readdirSync, readFileSync } from 'node:fs'
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'

/** Primary result codes of SQLite: https://www.sqlite.org/rescode.html */
export const SQLITE = { busy: 5, locked: 6, readOnly: 8, io: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 } as const

export interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
}

/** Transactions of one connection. Their statements stay prepared. */
export class SqliteTransactions {
  readonly #database: DatabaseSync
  readonly #begin: Readonly<Record<'write' | 'read', StatementSync>>
  readonly #commit: StatementSync
  readonly #rollback: StatementSync

  constructor(database: DatabaseSync) {
    this.#database = database
    // SQLite does not let a transaction wait for the write lock after its first read, so a writing transaction takes the lock when it begins.
    this.#begin = { write: database.prepare('BEGIN IMMEDIATE'), read: database.prepare('BEGIN DEFERRED') }
    this.#commit = database.prepare('COMMIT')
    this.#rollback = database.prepare('ROLLBACK')
  }

  /** Runs `work` in a transaction and commits it. If `work` or the commit throws, the transaction is rolled back and the error is thrown. */
  run<T>(purpose: 'write' | 'read', work: () => T): T {
    this.#begin[purpose].run()
    try {
      const result = work()
      this.#commit.run()
      return result
    } catch (error) {
      // SQLite ends the transaction itself when the disk is full.
      if (this.#database.isOpen && this.#database.isTransaction) this.#rollback.run()
      throw error
    }
  }
}

/** @returns the value of a pragma; `name = value` sets it first */
export function pragma(database: DatabaseSync, name: string): SQLOutputValue | undefined {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]
}

/** @returns the number of the last migration of the file, 0 if none was run */
export function schemaVersion(database: DatabaseSync): number {
  return Number(pragma(database, 'user_version'))
}

/**
 * Reads the migrations of a folder in order: `001-….sql` migrates an empty database to version 1, and so on.
 * @throws Error if a number is missing
 */
export function readMigrations(folder: URL): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
  return names.map((name, index) => {
    const version = Number(/^(\d{3})-[a-z0-9-]+\.sql$/.exec(name)?.[1])
    if (version !== index + 1) throw new Error(`${folder.pathname}${name}: expected number ${index + 1} in the form 001-what-it-does.sql`)
    return { version, name, sql: readFileSync(new URL(name, folder), 'utf8') }
  })
}

/** Runs the missing migrations in one transaction. If several processes call this at once, one of them runs the migrations. */
export function migrate(database: DatabaseSync, migrations: readonly Migration[]): void {
  new SqliteTransactions(database).run('write', () => {
    for (const { version, sql } of migrations) {
      if (version > schemaVersion(database)) database.exec(`${sql}; PRAGMA user_version = ${version}`)
    }
  })
}
