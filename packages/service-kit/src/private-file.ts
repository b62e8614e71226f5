/** Databases that nobody but their user may read: what was captured or counted, and records that others sent. */
import { chmodSync, closeSync, openSync, type Stats, statSync } from 'node:fs'

const PRIVATE = 0o600
const OTHERS = 0o077
/** SQLite gives them the mode of the database when it makes them. */
const SIDE_FILES = ['', '-wal', '-shm', '-journal']
/** SQLite's name for a database that is in no file. */
const IN_MEMORY = ':memory:'

/**
 * To be called before SQLite opens the file. A missing one is made, empty and for its user alone; from an existing one and its side files the
 * rights of group and others are taken, as far as this user may. Where a file cannot be made or looked at, SQLite meets the same failure and says it.
 */
export function keepPrivate(database: string): void {
  if (database === IN_MEMORY) return
  for (const suffix of SIDE_FILES) {
    const found = look(database + suffix)
    if (found === undefined && suffix === '') make(database)
    else if (found?.isFile() && (found.mode & OTHERS) !== 0) tighten(database + suffix, found.mode)
  }
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    // A name that is too long, links in a circle, a folder that may not be entered.
    return undefined
  }
}

function make(path: string): void {
  try {
    closeSync(openSync(path, 'a', PRIVATE))
  } catch {
    // SQLite fails in the same way in a moment.
  }
}

function tighten(path: string, mode: number): void {
  try {
    chmodSync(path, mode & ~OTHERS & 0o7777)
  } catch (error) {
    // It belongs to somebody else, or its disk has no modes: it can be read all the same.
    if (!['EPERM', 'EROFS', 'ENOENT', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}
