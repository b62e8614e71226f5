/** The real SQLite store, with failures that a test sets, and with the committed state for reading without waiting. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type {
  CommitOutcome,
  DeadLetterStore,
  Gap,
  GapStore,
  KeptDeadLetter,
  PartitionChange,
  PartitionState,
  PartitionSummary,
  TallyStore,
  Totals,
} from '../src/application/ports.ts'
import type { DeadLetter } from '../src/entities/dead-letter.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'

const folder = mkdtempSync(join(tmpdir(), 'faulty-store-'))
const opened: Promise<Store>[] = []
after(async () => {
  for (const store of opened) await (await store).close()
  rmSync(folder, { recursive: true })
})

/** The committed state of a partition. */
interface Row {
  readonly partition: number
  position: PartitionState['position']
  readonly lastSequences: Map<string, number>
  readonly deadLetters: DeadLetter[]
  counted: number
  duplicates: number
}

/** The fault of a commit: nothing is written; or it is written and the answer is lost. */
export type CommitFault = 'refused' | 'applied-but-lost'

export class FaultyStore implements TallyStore, GapStore, Pick<DeadLetterStore, 'unpublished' | 'markPublished'> {
  /** The committed states, by topic id and partition. */
  readonly rows = new Map<string, Row>()
  readonly gaps: Gap[] = []
  /** Ids of the dead letters that were published. */
  readonly published = new Set<number>()
  /** The faults of the next commits; undefined: that commit succeeds. */
  readonly commitFaults: (CommitFault | undefined)[] = []
  /** The errors of the next openings. */
  failingOpens: Error[] = []
  /** The errors of the next calls of `recordGap`, which then record nothing. */
  readonly gapFailures: Error[] = []
  /** Awaited before each commit. */
  beforeCommit: (() => Promise<void>) | null = null
  #opening: Promise<Store> | null = null

  async open(p: TopicPartition): Promise<PartitionState> {
    const failure = this.failingOpens.shift()
    if (failure !== undefined) throw failure
    const state = await (await this.#store()).open(p)
    this.#row(p).position = state.position
    return state
  }

  async commit(change: PartitionChange): Promise<CommitOutcome> {
    await this.beforeCommit?.()
    const fault = this.commitFaults.shift()
    if (fault === 'refused') throw new Error('the store is away')
    const outcome = await (await this.#store()).commit(change)
    if (outcome === 'fenced') return outcome
    const row = this.#row(change.partition)
    row.position = change.to
    for (const [source, last] of change.lastSequences) row.lastSequences.set(source, last)
    row.deadLetters.push(...change.deadLetters)
    row.counted += change.counted
    row.duplicates += change.duplicates
    if (fault === 'applied-but-lost') throw new Error('the answer was lost')
    return outcome
  }

  async recordGap(gap: Gap): Promise<CommitOutcome> {
    const failure = this.gapFailures.shift()
    if (failure !== undefined) throw failure
    const outcome = await (await this.#store()).recordGap(gap)
    if (outcome === 'committed') this.gaps.push(gap)
    return outcome
  }

  async unpublished(p: TopicPartition, limit: number, maxBytes: number): Promise<KeptDeadLetter[]> {
    return await (await this.#store()).unpublished(p, limit, maxBytes)
  }

  async markPublished(ids: readonly number[]): Promise<void> {
    await (await this.#store()).markPublished(ids)
    for (const id of ids) this.published.add(id)
  }

  async totals(known?: Totals | null): Promise<Totals> {
    return await (await this.#store()).totals(known)
  }

  async partitions(): Promise<PartitionSummary[]> {
    return await (await this.#store()).partitions()
  }

  /** The file is closed after all tests, so that tests can read it after a service has ended. */
  async close(): Promise<void> {}

  #store(): Promise<Store> {
    if (this.#opening === null) {
      this.#opening = openStore(`sqlite:${join(folder, `${opened.length}.db`)}`, { groupId: 'group' })
      opened.push(this.#opening)
    }
    return this.#opening
  }

  #row({ topicId, partition }: TopicPartition): Row {
    const key = `${topicId} ${partition}`
    let row = this.rows.get(key)
    if (row === undefined) {
      row = {
        partition,
        position: { offset: 'log-start', leaderEpoch: -1 },
        lastSequences: new Map(),
        deadLetters: [],
        counted: 0,
        duplicates: 0,
      }
      this.rows.set(key, row)
    }
    return row
  }
}
