/** The store that a command works on. Unlike the service, a command makes none: an empty one would answer every question wrongly. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { readSecret } from 'service-kit'
import { type Config, SETTINGS } from '../config.ts'
import { StoreError } from '../errors.ts'
import { openStore } from '../infrastructure/storage/open-store.ts'
import type { Store } from '../infrastructure/storage/store.ts'

/**
 * Calls `work` with the store of the settings, and closes it.
 * @throws StoreError
 */
export async function withExistingStore<T>(config: Config, work: (store: Store) => Promise<T>): Promise<T> {
  const path = /^sqlite:(.+)$/.exec(config.STORE_URL)?.[1]
  if (path !== undefined && !existsSync(path))
    throw new StoreError('missing', `there is no store ${resolve(path)}: run the service first, or correct STORE_URL`)
  const store = await openStore(config.STORE_URL, {
    groupId: config.KAFKA_GROUP_ID,
    sourceMaxAge: config.SOURCE_MAX_AGE,
    sourceMaxCount: config.SOURCE_MAX_COUNT,
    password: config.STORE_PASSWORD_FILE === null ? null : readSecret(config.STORE_PASSWORD_FILE, 'STORE_PASSWORD_FILE'),
  })
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** How the store is named to people: without a password. */
export function storeName(config: Config): string {
  return SETTINGS.STORE_URL.kind.show?.(config.STORE_URL) ?? config.STORE_URL
}
