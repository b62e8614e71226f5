/**
 * A PostgreSQL primary is killed for good, and its standby promoted: with synchronous replication nothing is lost; without it the last commits
 * are lost, positions and counts together, and their records are read again. Events arrive all the time, and each is counted once.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, patience, SEED, seeded } from '../fault-run.ts'
import { type OwnPostgresServer, type PostgresStandby, query, startOwnPostgres } from '../postgres-server.ts'

const FAILOVERS = LONG ? 5 : 1
/** Events a second. */
const RATE = LONG ? 1000 : 300
/** Within this time after a promotion counting goes on, in ms. */
const RECOVERY = patience(60_000)
const TOPIC = 'poke-topic'

const dir = mkdtempSync(join(tmpdir(), 'postgres-failover-'))
let kafka: Kafka
let primary: OwnPostgresServer
let standby: PostgresStandby
let path: string
let feed: EventFeed
const consumers: ConsumerProcess[] = []

before(async () => {
  kafka = await startKafka({ dir: join(dir, 'kafka') })
  primary = await startOwnPostgres(['wal_keep_size=256MB'])
  path = new URL(await primary.createDatabase()).pathname
  standby = await primary.startStandby()
  feed = await EventFeed.create({ brokers: kafka.brokers, topic: TOPIC, partitions: 4 })
  // The standby first: it answers, and is skipped because it cannot be written.
  const hosts = [standby, primary].map(({ port }) => `127.0.0.1:${port}`).join(',')
  const env = { STORE_URL: `postgres://poke:pikachu@${hosts}${path}?target_session_attrs=read-write` }
  for (const name of ['one', 'other']) {
    consumers.push(await ConsumerProcess.start({ brokers: kafka.brokers, topic: TOPIC, dir: join(dir, name), env }))
  }
})
after(async () => {
  for (const each of consumers) await each.end('SIGTERM')
  await feed.close()
  await Promise.all([primary.stop(), standby.stop(), kafka.kill()])
  rmSync(dir, { recursive: true })
})

const on = (server: OwnPostgresServer) => `postgres://poke:pikachu@127.0.0.1:${server.port}${path}`

/** The sum of the positions of all partitions on a server. */
async function positions(server: OwnPostgresServer): Promise<number> {
  const [row] = await query(on(server), 'SELECT coalesce(sum(position), 0)::integer AS offsets FROM partitions')
  return row?.offsets as number
}

/** Kills the primary, promotes the standby, and starts a new standby. @returns how long counting was interrupted, in ms */
async function failOver(): Promise<number> {
  await primary.kill()
  await standby.promote()
  const began = performance.now()
  await goesOn()
  const took = performance.now() - began
  const { port } = primary
  await primary.stop()
  primary = standby
  standby = await primary.startStandby(port)
  return took
}

/** Waits until every event sent by now, and at least one more, is counted. */
async function goesOn(): Promise<void> {
  const sent = total(feed.counts)
  for (const until = performance.now() + RECOVERY; ; ) {
    const [consumer] = consumers as [ConsumerProcess]
    const counted = total(await consumer.published())
    if (counted > sent) return
    const late = performance.now() > until
    assert.ok(!late, `${counted} of ${sent} are counted; the consumer says:\n${consumer.output.slice(-5000)}`)
    await sleep(20)
  }
}

async function whileFed(work: () => Promise<void>): Promise<number> {
  const first = feed.sent
  const feeding = new AbortController()
  const fed = feed.steady(feeding.signal, RATE)
  try {
    await goesOn()
    await work()
  } finally {
    feeding.abort()
    await fed
  }
  for (const each of consumers) await assertPublished(each, feed.counts)
  await assertVerified(consumers[0] as ConsumerProcess)
  return feed.sent - first
}

test(`${FAILOVERS} failovers to a synchronous standby: every event is counted once, and none again (SEED=${SEED})`, async () => {
  const random = seeded('synchronous failovers')
  let slowest = 0
  const events = await whileFed(async () => {
    for (let i = 0; i < FAILOVERS; i++) {
      await query(on(primary), "ALTER SYSTEM SET synchronous_standby_names = '*'")
      await query(on(primary), 'SELECT pg_reload_conf()')
      while ((await query(on(primary), "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'")).length === 0) await sleep(20)
      await goesOn()
      await sleep(random() * 500)
      slowest = Math.max(slowest, await failOver())
      await query(on(primary), "ALTER SYSTEM SET synchronous_standby_names = ''")
      await query(on(primary), 'SELECT pg_reload_conf()')
    }
  })
  figure(
    'PostgreSQL failed over, synchronous',
    `${FAILOVERS} times, ${events} events exact, going on within ${(slowest / 1000).toFixed(1)} s`,
  )
})

test(`${FAILOVERS} failovers to a standby that lacks the last commits: every event is counted once (SEED=${SEED})`, async () => {
  const random = seeded('asynchronous failovers')
  let slowest = 0
  let lost = 0
  const events = await whileFed(async () => {
    for (let i = 0; i < FAILOVERS; i++) {
      await standby.stopFollowing()
      const known = await positions(standby)
      await goesOn()
      await sleep(random() * 500)
      const gone = (await positions(primary)) - known
      assert.ok(gone > 0, 'nothing was committed without the standby')
      lost += gone
      slowest = Math.max(slowest, await failOver())
    }
  })
  figure(
    'PostgreSQL failed over, last commits lost',
    `${FAILOVERS} times, ${lost} records counted again from the topic, ${events} events exact, going on within ${(slowest / 1000).toFixed(1)} s`,
  )
})
