/**
 * Consumers killed with SIGKILL at random moments, on both stores: at a steady rate of records, and in a backlog that is read in small
 * fetches. A kill counts only if some of the records were counted by then and some were not.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import { ConsumerProcess } from '../consumer-process.ts'
import { removeDeadMembers } from '../dead-members.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, patience, SEED, seeded } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'

const KILLS = LONG ? 50 : 1
/** Events a second. */
const RATE = LONG ? 1000 : 300
/** Events in the topic when a consumer starts; it counts a part of them before it is killed. */
const BACKLOG = LONG ? 12_000 : 6000
/** Events in one batch for each partition: no fetch is smaller than a batch. */
const SEND = 600
/** Within this time after a kill counting goes on, in ms. */
const PATIENCE = patience(60_000)

const servers = serversOfFile('consumer-kills', { postgres: true })
const { dir } = servers

interface Killing {
  readonly feed: EventFeed
  readonly consumer: ConsumerProcess
  readonly random: () => number
  /** @returns how many events are counted and how many were sent */
  kill(): Promise<{ readonly counted: number; readonly sent: number }>
  /** Checks that every event is counted once. */
  end(): Promise<void>
}

async function setUp(t: TestContext, name: string, storeUrl: string, env: Readonly<Record<string, string>> = {}): Promise<Killing> {
  const topic = name.replaceAll(/\W+/g, '-')
  const { brokers } = servers.kafka
  const feed = await EventFeed.create({ brokers, topic, partitions: 3 })
  t.after(() => feed.close())
  mkdirSync(join(dir, topic))
  const settings = { KAFKA_GROUP_ID: topic, KAFKA_SESSION_TIMEOUT: '6s', STORE_URL: storeUrl, ...env }
  const consumer = await ConsumerProcess.start({ brokers, topic, dir: join(dir, topic), env: settings })
  t.after(() => consumer.end('SIGKILL'))
  const kill = async () => {
    const sent = total(feed.counts)
    await consumer.end('SIGKILL')
    if (!LONG) await removeDeadMembers(brokers, topic)
    // From the store, which may be ahead of the file.
    return { counted: await countedIn(storeUrl, topic), sent }
  }
  const end = async () => {
    await assertPublished(consumer, feed.counts)
    await assertVerified(consumer)
  }
  return { feed, consumer, random: seeded(name), kill, end }
}

/** How many events a store has counted. A database that is busy is asked again, as the consumer does. */
async function countedIn(storeUrl: string, groupId: string): Promise<number> {
  for (const deadline = performance.now() + PATIENCE; ; ) {
    try {
      const store = await openStore(storeUrl, { groupId, sourceMaxAge: 604_800_000, sourceMaxCount: 10_000 })
      try {
        return total(Object.fromEntries((await store.totals()).counts))
      } finally {
        await store.close()
      }
    } catch (error) {
      if (!(error instanceof ServiceError && error.retriable) || performance.now() > deadline) throw error
    }
  }
}

async function untilCounted(consumer: ConsumerProcess, beyond: number): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; total(await consumer.published()) <= beyond; ) {
    assert.ok(
      performance.now() < deadline,
      `not more than ${beyond} types are counted after ${PATIENCE} ms:\n${consumer.output.slice(-9000)}`,
    )
    await sleep(10)
  }
}

function testsOn(store: string, storeUrl: (name: string) => Promise<string>): void {
  test(`${KILLS} kills in a backlog read in small fetches on ${store}: every event is counted once`, async (t) => {
    const env = { FETCH_MAX_BYTES: '64KiB' }
    const { feed, consumer, random, kill, end } = await setUp(t, `backlog ${store}`, await storeUrl('backlog'), env)
    await consumer.end('SIGTERM')
    let [kills, late, before] = [0, 0, 0]
    while (kills < KILLS) {
      for (let events = 0; events < BACKLOG; events += SEND) await feed.send(SEND)
      await consumer.restart()
      // When a random part of the new events is counted.
      await untilCounted(consumer, before + (total(feed.counts) - before) * random() * 0.8)
      const { counted, sent } = await kill()
      if (counted < sent) kills++
      else late++
      before = counted
    }
    await consumer.restart()
    await end()
    const amounts = `${KILLS} kills (and ${late} when all was counted), ${store}, ${feed.sent} events counted exactly once`
    figure('consumer killed in a backlog', amounts)
  })

  test(`${KILLS} kills at ${RATE} events a second on ${store}: every event is counted once`, async (t) => {
    const { feed, consumer, random, kill, end } = await setUp(t, `steady ${store}`, await storeUrl('steady'))
    const stop = new AbortController()
    const flowing = feed.steady(stop.signal, RATE)
    t.after(() => stop.abort())
    let underWay = 0
    let counted = 0
    for (let kills = 0; kills < KILLS; kills++) {
      // It counts again, for a random time.
      await untilCounted(consumer, counted)
      await sleep(random() * 1000)
      const killed = await kill()
      assert.ok(killed.counted > counted)
      counted = killed.counted
      await consumer.restart()
      if (counted < killed.sent) underWay++
    }
    stop.abort()
    await flowing
    await end()
    const amounts = `${KILLS} kills (${underWay} with events on their way), ${store}, ${feed.sent} events counted exactly once`
    figure(`consumer killed at ${RATE} events a second`, amounts)
  })
}

// At the same time: in full runs most of the time passes until the group notices that a killed member is gone.
describe(`consumers killed at random moments (SEED=${SEED})`, { concurrency: true }, () => {
  testsOn('SQLite', async (name) => `sqlite:${join(dir, `${name}.db`)}`)
  testsOn('PostgreSQL', () => servers.postgres.createDatabase())
})
