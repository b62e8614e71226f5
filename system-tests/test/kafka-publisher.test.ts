/** The publisher on a real broker: the port's contract, the topic that it makes, and every way in which Kafka can refuse events or fail. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from '@platformatic/kafka'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { PublishError, type PublishErrorKind } from '@poke-api-pipeline/poke-api-producer/errors'
import { KafkaEventPublisher, type KafkaEventPublisherOptions, type TopicLayout } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import { arrivals, event, testEventPublisher } from '@poke-api-pipeline/poke-api-producer/testing/event-publisher'
import { silentServer } from '@poke-api-pipeline/poke-api-producer/testing/silent-server'
import { HEADER } from '@poke-api-pipeline/pokemon-event'
import { startLoginKafka } from '../login-kafka.ts'
import { createTopic, deleteTopic } from '../topics.ts'
import { type ReadRecord, readTopic } from './read-topic.ts'

const never = new AbortController().signal
/** By how many ms a machine may set its clock in the course of a test. */
const CLOCK_STEP = 10 * 60_000
/** How long a broker may take to be used again, in ms; after so many ms it is tried again. */
const RECOVERY = 120_000
const RETRY = 50
const dir = mkdtempSync(join(tmpdir(), 'kafka-publisher-'))
let kafka: Kafka
/** The listener that asks for user and password. */
let login: string
let topics = 0

before(async () => {
  // ash may do everything, brock nothing.
  ;({ kafka, login } = await startLoginKafka({
    dir,
    users: { ash: 'pikachu', brock: 'onix' },
    superUsers: ['ash'],
    config: { 'message.max.bytes': 200_000 },
  }))
})
after(async () => {
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

/** Each test has a topic of its own. */
function newTopic(): string {
  return `poke-topic-${++topics}`
}

function publisherOf(t: TestContext, options: Partial<KafkaEventPublisherOptions> = {}): KafkaEventPublisher {
  const publisher = new KafkaEventPublisher({
    brokers: [kafka.brokers],
    topic: newTopic(),
    partitions: 3,
    replication: 1,
    sendDeadline: RECOVERY,
    ...options,
  })
  t.after(() => publisher.close())
  return publisher
}

/** A broker for one test alone. */
async function brokerWith(t: TestContext, config: Readonly<Record<string, string | number>>): Promise<Kafka> {
  const own = mkdtempSync(join(tmpdir(), 'kafka-publisher-own-'))
  const started = await startKafka({ dir: own, config })
  t.after(async () => {
    await started.stop()
    rmSync(own, { recursive: true, force: true })
  })
  return started
}

async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [kafka.brokers] })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

function eventOf({ key, value, headers }: ReadRecord) {
  return {
    source: headers.get(HEADER.source),
    sequence: Number(headers.get(HEADER.sequence)),
    key: key?.toString(),
    value,
    time: headers.get(HEADER.time),
    origin: headers.get(HEADER.origin),
  }
}

function failure(kind: PublishErrorKind, ...words: (string | RegExp)[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PublishError, `not a PublishError: ${error}`)
    assert.equal(error.kind, kind, error.message)
    for (const word of words) assert.match(error.message, new RegExp(word))
    return true
  }
}

