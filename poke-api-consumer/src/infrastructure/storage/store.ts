/** What a store is, whichever database is below it, and what it must be told. */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterStore, GapStore, ResettableStore, SnapshotStore, TallyStore } from '../../application/ports.ts'
import { StoreError } from '../../errors.ts'
import type { StoreCertificates } from './postgres-tls.ts'
import type { Row } from './rows.ts'

/** Everything that is kept of one consumer group. Closing it twice does no harm. */
export interface Store extends TallyStore, GapStore, DeadLetterStore, SnapshotStore, ResettableStore {
  /** Made at random with the database: two instances with different ones count into two stores (rule S5). */
  readonly id: string
}

export interface StoreOptions {
  readonly groupId: string
  /** Who opens partitions, for people; null: nobody in particular. */
  readonly owner?: string | null
  /** The clock of a SQLite store, ms since 1970; PostgreSQL has its own. */
  readonly now?: () => number
  /** A source silent for longer than this, in ms, while everything was counted, is forgotten when a new one appears. Default: 7 days. */
  readonly sourceMaxAge?: number
  /** Past this many sources in a partition the longest silent ones are forgotten. Default: 10,000. */
  readonly sourceMaxCount?: number
  /** Sources were forgotten: an event of theirs that is sent again would be counted again. Must not throw. */
  readonly onSourcesForgotten?: (partition: TopicPartition, why: 'silent' | 'too-many', sources: number) => void
  /** PostgreSQL's password, where the URL has none; null: the URL's. */
  readonly password?: string | null
  /** How long PostgreSQL may take for one operation, connecting included, in ms. Default: 5 s. */
  readonly deadline?: number
  /** For TLS to PostgreSQL, where the URL names no files. Default: none. */
  readonly certificates?: StoreCertificates
  /** Where PostgreSQL's own client looks for what the URL leaves out (PGSSLMODE and the like). Default: the environment of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * @param store for the message: where it is
 * @param row of its table of the id
 * @throws StoreError where there is none: without it nobody could tell this store from another one
 */
export function idOf(store: string, row: Row | undefined): string {
  if (typeof row?.id === 'string') return row.id
  throw new StoreError('damaged', `the store ${store} has lost its id, the row of its table "store": put a backup in its place`)
}

/** Dead letters read at once by whoever does not say how much it can hold, in bytes. */
export const LETTERS_AT_ONCE = 4 * 1024 * 1024

/** Options with their defaults (rule C3). */
export function withDefaults(options: StoreOptions) {
  return {
    owner: null,
    now: Date.now,
    sourceMaxAge: 7 * 24 * 3600_000,
    sourceMaxCount: 10_000,
    onSourcesForgotten: () => {},
    password: null,
    deadline: 5000,
    certificates: { authority: null, certificate: null, key: null },
    environment: process.env,
    ...options,
  } satisfies StoreOptions
}
export type FullStoreOptions = ReturnType<typeof withDefaults>
