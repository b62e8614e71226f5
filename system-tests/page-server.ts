/** The page's own server with figures that a test chooses, without Kafka or a database: for amounts that a pipeline would take years to count. */

import { GroupProgress } from '@poke-api-pipeline/poke-api-consumer/group-progress'
import { LiveState } from '@poke-api-pipeline/poke-api-consumer/live-state'
import { webPage } from '@poke-api-pipeline/poke-api-consumer/page'
import type { KeptDeadLetter, NewestEvent, PartitionSummary } from '@poke-api-pipeline/poke-api-consumer/ports'
import { headerBytes } from '@poke-api-pipeline/poke-api-consumer/testing/header-bytes'
import { typeCountsDocument } from '@poke-api-pipeline/poke-api-consumer/type-counts-file'
import { createLogger, createRegistry, Health, startHttpServer } from '@poke-api-pipeline/service-kit'

const TYPES = 'water normal grass flying psychic bug poison fire ground rock fighting dark dragon electric steel ghost fairy ice'.split(' ')
const STARTED = Date.now()
const TOPIC_ID = '2c0e5c7e-6a53-4a5e-8f0b-0d7a51b4f0aa'

export interface Figures {
  /** Records counted by the group; null: the store was not read yet. */
  readonly counted: number | null
  /** Names of the greatest length that Kafka and the contract allow, instead of ordinary ones. */
  readonly longNames?: boolean
  /** Shows a stopped partition, one that another program reads, dead letters with cut values, and a failing store. */
  readonly failing?: boolean
}

export interface PageServer {
  readonly url: string
  /** Shows other figures from now on. */
  show(figures: Figures): void
  close(): Promise<void>
}

export async function servePage(figures: Figures): Promise<PageServer> {
  const progress = new GroupProgress(() => performance.now())
  const state = new LiveState({ instance: 'host-1/4711', progress, monotonic: () => performance.now(), timeOfDay: Date.now })
  let shown = figures
  const store = {
    partitions: async () => {
      if (shown.counted === null) throw new Error('the database system is starting up')
      return partitionsOf(shown, shown.counted)
    },
    deadLetters: async (_before: number | null, limit: number) => lettersOf(shown).slice(0, limit),
    deadLetterReasons: async () => reasonsOf(shown),
  }
  const show = (next: Figures) => {
    shown = next
    if (next.counted === null) return
    const partitions = partitionsOf(next, next.counted)
    const topic = partitions[0] as PartitionSummary
    const end = Number(partitions[0]?.position.offset) + (next.failing ? Math.ceil(next.counted / 10) : 0)
    const ends = { start: 0, end, stableEnd: next.failing ? end - 1 : end }
    progress.logEnds(topic, partitions.length, new Map(partitions.map(({ partition }) => [partition, ends])))
    for (const observer of [progress, state]) observer.opened(topic, topic.position)
    state.totals({ counts: countsOf(next, next.counted), revision: ++revision })
    const unread = `partition 2 of ${topic.topic} is read by another program in group poke-api-consumer, client kcat at 10.0.0.7; records that it reads are not read here: stop it, or give it a consumer group of its own`
    const seen = next.failing ? { foreignMembers: 1, unread: [2], reasons: [unread] } : { foreignMembers: 0, unread: [], reasons: [] }
    state.groupSeen({ ...seen, otherStore: false })
    if (!next.failing) return
    const message = 'Offsets 12 to 1,999,999,999 were removed by retention before they were counted. To go on behind them: skip-gap.'
    state.stopped(topic, { kind: 'retention', message, from: 12, to: 2_000_000_000 })
    state.storeFailed(new Error('could not extend file "base/16384/16400": No space left on device'))
  }
  let revision = 0
  show(figures)
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    health: new Health(),
    registry: createRegistry(),
    logger: await createLogger({ service: 'page', level: 'silent', format: 'json' }),
    plugins: [webPage({ state, progress, store, document: typeCountsDocument, allowedHosts: [] })],
  })
  return { url: server.url, show, close: () => server.close() }
}

/** Three partitions with equally many records. */
function partitionsOf({ longNames, failing }: Figures, counted: number): PartitionSummary[] {
  const topic = longNames ? 'a-topic-'.repeat(31).slice(0, 249) : 'poke-topic'
  const part = (of: number, index: number) => Math.floor(of / 3) + (index < of % 3 ? 1 : 0)
  return Array.from({ length: 3 }, (_, partition) => ({
    topic,
    topicId: TOPIC_ID,
    partition,
    position: { offset: Math.ceil(counted / 3), leaderEpoch: 0 },
    counted: part(counted, partition),
    duplicates: part(Math.floor(counted / 2), partition),
    deadLetters: part(total(reasonsOf({ counted, failing: failing ?? false })), partition),
    owner: longNames ? `${'a-host-of-a-long-name.'.repeat(5)}/4711` : `host-${partition + 1}/4711`,
    ...(counted > partition && { newest: { event: newestOf(partition, longNames ?? false), countedAt: partition } }),
  }))
}

function newestOf(partition: number, longNames: boolean): NewestEvent {
  const [id, name, types] = longNames
    ? [2_000_000_000 + partition, 'w'.repeat(64), ['w'.repeat(64), 'm'.repeat(64)]]
    : [25 + partition, 'mr-mime', ['psychic', 'fairy']]
  return { id, name, types, at: STARTED - 7 * 3_600_000, origin: 'bundled' } as NewestEvent
}

function countsOf({ longNames }: Figures, counted: number): Map<string, number> {
  if (counted === 0) return new Map()
  const names = longNames ? ['w'.repeat(64), 'a-type-of-many-words-'.repeat(4).slice(0, 64), ...TYPES.slice(2)] : TYPES
  return new Map(names.map((name, rank) => [name, Math.ceil(counted / (rank + 5))]))
}

function reasonsOf({ counted, failing }: Figures): Map<string, number> {
  if (!failing) return new Map()
  return new Map([
    ['unknown-event-type', Math.max(2, Math.floor((counted ?? 0) / 2))],
    ['too-large', 1],
  ])
}

function lettersOf(figures: Figures): KeptDeadLetter[] {
  if (!figures.failing) return []
  const partition = partitionsOf(figures, figures.counted ?? 0)[0] as PartitionSummary
  const deadLetter = { partition, leaderEpoch: 0, state: 'kept', headers: headerBytes(), timestamp: 1_700_000_000_000n } as const
  return [
    {
      ...deadLetter,
      id: 2,
      offset: 1_999_999_999,
      reason: 'too-large',
      key: null,
      value: Buffer.alloc(65_536, '\u202e0x'),
      cut: { value: { bytes: 125_829_120, sha256: 'ab'.repeat(32) } },
    },
    { ...deadLetter, id: 1, offset: 12, reason: 'unknown-event-type', key: null, value: Buffer.from('{"id": "pika'), cut: {} },
  ]
}

function total(amounts: ReadonlyMap<string, number>): number {
  return [...amounts.values()].reduce((sum, amount) => sum + amount, 0)
}