describe('on a real broker', () => {
  testEventPublisher('KafkaEventPublisher', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic })
    return { publisher, topic: async () => (await readTopic(kafka.brokers, topic)).map((log) => log.map(eventOf)) as never }
  })

  test('the topic is made with the given partitions and replicas, and can be written at once', async (t) => {
    for (let i = 0; i < 5; i++) {
      const topic = newTopic()
      const publisher = publisherOf(t, { topic, partitions: 4, onExisting: () => assert.fail('it was not there') })
      await publisher.prepare(never)
      await publisher.publish([0, 1, 2, 3].map((partition) => event(partition + 1, partition)))
      const metadata = await withAdmin((admin) => admin.metadata({ topics: [topic] }))
      const made = metadata.topics.get(topic)
      assert.equal(made?.partitionsCount, 4)
      assert.ok(made?.partitions.every(({ replicas }) => replicas.length === 1))
      await publisher.close()
    }
  })

  test('the topic keeps every record for ever, whatever the brokers’ defaults are', async (t) => {
    const config = { 'log.cleanup.policy': 'compact', 'log.retention.ms': 60_000, 'log.retention.bytes': 1_000_000 }
    const { brokers } = await brokerWith(t, config)
    const topic = newTopic()
    await publisherOf(t, { topic, brokers: [brokers] }).prepare(never)
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [brokers] })
    t.after(() => admin.close())
    const configurationKeys = ['cleanup.policy', 'retention.ms', 'retention.bytes']
    const [found] = await admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: topic, configurationKeys }] })
    const settings = configurationKeys.map((key) => found?.configs.find(({ name }) => name === key)?.value)
    assert.deepEqual(settings, ['delete', '-1', '-1'])
  })

  test('two producers that start together make one topic', async (t) => {
    const topic = newTopic()
    const publishers = Array.from({ length: 4 }, () => publisherOf(t, { topic }))
    // A topic that another one is making has no leaders for a moment.
    await Promise.all(publishers.map((publisher) => eventually(() => publisher.prepare(never))))
    await Promise.all(publishers.map((publisher, i) => publisher.publish([event(i + 1, 0)])))
    assert.equal((await readTopic(kafka.brokers, topic))[0]?.length, 4)
  })

  test('a topic that exists is used unchanged', async (t) => {
    const topic = newTopic()
    await withAdmin((admin) =>
      createTopic(admin, { topics: [topic], partitions: 7, replicas: 1, configs: [{ name: 'retention.ms', value: '60000' }] }),
    )
    const found: TopicLayout[] = []
    const publisher = publisherOf(t, { topic, partitions: 3, onExisting: (made) => found.push(made) })
    await eventually(() => publisher.prepare(never))
    await publisher.prepare(never)
    assert.equal(publisher.partitionOf?.('25'), 2125006797 % 7)
    assert.deepEqual(found, [{ partitions: 7, replication: 1 }], 'reported once')
  })

  test('the time of capture is the record’s timestamp', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic })
    await eventually(() => publisher.prepare(never))
    await publisher.publish([event(1, 0)])
    const [[record]] = (await readTopic(kafka.brokers, topic)) as [[ReadRecord]]
    assert.equal(record.timestamp, Date.parse(event(1, 0).time))
  })

  test('a capture with a time in the future is sent with the present time, because brokers refuse timestamps hours ahead', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic })
    await eventually(() => publisher.prepare(never))
    const time = new Date(Date.now() + 400 * 24 * 60 * 60 * 1000).toISOString()
    await publisher.publish([{ ...event(1, 0), time }])
    const [[record]] = (await readTopic(kafka.brokers, topic)) as [[ReadRecord]]
    assertIsNow(record.timestamp)
    assert.equal(eventOf(record).time, time)
  })

  test('events too old for the topic’s timestamps are refused once, then sent with the time of sending and an unchanged ce_time', async (t) => {
    const topic = newTopic()
    const configs = [{ name: 'message.timestamp.before.max.ms', value: '3600000' }]
    await withAdmin((admin) => createTopic(admin, { topics: [topic], partitions: 2, replicas: 1, configs }))
    const publisher = publisherOf(t, { topic })
    await eventually(() => publisher.prepare(never))
    const times = [5 * 24 * 3_600_000, 30 * 60_000].map((age) => new Date(Date.now() - age).toISOString()) as [string, string]
    const events = [
      { ...event(1, 0), time: times[0] },
      { ...event(2, 0), time: times[1] },
      { ...event(3, 1), time: times[0] },
    ]
    const refused = failure('timestamp-refused', topic, 'within', 'ce_time', 'message.timestamp.before.max.ms')
    await assert.rejects(publisher.publish(events), refused)
    await publisher.publish(events)
    const [[old, young], [other]] = (await readTopic(kafka.brokers, topic)) as [[ReadRecord, ReadRecord], [ReadRecord]]
    assert.deepEqual(
      [old, young, other].map((record) => eventOf(record)),
      events.map(({ source, sequence, key, value, time }) => ({ ...eventOf(old), source, sequence, key, value, time })),
    )
    for (const { timestamp } of [old, other]) assertIsNow(timestamp)
    assert.equal(young.timestamp, Date.parse(times[1]))
  })

  test('added partitions are used for new events, and partitions chosen before stay the same (rule P3)', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic, partitions: 1 })
    await eventually(() => publisher.prepare(never))
    await publisher.publish([event(1, 0)])
    await withAdmin((admin) =>
      admin.createPartitions({ topics: [{ name: topic, count: 5, assignments: Array.from({ length: 4 }, () => ({ brokerIds: [1] })) }] }),
    )
    await publisher.close()
    // The broker answers before it leads the new partitions.
    await eventually(async () => {
      await publisher.prepare(never)
      await publisher.publish([event(2, 0), event(3, 4)])
    })
    assert.equal(publisher.partitionOf?.('25'), 2125006797 % 5)
    const logs = await readTopic(kafka.brokers, topic)
    assert.equal(logs.length, 5)
    assertFirstArrivals(logs.slice(0, 1), [1, 2])
    assertFirstArrivals(logs.slice(1), [3])
  })

  test('an event for a partition that the topic does not have is refused, and not sent to another one (rule P3)', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic, partitions: 2 })
    await eventually(() => publisher.prepare(never))
    await assert.rejects(publisher.publish([event(1, 0), event(2, 2)]), failure('fewer-partitions', topic, 'partition 2'))
    assert.deepEqual(await readTopic(kafka.brokers, topic), [[], []])
  })

  test('a send larger than the topic accepts is reported as too large, a single event as refused', async (t) => {
    const publisher = publisherOf(t)
    await eventually(() => publisher.prepare(never))
    const large = (sequence: number, bytes: number) => ({ ...event(sequence, 0), value: Buffer.alloc(bytes, 'x') })
    await assert.rejects(publisher.publish([large(1, 150_000), large(2, 150_000)]), failure('too-large', '2 events'))
    await assert.rejects(publisher.publish([large(1, 300_000)]), failure('event-refused', 'max.message.bytes'))
    await publisher.publish([large(1, 150_000)])
  })

  test('an invalid topic name, and more replicas than brokers, are reported', async (t) => {
    await assert.rejects(
      publisherOf(t, { topic: 'no topic/at all' }).prepare(never),
      failure('topic-refused', 'no topic/at all', 'KAFKA_TOPIC'),
    )
    await assert.rejects(publisherOf(t, { replication: 3 }).prepare(never), failure('not-enough-brokers', 'KAFKA_TOPIC_REPLICATION'))
  })

  test('a deleted topic is reported, and made again by the next prepare', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic })
    await eventually(() => publisher.prepare(never))
    await withAdmin((admin) => deleteTopic(admin, topic))
    await publisher.close()
    await assert.rejects(publisher.publish([event(1, 0)]), failure('no-topic', topic))
    await eventually(() => publisher.prepare(never))
    await publisher.publish([event(1, 0)])
    assert.deepEqual(
      (await readTopic(kafka.brokers, topic)).map((log) => log.map(eventOf)),
      [arrivals([event(1, 0)]), [], []],
    )
  })

  test('a frozen broker costs one deadline, and the same events are sent once it is thawed (rule P4)', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic, sendDeadline: 1500 })
    await eventually(() => publisher.prepare(never))
    await eventually(() => publisher.publish([event(1, 0)]))
    await kafka.kill('SIGSTOP')
    try {
      // A process may run on for a moment after SIGSTOP.
      const untilFrozen = async () => {
        for (;;) await publishToLeaders(publisher, [event(2, 0)])
      }
      await assert.rejects(untilFrozen(), failure('deadline', '1500 ms'))
      await assert.rejects(publisher.publish([event(2, 0)]), failure('deadline'))
    } finally {
      await kafka.kill('SIGCONT')
    }
    // Its partitions may get other leaders once it is back.
    await eventually(() => publisher.publish([event(2, 0)]))
    await eventually(() => publisher.publish([event(3, 0)]))
    assertFirstArrivals(await readTopic(kafka.brokers, topic), [1, 2, 3])
  })

  test('after a killed broker was started again the same events are sent', async (t) => {
    const topic = newTopic()
    const publisher = publisherOf(t, { topic, sendDeadline: 3000 })
    await eventually(() => publisher.prepare(never))
    await eventually(() => publisher.publish([event(1, 0)]))
    await kafka.kill()
    await assert.rejects(publisher.publish([event(2, 0)]), (error) => error instanceof PublishError && error.retriable)
    await assert.rejects(publisher.prepare(never), failure('unreachable', 'ECONNREFUSED'))
    await kafka.restart()
    await eventually(() => publisher.publish([event(2, 0)]))
    assertFirstArrivals(await readTopic(kafka.brokers, topic), [1, 2])
  })

  test('publishes with user and password, and ends with a wrong password and what to do', async (t) => {
    const topic = newTopic()
    const as = (username: string, password: string) =>
      publisherOf(t, { topic, brokers: [login], clientOptions: { sasl: { mechanism: 'PLAIN', username, password } } })
    const allowed = as('ash', 'pikachu')
    await eventually(() => allowed.prepare(never))
    await publishToLeaders(allowed, [event(1, 0)])
    await assert.rejects(as('ash', 'raichu').prepare(never), failure('not-authorised', 'user and password'))
    await assert.rejects(as('brock', 'onix').prepare(never), failure('not-authorised', topic, 'grant'))
    assert.equal((await readTopic(kafka.brokers, topic))[0]?.length, 1)
  })

  test('TLS with a broker that has none is reported and tried again', async (t) => {
    const publisher = publisherOf(t, { clientOptions: { tls: {} } })
    await assert.rejects(publisher.prepare(never), failure('tls', 'speaks TLS'))
  })

  test('a broker that does not answer holds up no attempt for long: each new client begins with another broker', async (t) => {
    const silent = await silentServer(t)
    const publisher = publisherOf(t, { brokers: [silent.address, kafka.brokers], sendDeadline: 1000 })
    await assert.rejects(publisher.prepare(never), failure('deadline'))
    await eventually(() => publisher.prepare(never))
    await eventually(() => publisher.publish([event(1, 0)]))
  })
})

