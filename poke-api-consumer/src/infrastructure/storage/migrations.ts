/** The migrations that make a store's schema, for SQLite and for PostgreSQL. */
import { type Migration, readMigrations } from '@poke-api-pipeline/service-kit'
import { StoreError } from '../../errors.ts'

/**
 * All migrations of a dialect, in order. A released file never changes. The next change is the next file, and it keeps everything that the
 * version before reads and writes, because instances of both versions run side by side during an update.
 */
export function storeMigrations(dialect: 'sqlite' | 'postgres'): Migration[] {
  return readMigrations(new URL(`./migrations/${dialect}/`, import.meta.url))
}

/**
 * @param store names the store in the message
 * @throws StoreError where the schema is newer than the newest migration of this program
 */
export function refuseNewerSchema(store: string, version: number, migrations: readonly Migration[]): void {
  if (version <= migrations.length) return
  throw new StoreError(
    'newer-schema',
    `the store ${store} has schema version ${version}, and this program knows versions up to ${migrations.length}: ` +
      'run the newer program that made it, or name another STORE_URL',
  )
}
