/** The consumer's commands on a real broker: verify in each of its outcomes, reset, and the reader of a topic below them. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from '@platformatic/kafka'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { KafkaError, TopicReader, type TopicReaderOptions } from '@poke-api-pipeline/kafka-reader'
import type { Verdict } from '@poke-api-pipeline/poke-api-consumer/verify'
import { systemClock } from '@poke-api-pipeline/service-kit'
import { consumerCommand, type Finished } from '../cli.ts'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { serversOfFile } from '../servers.ts'
import { deleteTopic } from '../topics.ts'

const servers = serversOfFile('operating')
const { dir } = servers
let topics = 0

async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [servers.kafka.brokers] })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

/** Removes records as retention does. */
async function removeUpTo(topic: string, partition: number, offset: number): Promise<void> {
  await withAdmin((admin) => admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition, offset: BigInt(offset) }] }] }))
}

interface Operated {
  readonly topic: string
  readonly feed: EventFeed
  readonly consumer: ConsumerProcess
  readonly database: string
  command(...words: string[]): Promise<Finished>
  /** Waits until everything that was sent is counted. */
  counted(): Promise<void>
}

async function operated(t: TestContext): Promise<Operated> {
  const topic = `poke-topic-${++topics}`
  const folder = join(dir, topic)
  const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: 3 })
  const consumer = await ConsumerProcess.start({ brokers: servers.kafka.brokers, topic, dir: folder })
  t.after(async () => {
    await consumer.end('SIGTERM')
    await feed.close()
  })
  const database = join(folder, 'type-counts.db')
  const env = { KAFKA_BROKERS: servers.kafka.brokers, KAFKA_TOPIC: topic, STORE_URL: `sqlite:${database}` }
  const command = (...words: string[]) => consumerCommand(env, ...words)
  const counted = async () => {
    const expected = JSON.stringify(feed.counts)
    while (JSON.stringify(await consumer.published()) !== expected) await sleep(20)
  }
  return { topic, feed, consumer, database, command, counted }
}

async function verdictOf({ command }: Operated): Promise<Verdict & { readonly exitCode: number }> {
  const { exitCode, out, error } = await command('verify', '--json')
  assert.match(error, /^Store: sqlite:.*, group poke-api-consumer\n$/)
  return { ...(JSON.parse(out) as Verdict), exitCode }
}

describe('verify', () => {
  test('equal, while the consumer runs and records arrive, with dead letters', async (t) => {
    const it = await operated(t)
    await it.feed.send(3000)
    for (const garbage of ['OK', '{"id":1}', '']) await it.feed.sendGarbage(garbage)
    await it.counted()
    const { exitCode, out } = await it.command('verify')
    assert.deepEqual([exitCode, out], [0, `verify: equal. 3,003 records of ${it.topic} were counted again, and 18 types agree.\n`])
    const stop = new AbortController()
    const flowing = it.feed.flow(stop.signal, { events: 50, pause: 5 })
    const flowed = await verdictOf(it)
    stop.abort()
    await flowing
    assert.deepEqual([flowed.outcome, flowed.exitCode, flowed.remarks], ['equal', 0, []])
  })

  test('different: a number that somebody changed in the store is found, with a table', async (t) => {
    const it = await operated(t)
    await it.feed.send(500)
    await it.counted()
    const database = new DatabaseSync(it.database)
    database.exec(`UPDATE counts SET count = count + 7 WHERE type = 'fire' AND partition_id = (SELECT min(partition_id) FROM counts)`)
    database.close()
    const { exitCode, out } = await it.command('verify')
    assert.equal(exitCode, 1)
    assert.match(
      out,
      /^verify: different\. 500 records of poke-topic-\d+ were counted again\.\n\ntype +store +topic +difference\nfire +\d+ +\d+ +\+7\n17 types agree\.\n$/,
    )
  })

  test('unknown: retention removed the beginning of a partition', async (t) => {
    const it = await operated(t)
    await it.feed.send(300)
    await it.counted()
    await removeUpTo(it.topic, 1, 40)
    const { exitCode, out } = await it.command('verify')
    assert.equal(exitCode, 2)
    assert.match(out, /^verify: inconclusive\. /)
    assert.match(out, /\nThe remaining records are equal: 200 records of /)
    assert.match(out, /\npartition 1: retention removed its beginning: counted from offset 0, readable from 40\n$/)
  })

  test('unknown: the topic was deleted and created again', async (t) => {
    const it = await operated(t)
    await it.feed.send(30)
    await it.counted()
    await it.consumer.end('SIGTERM')
    await withAdmin((admin) => deleteTopic(admin, it.topic))
    const again = await EventFeed.create({ brokers: servers.kafka.brokers, topic: it.topic, partitions: 3 })
    await again.close()
    const { outcome, exitCode, remarks } = await verdictOf(it)
    assert.deepEqual([outcome, exitCode, remarks.length], ['unknown', 2, 3])
    assert.match(remarks[0] ?? '', /^partition 0: the counted topic \(id .*\) was deleted/)
  })

  test('a topic that does not exist is reported as missing', async (t) => {
    const it = await operated(t)
    const env = { KAFKA_BROKERS: servers.kafka.brokers, KAFKA_TOPIC: 'no-such-topic', STORE_URL: `sqlite:${it.database}` }
    const { exitCode, out, error } = await consumerCommand(env, 'verify')
    assert.deepEqual([exitCode, out], [75, ''])
    assert.match(
      error,
      /\npoke-api-consumer: Kafka at localhost:\d+ has no topic no-such-topic: correct the name, or create the topic\. Setting: KAFKA_TOPIC\n$/,
    )
  })
})

