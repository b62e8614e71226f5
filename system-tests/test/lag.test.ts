/** Lag and totals in the page's stream, the API and the metrics, while the store is locked, transactions are open, and consumers are killed. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Producer } from '@platformatic/kafka'
import pg from 'pg'
import { ConsumerProcess } from '../consumer-process.ts'
import { removeDeadMembers } from '../dead-members.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { patience } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'
import { Snapshots } from '../snapshots.ts'

const servers = serversOfFile('lag', { postgres: true })
const PARTITIONS = 2
/** in ms */
const PATIENCE = patience(30_000)

interface Seen {
  readonly lag: number | null
  readonly heldBack: number | null
}

/** The lag of the whole topic as an instance reports it, in each place. */
async function seenBy(consumer: ConsumerProcess, snapshots: Snapshots): Promise<Record<'stream' | 'api' | 'metrics', Seen>> {
  const response = await fetch(`${consumer.url}/api/partitions`)
  // It answers 503 before it has read the store.
  const { partitions = [{ lag: null, heldBack: null }] } = (await response.json()) as { partitions?: Seen[] }
  const metric = async (name: string) => {
    const values = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => consumer.metric(`${name}{partition="${partition}"}`)),
    )
    return sum(values)
  }
  return {
    stream: { lag: snapshots.latest?.group?.lag ?? null, heldBack: snapshots.latest?.group?.heldBack ?? null },
    api: { lag: sum(partitions.map(({ lag }) => lag)), heldBack: sum(partitions.map(({ heldBack }) => heldBack)) },
    metrics: { lag: await metric('poke_lag_records'), heldBack: await metric('poke_held_back_records') },
  }
}

function sum(values: readonly (number | null)[]): number | null {
  return values.includes(null) ? null : values.reduce<number>((total, value) => total + (value as number), 0)
}

