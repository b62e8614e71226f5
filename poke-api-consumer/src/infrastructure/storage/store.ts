/** A store, whichever database it uses, and its options. */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterStore, GapStore, ResettableStore, SnapshotStore, TallyStore } from '../../application/ports.ts'
import { StoreError } from '../../errors.ts'
import type { StoreCertificates } from './postgres-tls.ts'
import type { Row } from './rows.ts'

/** Everything that is stored for one consumer group. `close` can be called twice. */
export interface Store extends TallyStore, GapStore, DeadLetterStore, SnapshotStore, ResettableStore {
  /** Chosen at random when the database is created: two instances with different ids count into two stores (rule S5). */
  readonly id: string
}

export interface StoreOptions {
  readonly groupId: string
  /** The name of the instance that opens partitions, for people to read; null: none. */
  readonly owner?: string | null
  /** The clock of a SQLite store, ms since 1970; PostgreSQL has its own. */
  readonly now?: () => number
  /** A source that was silent for this many ms is forgotten when a new one appears and every record is counted. Default: 7 days. */
  readonly sourceMaxAge?: number
  /** The number of sources of a partition that are remembered; beyond it the longest silent ones are forgotten. Default: 10,000. */
  readonly sourceMaxCount?: number
  /** Called when sources were forgotten: an event of theirs that is sent again would be counted again. Must not throw. */
  readonly onSourcesForgotten?: (partition: TopicPartition, why: 'silent' | 'too-many', sources: number) => void
  /** The password for PostgreSQL; null: the one in the URL. */
  readonly password?: string | null
  /** The time for one operation of PostgreSQL, connecting included, in ms. Default: 5 s. */
  readonly deadline?: number
  /** Certificates for TLS to PostgreSQL, where the URL names no files. Default: none. */
  readonly certificates?: StoreCertificates
  /** Variables for what the URL leaves out (PGSSLMODE and the like), as PostgreSQL's own client reads them. Default: those of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * @param store names the store in the message
 * @param row the row of the table `store`
 * @throws StoreError where there is no id: without it, two stores could not be told apart
 */
export function idOf(store: string, row: Row | undefined): string {
  if (typeof row?.id === 'string') return row.id
  throw new StoreError('damaged', `the store ${store} has lost its id, the row of its table "store": put a backup in its place`)
}

/** The bytes of dead letters in one page, where the caller sets no limit. */
export const DEAD_LETTER_PAGE_BYTES = 4 * 1024 * 1024

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
