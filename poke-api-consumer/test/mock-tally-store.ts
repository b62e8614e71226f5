/** A store in memory that keeps the rules S1 and S2 as the real ones do, and fails where a test says so. */

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

interface Row {
  topic: string
  topicId: string
  partition: number
  token: number
  position: PartitionState['position']
  counts: Map<string, number>
  lastSequences: Map<string, number>
  deadLetters: DeadLetter[]
  counted: number
  duplicates: number
  revision: number
}

/** What becomes of the next commit: it fails and nothing was written; or it was written and the answer is lost. */
export type CommitFault = 'refused' | 'applied-but-lost'

export class MockTallyStore implements TallyStore, GapStore, Pick<DeadLetterStore, 'unpublished' | 'markPublished'> {
  readonly rows = new Map<string, Row>()
  readonly gaps: Gap[] = []
  /** Ids of the dead letters that were published. */
  readonly published = new Set<number>()
  /** Taken one by one by commits; undefined: that commit works. */
  readonly commitFaults: (CommitFault | undefined)[] = []
  /** Opens that fail before one works. */
  failingOpens: Error[] = []
  /** Taken one by one by `recordGap`: nothing was recorded then. */
  readonly gapFailures: Error[] = []
  /** Waited for before each commit. */
  beforeCommit: (() => Promise<void>) | null = null
  #tokens = 0

  async open(p: TopicPartition): Promise<PartitionState> {
    const failure = this.failingOpens.shift()
    if (failure !== undefined) throw failure
    const row = this.#row(p)
    row.token = ++this.#tokens
    const other = [...this.rows.values()].find((known) => known.topic === p.topic && known.topicId !== p.topicId && known.revision > 0)
    const replacedTopicId = row.revision === 0 && other !== undefined ? other.topicId : null
    return { position: row.position, token: row.token, lastSequences: new Map(row.lastSequences), replacedTopicId }
  }

  async commit(change: PartitionChange): Promise<CommitOutcome> {
    await this.beforeCommit?.()
    const fault = this.commitFaults.shift()
    if (fault === 'refused') throw new Error('the store is away')
    const row = this.#row(change.partition)
    if (row.token !== change.token || row.position.offset !== change.from.offset) return 'fenced'
    row.position = change.to
    for (const [type, count] of change.counts) row.counts.set(type, (row.counts.get(type) ?? 0) + count)
    for (const [source, last] of change.lastSequences) row.lastSequences.set(source, last)
    row.deadLetters.push(...change.deadLetters)
    row.counted += change.counted
    row.duplicates += change.duplicates
    row.revision++
    if (fault === 'applied-but-lost') throw new Error('the answer was lost')
    return 'committed'
  }

  async recordGap(gap: Gap): Promise<CommitOutcome> {
    const failure = this.gapFailures.shift()
    if (failure !== undefined) throw failure
    const row = this.#row(gap.partition)
    if (row.token !== gap.token) return 'fenced'
    row.token = ++this.#tokens
    row.revision++
    if (gap.loss.to !== null) row.position = { offset: gap.loss.to, leaderEpoch: -1 }
    this.gaps.push(gap)
    return 'committed'
  }

  async unpublished(p: TopicPartition, limit: number): Promise<KeptDeadLetter[]> {
    const row = this.#row(p)
    const letters = row.deadLetters.map((letter, i) => ({ ...letter, id: row.partition * 1000 + i, partition: p, state: 'kept' as const }))
    return letters.filter(({ id }) => !this.published.has(id)).slice(0, limit)
  }

  async markPublished(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.published.add(id)
  }

  async totals(): Promise<Totals> {
    const counts = new Map<string, number>()
    let revision = 0
    for (const row of this.rows.values()) {
      revision += row.revision
      for (const [type, count] of row.counts) counts.set(type, (counts.get(type) ?? 0) + count)
    }
    return { counts, revision }
  }

  async partitions(): Promise<PartitionSummary[]> {
    return [...this.rows.values()].map((row) => ({ ...row, deadLetters: row.deadLetters.length }))
  }

  async close(): Promise<void> {}

  #row(p: TopicPartition): Row {
    const key = `${p.topicId} ${p.partition}`
    let row = this.rows.get(key)
    if (row === undefined) {
      row = {
        ...p,
        token: 0,
        position: { offset: 'log-start', leaderEpoch: -1 },
        counts: new Map(),
        lastSequences: new Map(),
        deadLetters: [],
        counted: 0,
        duplicates: 0,
        revision: 0,
      }
      this.rows.set(key, row)
    }
    return row
  }
}
