/** The settings and the store of a command. Unlike the service, a command creates no store: an empty one would give wrong answers. */
import { existsSync, globSync } from 'node:fs'
import { resolve } from 'node:path'
import type { CommandInput } from '@poke-api-pipeline/service-kit'
import { type Config, readConfig, SETTINGS, storeLogin } from '../config.ts'
import { StoreError } from '../errors.ts'
import { openStore, sqlitePath } from '../infrastructure/storage/open-store.ts'
import type { Store } from '../infrastructure/storage/store.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'

/** Reads the service's settings, and prints their warnings. @throws ServiceError which names every wrong setting */
export function commandConfig(env: CommandInput['env'], terminal: Terminal): Config {
  const { config, warnings } = readConfig(env)
  for (const warning of warnings) terminal.error(`${warning}\n`)
  return config
}

/** Opens the store, prints its name, calls `work` with it, and closes it. @throws StoreError */
export async function withExistingStore<T>(config: Config, terminal: Terminal, work: (store: Store) => Promise<T>): Promise<T> {
  const path = sqlitePath(config.STORE_URL)
  if (path !== null && !existsSync(path))
    throw new StoreError('missing', `the store ${resolve(path)} does not exist: run the service first, or correct STORE_URL${others()}`)
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

/** Names the stores of `make start` and `make sweep` in this folder. Each belongs to other brokers. */
function others(): string {
  const found = globSync('data/*/type-counts.db')
    .sort()
    .map((path) => `STORE_URL=sqlite:${path}`)
  return found.length === 0 ? '' : `; this folder has ${found.join(', ')}`
}

/** @returns the store's name for messages, without a password */
export function storeName(config: Config): string {
  return SETTINGS.STORE_URL.kind.show?.(config.STORE_URL) ?? config.STORE_URL
}
