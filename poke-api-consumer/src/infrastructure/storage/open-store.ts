/** Opens the store that a URL names: `sqlite:<file>` on one machine, `postgres://…` for many. */
import { StoreError } from '../../errors.ts'
import { PostgresTallyStore } from './postgres-tally-store.ts'
import { SqliteTallyStore } from './sqlite-tally-store.ts'
import { type Store, type StoreOptions, withDefaults } from './store.ts'

/**
 * Makes what is missing (file, folder, tables) and brings an older schema up to date.
 * @throws StoreError; the retriable ones (PostgreSQL not up yet) are worth another try
 */
export async function openStore(url: string, options: StoreOptions): Promise<Store> {
  if (/^postgres(?:ql)?:/.test(url)) return await PostgresTallyStore.open(url, withDefaults(options))
  const path = /^sqlite:(.+)$/.exec(url)?.[1]
  if (path === undefined) throw new StoreError('unusable', 'STORE_URL must be sqlite:<file> or postgres://user@host:port/database')
  return await SqliteTallyStore.open(path, withDefaults(options))
}
