/** The databases that the contract suites of the stores use, and the changes that they commit. */
import type { TestContext } from 'node:test'
import type { FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { PartitionChange, PartitionState } from '../../src/application/ports.ts'
import type { DeadLetter } from '../../src/entities/dead-letter.ts'
import type { Store, StoreOptions } from '../../src/infrastructure/storage/store.ts'
import { headerBytes } from '../header-bytes.ts'

/** An empty database for one test. */
export interface StoreHarness {
  /** The URL for `openStore`, in this process or another one. */
  readonly url: string
  /** Opens the database as another instance; the end of the test closes it. The default group is `group`. */
  open(options?: Partial<StoreOptions>): Promise<Store>
  /** Runs a query as the database's own tools do. */
  query(sql: string): Promise<Record<string, unknown>[]>
  /** Makes everything in the store older, by so many ms. */
  age(ms: number): Promise<void>
  /** The store's clock, ms since 1970. */
  now(): number
}

export type CreateStore = (t: TestContext) => Promise<StoreHarness>

export const TOPIC_ID = '11111111-2222-4333-8444-555555555555'
export const OTHER_TOPIC_ID = '99999999-8888-4777-8666-555555555555'

export function partitionOf(partition: number, topicId = TOPIC_ID, topic = 'poke-topic'): TopicPartition {
  return { topic, topicId, partition }
}

/** A commit with the token of `state`, from its position to `to`. Everything that is not given is empty. */
export function changeOf(
  partition: TopicPartition,
  state: Pick<PartitionState, 'token' | 'position'>,
  to: number,
  rest: Partial<Omit<PartitionChange, 'counts' | 'lastSequences' | 'to'>> & {
    counts?: Record<string, number>
    lastSequences?: Record<string, number>
    leaderEpoch?: number
  } = {},
): PartitionChange {
  const { counts = {}, lastSequences = {}, leaderEpoch = 0, ...others } = rest
  return {
    partition,
    token: state.token,
    from: state.position,
    to: { offset: to, leaderEpoch },
    firstOffset: state.position.offset === 'log-start' ? 0 : state.position.offset,
    counts: new Map(Object.entries(counts)),
    lastSequences: new Map(Object.entries(lastSequences)),
    deadLetters: [],
    newest: null,
    counted: 0,
    duplicates: 0,
    caughtUp: true,
    ...others,
  }
}

export function deadLetterOf(offset: number, rest: Partial<DeadLetter> = {}): DeadLetter {
  return {
    offset,
    leaderEpoch: 0,
    timestamp: 1_700_000_000_000n + BigInt(offset),
    reason: 'not-json',
    key: null,
    value: null,
    headers: headerBytes(),
    cut: {},
    ...rest,
  }
}

/** The position after a commit. */
export function at(offset: number, leaderEpoch = 0): FetchPosition {
  return { offset, leaderEpoch }
}

/** Makes a commit that must succeed. @returns token and position for the next one */
export async function commitTo(
  store: Store,
  partition: TopicPartition,
  state: Pick<PartitionState, 'token' | 'position'>,
  to: number,
  rest: Parameters<typeof changeOf>[3] = {},
): Promise<Pick<PartitionState, 'token' | 'position'>> {
  const outcome = await store.commit(changeOf(partition, state, to, rest))
  if (outcome !== 'committed') throw new Error(`the commit of ${partition.topic}/${partition.partition} to offset ${to} was ${outcome}`)
  return { token: state.token, position: { offset: to, leaderEpoch: rest.leaderEpoch ?? 0 } }
}
