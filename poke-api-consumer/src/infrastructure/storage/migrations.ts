/** The numbered SQL files that make a store's schema: `001-….sql` brings an empty database to version 1, and so on. */
import { readdirSync, readFileSync } from 'node:fs'
import { StoreError } from '../../errors.ts'

export interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
}

/**
 * All migrations of a dialect, in order, without a hole. A file that was released never changes; the next change is the next file, and
 * leaves everything that the version before reads and writes, because instances of both run side by side while they are replaced.
 */
export function readMigrations(dialect: 'sqlite' | 'postgres'): Migration[] {
  const folder = new URL(`./migrations/${dialect}/`, import.meta.url)
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
  return names.map((name, index) => {
    const version = Number(/^(\d{3})-[a-z0-9-]+\.sql$/.exec(name)?.[1])
    if (version !== index + 1) throw new Error(`${folder.pathname}${name}: expected number ${index + 1} in the form 001-what-it-does.sql`)
    return { version, name, sql: readFileSync(new URL(name, folder), 'utf8') }
  })
}

/**
 * @param store for the message: where it is
 * @throws StoreError where the schema is newer than the newest migration known here
 */
export function refuseNewerSchema(store: string, version: number, migrations: readonly Migration[]): void {
  if (version <= migrations.length) return
  throw new StoreError(
    'newer-schema',
    `the store ${store} has schema version ${version}, this program knows versions up to ${migrations.length}: ` +
      'run the newer program that made it, or name another STORE_URL',
  )
}