/**
 * Tries until it succeeds, as the producer does: Kafka's controller may refuse a broker for a moment after an earlier test froze or killed it.
 */
async function eventually(work: () => Promise<void>): Promise<void> {
  for (const end = performance.now() + RECOVERY; ; await sleep(RETRY)) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof PublishError && error.retriable) || performance.now() > end) throw error
    }
  }
}

/** Publishes once, and tries again while partitions have no leader: Kafka's controller takes a slow broker for a dead one. */
async function publishToLeaders(publisher: KafkaEventPublisher, events: Parameters<KafkaEventPublisher['publish']>[0]): Promise<void> {
  for (; ; await sleep(RETRY)) {
    try {
      return await publisher.publish(events)
    } catch (error) {
      if (!(error instanceof PublishError && error.kind === 'no-leader')) throw error
    }
  }
}

/** Of a timestamp: tests of `RecordTimestamps` with a clock of their own check the millisecond. */
function assertIsNow(timestamp: number): void {
  assert.ok(Math.abs(timestamp - Date.now()) < CLOCK_STEP, `${timestamp} is not now, ${Date.now()}`)
}

/** What a consumer counts, by rule C2: a repeated sequence is a duplicate. */
function assertFirstArrivals(logs: ReadRecord[][], sequences: number[]): void {
  assert.deepEqual([...new Set(logs.flat().map((record) => eventOf(record).sequence))], sequences)
}