describe('reset', () => {
  test('a running consumer counts everything again; before that reset says which records are gone', async (t) => {
    const it = await operated(t)
    await it.feed.send(600)
    await it.feed.sendGarbage('OK')
    await it.counted()
    const refused = await it.command('reset', '--from-beginning')
    assert.equal(refused.exitCode, 64)
    assert.match(
      refused.error,
      /This deletes the counts of 600 records of group poke-api-consumer in sqlite:.*\nThere is no terminal to ask on: add --yes/,
    )
    assert.equal((await verdictOf(it)).records, 601)

    const database = new DatabaseSync(it.database)
    database.exec('UPDATE counts SET count = count + 1000')
    database.close()
    const store = `Store: sqlite:${it.database}, group poke-api-consumer\n`
    const done = await it.command('reset', '--from-beginning', '--yes')
    assert.deepEqual([done.exitCode, done.error], [0, store])
    assert.match(done.out, /^The counts of group poke-api-consumer are deleted/)
    // At the end of the log, too, without a new record.
    while ((await verdictOf(it)).records < 601);
    await it.feed.send(30)
    await it.counted()
    const verdict = await verdictOf(it)
    assert.deepEqual([verdict.outcome, verdict.remarks, verdict.records], ['equal', [], 631])

    await removeUpTo(it.topic, 2, 10)
    const warned = await it.command('reset', '--from-beginning', '--yes', '--json')
    assert.equal(warned.error, `${store}Offsets 0 to 9 of ${it.topic}-2 cannot be counted again: retention removed them.\n`)
    assert.equal(warned.out, '{"group":"poke-api-consumer","reset":true}\n')
  })
})

describe('the reader of a topic', () => {
  function readerOf(t: TestContext, topic: string, options: Partial<TopicReaderOptions> = {}): TopicReader {
    const reader = new TopicReader({
      brokers: [servers.kafka.brokers],
      topic,
      clientId: 'test',
      limits: { maxBytes: 1 << 20, maxWait: 200 },
      clock: systemClock(),
      ...options,
    })
    t.after(() => reader.close())
    return reader
  }

  async function feedOf(t: TestContext, events: number): Promise<string> {
    const topic = `poke-topic-${++topics}`
    const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: 1 })
    t.after(() => feed.close())
    await feed.send(events)
    return topic
  }

  test('reads from any offset to any other, in responses of any size', async (t) => {
    const topic = await feedOf(t, 500)
    for (const maxBytes of [1, 4096, 1 << 20]) {
      const reader = readerOf(t, topic, { limits: { maxBytes, maxWait: 200 } })
      assert.deepEqual((await reader.describe()).partitions, [{ logStartOffset: 0, endOffset: 500, readableEndOffset: 500 }])
      const offsets: number[] = []
      const reached: number[] = []
      const why = await reader.read(
        0,
        123,
        456,
        ({ offset }) => offsets.push(offset),
        (offset) => reached.push(offset),
      )
      assert.equal(why, null)
      assert.deepEqual(
        offsets,
        Array.from({ length: 333 }, (_, i) => 123 + i),
      )
      assert.equal(reached.at(-1), 456)
    }
  })

  test('reports records that are gone', async (t) => {
    const topic = await feedOf(t, 100)
    await removeUpTo(topic, 0, 60)
    const reader = readerOf(t, topic)
    const nothing = () => {}
    assert.deepEqual((await reader.describe()).partitions, [{ logStartOffset: 60, endOffset: 100, readableEndOffset: 100 }])
    assert.equal(await reader.read(0, 10, 100, nothing, nothing), 'retention removed offsets 10 to 59 before they could be read again')
    assert.equal(
      await reader.read(0, 60, 120, nothing, nothing),
      'the log was truncated: it ends at offset 100, but was read up to 120 before',
    )
    await withAdmin((admin) => deleteTopic(admin, topic))
    assert.equal(await reader.read(0, 60, 100, nothing, nothing), 'the topic was deleted while it was being read')
  })

  test('waits for brokers that do not answer, but not for ever', async (t) => {
    const topic = await feedOf(t, 100)
    const patient = readerOf(t, topic)
    await patient.describe()
    await servers.kafka.kill()
    const nowhere = readerOf(t, topic, { brokers: [`localhost:${await freePort()}`], patience: 200 })
    await assert.rejects(nowhere.describe(), (error) => error instanceof KafkaError && error.kind === 'unreachable')
    let records = 0
    const reading = patient.read(
      0,
      0,
      100,
      () => records++,
      () => {},
    )
    await servers.kafka.restart()
    assert.equal(await reading, null)
    assert.equal(records, 100)
  })
})
