/** Says in a sentence what went wrong with the outbox's file, and whether waiting can help. */
import { SQLITE } from '@poke-api-pipeline/service-kit'
import { OutboxError } from '../../errors.ts'

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
    case SQLITE.busy:
    case SQLITE.locked:
      return new OutboxError(
        'locked',
        `the outbox in ${dir} is in use by another process: end that one, or give this one a folder of its own with DATA_DIR`,
        { cause },
      )
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return new OutboxError('damaged', damaged(dir, cause.message), { cause })
    case SQLITE.cannotOpen:
      return new OutboxError(
        'unusable',
        `the outbox in ${dir} cannot be opened (${cause.message}): make the folder writable, or set DATA_DIR to another`,
        { cause },
      )
    case SQLITE.full:
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