/** Waits until all places report these figures. */
async function eventuallyAllSee(consumer: ConsumerProcess, snapshots: Snapshots, expected: Seen): Promise<void> {
  const wanted = { stream: expected, api: expected, metrics: expected }
  for (const deadline = performance.now() + PATIENCE; ; await sleep(50)) {
    const seen = await seenBy(consumer, snapshots)
    try {
      return assert.deepEqual(seen, wanted)
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
  }
}

async function setUp(t: TestContext, topic: string, instances = 1, env: Record<string, string> = {}) {
  const { brokers } = servers.kafka
  const dir = join(servers.dir, topic)
  mkdirSync(dir, { recursive: true })
  const feed = await EventFeed.create({ brokers, topic, partitions: PARTITIONS })
  t.after(() => feed.close())
  const members: { consumer: ConsumerProcess; snapshots: Snapshots }[] = []
  for (let i = 0; i < instances; i++) {
    const outputFile = { OUTPUT_FILE: join(dir, `counts-${i}.json`) }
    const consumer = await ConsumerProcess.start({ brokers, topic, dir, env: { KAFKA_GROUP_ID: topic, ...outputFile, ...env } })
    t.after(() => consumer.end('SIGKILL'))
    const snapshots = new Snapshots(consumer.url)
    t.after(() => snapshots.close())
    members.push({ consumer, snapshots })
  }
  await feed.send(100)
  const [{ consumer, snapshots }] = members as [(typeof members)[0]]
  await assertPublished(consumer, feed.counts)
  for (const member of members) await eventuallyAllSee(member.consumer, member.snapshots, { lag: 0, heldBack: 0 })
  return { feed, members, consumer, snapshots, dir }
}

describe('lag is the number of records that the brokers have and the group has not counted', { timeout: 300_000 }, () => {
  test('while another process locks the SQLite store, on every instance, for every partition', async (t) => {
    const { feed, members, consumer, dir } = await setUp(t, 'held-sqlite', 2)
    const holder = new DatabaseSync(join(dir, 'type-counts.db'))
    t.after(() => holder.close())
    holder.exec('BEGIN IMMEDIATE')
    await feed.send(4000)
    for (const member of members) await eventuallyAllSee(member.consumer, member.snapshots, { lag: 4000, heldBack: 0 })
    holder.exec('ROLLBACK')
    await assertPublished(consumer, feed.counts)
    for (const member of members) await eventuallyAllSee(member.consumer, member.snapshots, { lag: 0, heldBack: 0 })
    // Both show the Pokémon counted last, whichever instance counted it.
    await feed.send(1)
    const last = feed.events.at(-1)?.name
    const before = Date.now() - 60_000
    for (const { snapshots } of members) {
      await snapshots.until('what was counted last', ({ group }) => group?.recent[0]?.name === last && (group?.newest?.at ?? 0) > before)
    }
  })

  test('while the PostgreSQL store neither takes commits nor can be read', async (t) => {
    const url = await servers.postgres.createDatabase()
    const { feed, consumer, snapshots } = await setUp(t, 'held-postgres', 1, { STORE_URL: url })
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    t.after(() => holder.end())
    await holder.query('BEGIN')
    await holder.query('LOCK TABLE partitions IN ACCESS EXCLUSIVE MODE')
    await feed.send(4000)
    await eventuallyAllSee(consumer, snapshots, { lag: 4000, heldBack: 0 })
    // It stays the same while reading the store fails, and the page says why.
    await snapshots.until('the reason', ({ troubles }) => troubles.some((reason) => /could not be read/.test(reason)))
    await eventuallyAllSee(consumer, snapshots, { lag: 4000, heldBack: 0 })
    await holder.query('ROLLBACK')
    await assertPublished(consumer, feed.counts)
    await eventuallyAllSee(consumer, snapshots, { lag: 0, heldBack: 0 })
  })

  test('with the records that an open transaction holds back as a separate figure', async (t) => {
    const topic = 'open-transaction'
    const { feed, consumer, snapshots } = await setUp(t, topic)
    const producer = new Producer({
      clientId: 'transaction',
      bootstrapBrokers: [servers.kafka.brokers],
      idempotent: true,
      transactionalId: topic,
    })
    t.after(() => producer.close(true))
    const transaction = await producer.beginTransaction()
    const messages = Array.from({ length: 10 }, () => ({ topic, partition: 0, key: Buffer.from('25'), value: Buffer.from('{}') }))
    await transaction.send({ messages, acks: -1 })
    await feed.send(4)
    // The two records behind it in the same partition are held back, too; those of the other partition are counted.
    await eventuallyAllSee(consumer, snapshots, { lag: 12, heldBack: 12 })
    await transaction.abort()
    await assertPublished(consumer, feed.counts)
    await eventuallyAllSee(consumer, snapshots, { lag: 0, heldBack: 0 })
  })

  test('and is shown as unknown while the brokers do not answer', async (t) => {
    const { feed, consumer, snapshots } = await setUp(t, 'brokers-away')
    await servers.kafka.stop()
    await eventuallyAllSee(consumer, snapshots, { lag: null, heldBack: null })
    assert.equal(snapshots.latest?.group?.counted, 100)
    await servers.kafka.restart()
    await feed.send(10)
    await assertPublished(consumer, feed.counts)
    await eventuallyAllSee(consumer, snapshots, { lag: 0, heldBack: 0 })
  })
})

test('the page never shows a lower count than before, however often the consumer is killed', { timeout: 180_000 }, async (t) => {
  const { feed, consumer, snapshots } = await setUp(t, 'kills')
  const flowing = new AbortController()
  const flow = feed.steady(flowing.signal, 300)
  for (let kill = 1; kill <= 4; kill++) {
    const before = snapshots.latest?.group?.counted ?? 0
    await snapshots.until('it counts', ({ group }) => group !== null && group.counted > before + 100)
    await consumer.end('SIGKILL')
    await removeDeadMembers(servers.kafka.brokers, 'kills')
    const streams = snapshots.streams
    await consumer.restart()
    await snapshots.until('the stream is back', ({ group }) => snapshots.streams > streams && group !== null)
  }
  flowing.abort()
  await flow
  await assertPublished(consumer, feed.counts)
  await snapshots.until('all is counted', ({ group }) => group?.counted === feed.sent)
  const counted = snapshots.received.flatMap(({ group }) => (group === null ? [] : [group.counted]))
  const fell = counted.findIndex((value, i) => i > 0 && value < (counted[i - 1] as number))
  assert.equal(fell, -1, `${counted[fell - 1]}, then ${counted[fell]}`)
  const types = snapshots.received.flatMap(({ group }) => (group === null ? [] : [group.types.reduce((all, { count }) => all + count, 0)]))
  assert.deepEqual(
    types,
    types.toSorted((a, b) => a - b),
  )
  await assertVerified(consumer)
})
