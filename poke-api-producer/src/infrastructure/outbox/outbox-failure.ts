/** Turns failures of the outbox's file into OutboxErrors: what went wrong, and whether retrying can help. */
import { SQLITE } from '@poke-api-pipeline/service-kit'
import { OutboxError, type OutboxErrorKind } from '../../errors.ts'

/** @param error from SQLite or the file system; an OutboxError is returned unchanged */
export function outboxError(error: unknown, dir: string): Error {
  if (error instanceof OutboxError) return error
  const cause = error as Error & { code?: string; errcode?: number; syscall?: string }
  const failed = (kind: OutboxErrorKind, message: string) => new OutboxError(kind, message, { cause })
  if (cause.syscall !== undefined) {
    return failed(
      'unusable',
      `the outbox's folder ${dir} cannot be created (${cause.message}): make it writable, or set DATA_DIR to another folder`,
    )
  }
  // Not an error of SQLite: a mistake in the program.
  if (cause.errcode === undefined) return cause
  switch (cause.errcode & 0xff) {
    case SQLITE.busy:
    case SQLITE.locked:
      return failed(
        'locked',
        `the outbox in ${dir} is in use by another process: end that process, or give this one another folder with DATA_DIR`,
      )
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return failed('damaged', damaged(dir, cause.message))
    case SQLITE.cannotOpen:
      return failed(
        'unusable',
        `the outbox in ${dir} cannot be opened (${cause.message}): make the folder writable, or set DATA_DIR to another folder`,
      )
    case SQLITE.full:
      return failed(
        'full',
        `the outbox in ${dir} cannot store captures, because the disk is full: free some space; then capturing goes on by itself`,
      )
    default:
      return failed(
        'io',
        `the outbox in ${dir} cannot be written (${cause.message}): check the disk; when it works, capturing goes on by itself`,
      )
  }
}

/** The message for a damaged file. @param how SQLite describes the damage */
export function damaged(dir: string, how: string): string {
  return `the outbox in ${dir} is damaged (${how}): replace outbox.db with a backup, or move it away to begin with an empty outbox; unpublished captures in the damaged file are lost`
}
