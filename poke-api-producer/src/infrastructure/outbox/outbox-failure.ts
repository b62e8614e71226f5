/** Says in a sentence what went wrong with the outbox's file, and whether waiting can help. */
import { OutboxError } from '../../errors.ts'

/** Primary result codes of SQLite: https://www.sqlite.org/rescode.html */
const BUSY = 5
const LOCKED = 6
const CORRUPT = 11
const FULL = 13
const CANNOT_OPEN = 14
const NOT_A_DATABASE = 26

/** @param error from SQLite or the file system; an OutboxError is given back as it is */
export function outboxError(error: unknown, dir: string): Error {
  if (error instanceof OutboxError) return error
  const cause = error as Error & { code?: string; errcode?: number; syscall?: string }
  if (cause.syscall !== undefined) {
    return new OutboxError(
      'unusable',
      `the outbox's folder ${dir} cannot be made (${cause.message}): make it writable, or set DATA_DIR to another`,
      { cause },
    )
  }
  // Not SQLite's: a mistake in the program.
  if (cause.errcode === undefined) return cause
  switch (cause.errcode & 0xff) {
    case BUSY:
    case LOCKED:
      return new OutboxError(
        'locked',
        `the outbox in ${dir} is in use by another process: end that one, or give this one a folder of its own with DATA_DIR`,
        { cause },
      )
    case CORRUPT:
    case NOT_A_DATABASE:
      return new OutboxError('damaged', damaged(dir, cause.message), { cause })
    case CANNOT_OPEN:
      return new OutboxError(
        'unusable',
        `the outbox in ${dir} cannot be opened (${cause.message}): make the folder writable, or set DATA_DIR to another`,
        { cause },
      )
    case FULL:
      return new OutboxError(
        'full',
        `the outbox in ${dir} cannot store captures, because the disk is full: make room; it goes on by itself`,
        { cause },
      )
    default:
      return new OutboxError('io', `the outbox in ${dir} cannot be written (${cause.message}): see to the disk; it goes on by itself`, {
        cause,
      })
  }
}

/** What to say of a file that is no sound database. */
export function damaged(dir: string, how: string): string {
  return `the outbox in ${dir} is damaged (${how}): put a backup of outbox.db in its place, or move it away to begin an empty one; captures in it that were not published yet are lost with it`
}
