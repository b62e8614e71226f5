/** Brings an outbox file to this version's schema by numbered SQL files, each once, in one transaction each; `user_version` says how many were run. */
import { readFileSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { OutboxError } from '../../errors.ts'

const MIGRATIONS = ['001-outbox.sql']

/** @throws OutboxError where the file was written by a newer version */
export function migrate(db: DatabaseSync, dir: string): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version > MIGRATIONS.length) {
    throw new OutboxError(
      'newer-schema',
      `the outbox in ${dir} was written by a newer version of this service (schema ${version}, this version knows ${MIGRATIONS.length}): run that version, or give this one a folder of its own`,
    )
  }
  for (const [index, file] of MIGRATIONS.entries()) {
    if (index < version) continue
    const sql = readFileSync(new URL(`migrations/${file}`, import.meta.url), 'utf8')
    db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT`)
  }
}
