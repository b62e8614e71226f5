/** The examples of `packages/kafka-reader` run as their heads say, are killed again and again while records come in, and are never wrong. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Admin, Producer } from '@platformatic/kafka'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { removeDeadMembers } from '../dead-members.ts'
import { type PostgresServer, query, startPostgres } from '../postgres-server.ts'
import { PROCESS_ENV } from '../process-env.ts'
import { readTopic } from './read-topic.ts'

const KILLS = 20
const PARTITIONS = 3
/** The partitions of a killed process go to the next one after this, in ms. */
const SESSION = 2000
const LIMIT = { timeout: 8 * 60_000 }

const dir = mkdtempSync(join(tmpdir(), 'examples-'))
let kafka: Kafka
let postgres: PostgresServer
before(async () => {
  const config = { 'group.min.session.timeout.ms': SESSION, 'group.initial.rebalance.delay.ms': 0 }
  ;[kafka, postgres] = await Promise.all([startKafka({ dir: join(dir, 'kafka'), config }), startPostgres()])
})
after(async () => {
  await Promise.all([kafka.kill(), postgres.stop()])
  rmSync(dir, { recursive: true, force: true })
})

describe('killed again and again while records come in', { concurrency: true }, () => {
  test(`count-keys, killed ${KILLS} times, has counted each record exactly once`, LIMIT, async (t) => {
    const file = join(dir, 'counts.db')
    const rows = (sql: string) => {
      const db = new DatabaseSync(file, { timeout: 5000 })
      try {
        return db.prepare(sql).all()
      } catch {
        // The example makes the tables at its first start.
        return []
      } finally {
        db.close()
      }
    }
    const read = async () => Number(rows('SELECT sum(next_offset) AS read FROM positions')[0]?.read ?? 0)
    const records = await killAgainAndAgain(t, {
      example: 'count-keys.js',
      topic: 'keys',
      groupId: 'count-keys-keys',
      database: file,
      processes: 1,
      read,
    })
    const expected = new Map<string, number>()
    for (const { key } of records) expected.set(String(key), (expected.get(String(key)) ?? 0) + 1)
    const counted = new Map(rows('SELECT key, count FROM counts').map(({ key, count }) => [String(key), Number(count)]))
    assert.deepEqual([...counted].sort(), [...expected].sort())
  })

  test(`orders, two processes of which one was killed ${KILLS} times, has a row for each record exactly once`, LIMIT, async (t) => {
    const url = await postgres.createDatabase()
    const read = async () => {
      const rows = await query(url, 'SELECT sum(next_offset) AS read FROM order_positions').catch(() => [])
      return Number(rows[0]?.read ?? 0)
    }
    const records = await killAgainAndAgain(t, {
      example: 'orders.js',
      topic: 'orders',
      groupId: 'orders-orders',
      database: url,
      processes: 2,
      read,
    })
    const rows = await query(url, 'SELECT customer, item, quantity FROM orders')
    const line = (order: object) => JSON.stringify(order)
    const expected = records.map(({ key, value }) => line({ customer: String(key), ...JSON.parse(String(value)) }))
    assert.deepEqual(rows.map(line).sort(), expected.sort())
  })
})

interface Killed {
  readonly example: string
  readonly topic: string
  /** The consumer group of the example. */
  readonly groupId: string
  readonly database: string
  /** How many run at the same time and share the partitions. */
  readonly processes: number
  /** How many records are read, by the positions in the database. */
  readonly read: () => Promise<number>
}

/** Sends records all the time, kills one process after the other at any moment, and starts it again. @returns the records, when all are read */
async function killAgainAndAgain(t: TestContext, { example, topic, groupId, database, processes, read }: Killed) {
  const admin = new Admin({ clientId: 'examples', bootstrapBrokers: [kafka.brokers] })
  await admin.createTopics({ topics: [topic], partitions: PARTITIONS, replicas: 1 })
  await admin.close()
  const start = () => {
    const program = fileURLToPath(import.meta.resolve(`@poke-api-pipeline/kafka-reader/examples/${example}`))
    const args = [program, kafka.brokers, topic, database]
    const env = { ...PROCESS_ENV, SESSION_TIMEOUT: String(SESSION) }
    return spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  }
  const running: ChildProcess[] = Array.from({ length: processes }, start)
  t.after(() => running.map((each) => each.kill('SIGKILL')))
  const assertRunning = () => {
    for (const { exitCode } of running) assert.equal(exitCode, null, `${example} ended by itself`)
  }
  const enough = new AbortController()
  // Where an assertion fails, too: the process would not end otherwise.
  t.after(() => enough.abort())
  const sending = sendRecords(topic, enough.signal)
  for (let kill = 0; kill < KILLS; kill++) {
    // Every fourth one while it starts or joins, the others while it reads.
    const before = await read()
    while (kill % 4 !== 3 && (await read()) === before) {
      assertRunning()
      await sleep(10)
    }
    await sleep(Math.random() * 500)
    assertRunning()
    const victim = running[kill % processes] as ChildProcess
    victim.kill('SIGKILL')
    await once(victim, 'exit')
    // Most of the kills follow each other without a pause, a few after the session of the killed process has ended.
    if (processes === 1 && kill % 5 !== 4) await removeDeadMembers(kafka.brokers, groupId)
    running[kill % processes] = start()
  }
  enough.abort()
  await sending
  const records = (await readTopic(kafka.brokers, topic)).flat()
  while ((await read()) < records.length) {
    assertRunning()
    await sleep(50)
  }
  t.diagnostic(`${records.length} records`)
  return records
}

/** A few at a time, until the signal is aborted. */
async function sendRecords(topic: string, signal: AbortSignal): Promise<void> {
  const producer = new Producer({ clientId: 'examples', bootstrapBrokers: [kafka.brokers] })
  for (let sent = 0; !signal.aborted; sent += 20) {
    const messages = Array.from({ length: 20 }, (_, i) => ({
      topic,
      key: Buffer.from(`customer ${(sent + i) % 13}`),
      value: Buffer.from(JSON.stringify({ item: `item ${sent + i}`, quantity: (sent + i) % 7 })),
    }))
    await producer.send({ messages })
    await sleep(10)
  }
  await producer.close()
}
