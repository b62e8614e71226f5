/** The store that a command works on. Unlike the service, a command makes none: an empty one would answer every question wrongly. */
import { existsSync, globSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Config, SETTINGS, storeLogin } from '../config.ts'
import { StoreError } from '../errors.ts'
import { openStore, sqlitePath } from '../infrastructure/storage/open-store.ts'
import type { Store } from '../infrastructure/storage/store.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'

/**
 * Says which store it is, calls `work` with it, and closes it.
 * @throws StoreError
 */
export async function withExistingStore<T>(config: Config, terminal: Terminal, work: (store: Store) => Promise<T>): Promise<T> {
  const path = sqlitePath(config.STORE_URL)
  if (path !== null && !existsSync(path))
    throw new StoreError('missing', `there is no store ${resolve(path)}: run the service first, or correct STORE_URL${others()}`)
  terminal.error(`Store: ${path === null ? storeName(config) : `sqlite:${resolve(path)}`}, group ${config.KAFKA_GROUP_ID}\n`)
  const store = await openStore(config.STORE_URL, {
    groupId: config.KAFKA_GROUP_ID,
    sourceMaxAge: config.SOURCE_MAX_AGE,
    sourceMaxCount: config.SOURCE_MAX_COUNT,
    ...storeLogin(config),
  })
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** Stores that `make start` and `make sweep` have left in this folder: each belongs to other brokers. */
function others(): string {
  const found = globSync('data/*/type-counts.db')
    .sort()
    .map((path) => `STORE_URL=sqlite:${path}`)
  return found.length === 0 ? '' : `; in this folder there ${found.length === 1 ? 'is' : 'are'} ${found.join(', ')}`
}

/** How the store is named to people: without a password. */
export function storeName(config: Config): string {
  return SETTINGS.STORE_URL.kind.show?.(config.STORE_URL) ?? config.STORE_URL
}
