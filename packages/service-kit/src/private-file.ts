/** Makes databases readable only for their user, because they contain records that others sent. */
import { chmodSync, closeSync, openSync, type Stats, statSync } from 'node:fs'

const PRIVATE = 0o600
const OTHERS = 0o077
/** SQLite creates these files with the mode of the database. */
const SIDE_FILES = ['', '-wal', '-shm', '-journal']
/** SQLite's name for a database that is in no file. */
const IN_MEMORY = ':memory:'

/**
 * Call it before SQLite opens the file. Creates a missing file empty and readable only for its user. Removes the rights of group and others from an
 * existing file and its side files, if this user may do that. Other failures are left to SQLite, which meets and reports them.
 */
export function keepPrivate(database: string): void {
  if (database === IN_MEMORY) return
  for (const suffix of SIDE_FILES) {
    const found = statsOf(database + suffix)
    if (found === undefined && suffix === '') make(database)
    else if (found?.isFile() && (found.mode & OTHERS) !== 0) tighten(database + suffix, found.mode)
  }
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    // The name is too long, the links form a circle, or the folder may not be entered.
    return undefined
  }
}

function make(path: string): void {
  try {
    closeSync(openSync(path, 'a', PRIVATE))
  } catch {
    // SQLite reports the same failure.
  }
}

function tighten(path: string, mode: number): void {
  try {
    chmodSync(path, mode & ~OTHERS & 0o7777)
  } catch (error) {
    // The file belongs to another user, or its disk has no modes: it can be used all the same.
    if (!['EPERM', 'EROFS', 'ENOENT', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}
