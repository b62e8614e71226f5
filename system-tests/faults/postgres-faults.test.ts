/**
 * The consumer while its PostgreSQL is restarted, killed during COMMIT, or its replies to COMMIT are lost, whether the commit was made or not. Events
 * arrive all the time, and each is counted once.
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
import { type OwnPostgresServer, query, startOwnPostgres } from '../postgres-server.ts'
import { TcpProxy } from '../tcp-proxy.ts'

const RESTARTS = LONG ? 10 : 1
const KILLS = LONG ? 30 : 2
const LOST_REPLIES = LONG ? 40 : 4
/** Events a second. */
const RATE = LONG ? 1000 : 300
/** Within this time after a fault counting goes on, in ms. */
const RECOVERY = patience(30_000)
/** How long PostgreSQL delays a commit before it writes its log, in ms (the longest that it allows), so that it can be killed before that. */
const COMMIT_DELAY = 100
const TOPIC = 'poke-topic'

const dir = mkdtempSync(join(tmpdir(), 'postgres-faults-'))
let kafka: Kafka
let postgres: OwnPostgresServer
/** The database's URL without the proxy. */
let database: string
let proxy: TcpProxy
let feed: EventFeed
let consumer: ConsumerProcess

before(async () => {
  kafka = await startKafka({ dir: join(dir, 'kafka') })
  postgres = await startOwnPostgres([`commit_delay=${COMMIT_DELAY * 1000}`, 'commit_siblings=0'])
  database = await postgres.createDatabase()
  const { hostname, port } = new URL(database)
  proxy = await TcpProxy.start({ host: hostname, port: Number(port) })
  feed = await EventFeed.create({ brokers: kafka.brokers, topic: TOPIC, partitions: 3 })
  consumer = await ConsumerProcess.start({ brokers: kafka.brokers, topic: TOPIC, dir, env: { STORE_URL: proxy.urlOf(database) } })
})
after(async () => {
  await consumer.end('SIGTERM')
  await feed.close()
  await proxy.stop()
  await Promise.all([postgres.stop(), kafka.kill()])
  rmSync(dir, { recursive: true })
})

/** Sends events while `work` runs, and checks that each of them was counted once. @returns how many were sent */
async function whileFed(work: () => Promise<void>): Promise<number> {
  const before = feed.sent
  const feeding = new AbortController()
  const fed = feed.steady(feeding.signal, RATE)
  try {
    await goesOn()
    await work()
  } finally {
    feeding.abort()
    await fed
  }
  await assertPublished(consumer, feed.counts)
  await assertVerified(consumer)
  return feed.sent - before
}

/** Waits until every event sent by now, and at least one more, is counted. @returns how long it took, in ms */
async function goesOn(): Promise<number> {
  const began = performance.now()
  const sent = total(feed.counts)
  for (;;) {
    const counted = total(await consumer.published())
    const took = performance.now() - began
    if (counted > sent) return took
    assert.ok(
      took < RECOVERY,
      `${took} ms after a fault ${counted} of ${sent} are counted; the consumer says:\n${consumer.output.slice(-5000)}`,
    )
    await sleep(10)
  }
}

/** The name of the statement in a Bind message (https://www.postgresql.org/docs/current/protocol-message-formats.html), after that of the portal. */
const COMMIT = Buffer.from('\0commit\0')
const isCommit = (bytes: Buffer) => bytes.includes(COMMIT)

/** The partition and the new position of a commit: its third and seventh value. */
function moveOf(commit: Buffer): { partition: number; to: number } {
  let at = commit.indexOf(COMMIT) + COMMIT.length
  at += 2 + 2 * commit.readInt16BE(at)
  const values: string[] = []
  const length = commit.readInt16BE(at)
  at += 2
  while (values.length < Math.min(length, 7)) {
    const size = commit.readInt32BE(at)
    values.push(size < 0 ? '' : commit.toString('utf8', at + 4, at + 4 + size))
    at += 4 + Math.max(size, 0)
  }
  return { partition: Number(values[2]), to: Number(values[6]) }
}

/** Whether a commit was made. */
async function isApplied(commit: Buffer): Promise<boolean> {
  const { partition, to } = moveOf(commit)
  assert.ok(to > 0 && partition >= 0, `no commit: ${commit.toString('latin1')}`)
  const [row] = await query(database, 'SELECT position FROM partitions WHERE partition = $1', [partition])
  return Number(row?.position) >= to
}

test(`PostgreSQL restarted ${RESTARTS} times: every event is counted once (SEED=${SEED})`, async () => {
  const random = seeded('postgres restarted')
  let slowest = 0
  const events = await whileFed(async () => {
    for (let restart = 0; restart < RESTARTS; restart++) {
      await sleep(random() * 500)
      await postgres.restart()
      slowest = Math.max(slowest, await goesOn())
    }
  })
  figure('PostgreSQL restarted', `${RESTARTS} times, ${events} events exact, going on within ${(slowest / 1000).toFixed(1)} s`)
})

test(`PostgreSQL killed ${KILLS} times during COMMIT: every event is counted once (SEED=${SEED})`, async () => {
  const random = seeded('postgres killed')
  const seen = { applied: 0, slowest: 0 }
  const events = await whileFed(async () => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(random() * 200)
      const commit = await proxy.nextRequest(isCommit)
      await sleep(random() * COMMIT_DELAY * 1.5)
      await postgres.kill()
      // No other commit changes the position before it is read.
      proxy.swallow()
      await postgres.start()
      if (await isApplied(commit)) seen.applied++
      proxy.pass()
      seen.slowest = Math.max(seen.slowest, await goesOn())
    }
  })
  figure(
    'PostgreSQL killed during COMMIT',
    `${KILLS} times, of which ${seen.applied} were applied, ${events} events exact, going on within ${(seen.slowest / 1000).toFixed(1)} s`,
  )
})

test(`${LOST_REPLIES} replies to COMMIT lost, by turns applied and not: every event is counted once (SEED=${SEED})`, async () => {
  const random = seeded('replies to COMMIT lost')
  const seen = { applied: 0, slowest: 0 }
  const events = await whileFed(async () => {
    for (let loss = 0; loss < LOST_REPLIES; loss++) {
      await sleep(random() * 200)
      const applied = loss % 2 === 0
      const commit = await proxy.nextRequest(isCommit, applied ? 'answer-lost' : 'request-lost')
      assert.equal(await isApplied(commit), applied)
      if (applied) seen.applied++
      // In turns the connection breaks, or it stays open without an answer until the deadline.
      if (loss % 4 < 2) proxy.cut()
      seen.slowest = Math.max(seen.slowest, await goesOn())
    }
  })
  figure(
    'replies to COMMIT lost',
    `${LOST_REPLIES}, of which ${seen.applied} were applied, ${events} events exact, going on within ${(seen.slowest / 1000).toFixed(1)} s`,
  )
})
