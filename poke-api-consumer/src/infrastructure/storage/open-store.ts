/** Opens the store that a URL names: `sqlite:<file>` for one machine, `postgres://…` for many. */
import { StoreError } from '../../errors.ts'
import { type Store, type StoreOptions, withDefaults } from './store.ts'

/**
 * Creates what is missing (file, folder, tables), and brings an older schema up to date.
 * @throws StoreError; where it is retriable (PostgreSQL has not started yet), try again later
 */
export async function openStore(url: string, options: StoreOptions): Promise<Store> {
  const path = sqlitePath(url)
  // Only the module that is used is loaded, because the other database's client would slow down every start.
  if (path !== null) {
    const { SqliteTallyStore } = await import('./sqlite-tally-store.ts')
    return await SqliteTallyStore.open(path, withDefaults(options))
  }
  if (/^postgres(?:ql)?:/.test(url)) {
    const { PostgresTallyStore } = await import('./postgres-tally-store.ts')
    return await PostgresTallyStore.open(url, withDefaults(options))
  }
  throw new StoreError('unusable', 'STORE_URL must be sqlite:<file> or postgres://user@host:port/database')
}

/** The path of the file that a URL names; null where it names a server. */
export function sqlitePath(url: string): string | null {
  return /^sqlite:(.+)$/.exec(url)?.[1] ?? null
}
