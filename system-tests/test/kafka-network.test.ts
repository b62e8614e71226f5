/** Brokers that name an address that cannot be reached, and brokers with quotas. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { Admin } from '@platformatic/kafka'
import { type Kafka, onFreePorts, startKafka } from '@poke-api-pipeline/dev'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { KafkaDeadLetterTopic } from '@poke-api-pipeline/poke-api-consumer/dead-letter-topic'
import { PublishError } from '@poke-api-pipeline/poke-api-producer/errors'
import { KafkaEventPublisher } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import { event } from '@poke-api-pipeline/poke-api-producer/testing/event-publisher'
import { Fetching } from '../fetching.ts'
import { Topics } from '../topics.ts'

const dir = mkdtempSync(join(tmpdir(), 'kafka-network-'))
const never = new AbortController().signal
let kafka: Kafka
let topics: Topics
let admin: Admin
/** A broker answers there, and names an address that cannot be reached. */
let misled: string
let dead: string
let count = 0

before(async () => {
  kafka = await onFreePorts(4, (port, controllerPort, misledPort, deadPort) => {
    misled = `localhost:${misledPort}`
    dead = `localhost:${deadPort}`
    return startKafka({
      dir,
      port,
      controllerPort,
      config: {
        listeners: `PLAINTEXT://127.0.0.1:${port},MISLED://127.0.0.1:${misledPort},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://localhost:${port},MISLED://${dead}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,MISLED:PLAINTEXT,CONTROLLER:PLAINTEXT',
      },
    })
  })
  topics = new Topics(kafka.brokers)
  admin = new Admin({ clientId: 'operator', bootstrapBrokers: [kafka.brokers] })
})
after(async () => {
  await topics.close()
  await admin.close()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

async function newTopic(): Promise<string> {
  const topic = `network-${++count}`
  await topics.make(topic, 1)
  return topic
}

function publisherOf(t: TestContext, options: ConstructorParameters<typeof KafkaEventPublisher>[0]): KafkaEventPublisher {
  const publisher = new KafkaEventPublisher(options)
  t.after(() => publisher.close())
  return publisher
}

describe('a broker that answers and names an address that cannot be reached', () => {
  const bothAddresses = (words: string) => {
    assert.ok(words.includes(`Kafka at ${misled} answers, and names ${dead} as the address of a broker`), words)
    assert.match(words, /ECONNREFUSED.*advertised\.listeners/)
  }

  test('is reported by the consumer at its start', async (t) => {
    const topic = await newTopic()
    const fetching = new Fetching({ brokers: [misled], topic, groupId: topic }, new FakeHandler())
    t.after(() => fetching.stop().catch(() => {}))
    await fetching.until(() => fetching.reports.length > 0)
    bothAddresses(fetching.reports[0] ?? '')
  })

  test('is reported by the producer when it sends', async (t) => {
    const publisher = publisherOf(t, { brokers: [misled], topic: await newTopic(), partitions: 1, replication: 1 })
    await publisher.prepare(never)
    await assert.rejects(publisher.publish([event(1, 0)]), (error) => {
      assert.ok(error instanceof PublishError && error.kind === 'unreachable', String(error))
      bothAddresses(error.message)
      return true
    })
  })
})

describe('a quota', () => {
  /** Shorter than the quotas make clients wait, and much longer than a request takes, in ms. */
  const DEADLINE = 3000
  /** Bytes a second, of one client id. */
  async function limit(clientId: string, key: 'producer_byte_rate' | 'consumer_byte_rate', value: number, remove = false): Promise<void> {
    await admin.alterClientQuotas({
      entries: [{ entities: [{ entityType: 'client-id', entityName: clientId }], ops: [{ key, value, remove }] }],
    })
  }

  test('makes the producer wait for longer than the deadline: it reports a quota, and sends nothing twice', async (t) => {
    const topic = await newTopic()
    await limit('poke-api-producer', 'producer_byte_rate', 20_000)
    t.after(() => limit('poke-api-producer', 'producer_byte_rate', 0, true))
    const throttles: (PublishError | null)[] = []
    const publisher = publisherOf(t, {
      brokers: [kafka.brokers],
      topic,
      partitions: 1,
      replication: 1,
      sendDeadline: DEADLINE,
      throttled: (error) => throttles.push(error),
    })
    await publisher.prepare(never)
    await publisher.publish(Array.from({ length: 1000 }, (_, index) => event(index + 1, 0)))
    const quota = throttles.find((error) => error !== null)
    assert.equal(quota?.kind, 'quota')
    assert.match(quota?.message ?? '', /enforces a quota on this service and makes it wait \d+\.\d s/)
    const began = performance.now()
    await publisher.publish([event(1001, 0)])
    assert.ok(performance.now() - began > DEADLINE, 'it was not made to wait')
    const offsets = await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1n }] }] })
    assert.equal(Number(offsets[0]?.partitions[0]?.offset), 1001)
  })

  test('makes dead letters wait for longer than the deadline, and none is sent twice', async (t) => {
    const topic = await newTopic()
    await limit('dead-letters', 'producer_byte_rate', 20_000)
    t.after(() => limit('dead-letters', 'producer_byte_rate', 0, true))
    const publisher = new KafkaDeadLetterTopic({ brokers: [kafka.brokers], topic, clientId: 'dead-letters', deadline: DEADLINE })
    t.after(() => publisher.close())
    const partition = { topic, topicId: '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d', partition: 0 }
    const kept = { partition, state: 'kept' as const, leaderEpoch: 0, timestamp: 0n, reason: 'not-json' as const, key: null }
    const deadLetter = (offset: number) => ({
      ...kept,
      id: offset + 1,
      offset,
      value: Buffer.alloc(300_000),
      headers: Buffer.from([0]),
      cut: {},
    })
    const began = performance.now()
    await publisher.publish([deadLetter(0), deadLetter(1)])
    assert.ok(performance.now() - began > DEADLINE, 'they were not made to wait')
    const name = `${topic}.dead-letters`
    const offsets = await admin.listOffsets({ topics: [{ name, partitions: [{ partitionIndex: 0, timestamp: -1n }] }] })
    assert.equal(Number(offsets[0]?.partitions[0]?.offset), 2)
  })

  test('makes the consumer wait: it reports a quota, and reads everything', async (t) => {
    const topic = await newTopic()
    await topics.write(topic, 0, ...Array.from({ length: 40 }, () => Buffer.alloc(5000, 'x')))
    await limit('fetching', 'consumer_byte_rate', 10_000)
    t.after(() => limit('fetching', 'consumer_byte_rate', 0, true))
    const handler = new FakeHandler()
    const fetching = new Fetching({ brokers: [kafka.brokers], topic, groupId: topic }, handler)
    t.after(() => fetching.stop().catch(() => {}))
    await fetching.until(() =>
      fetching.reports.some((words) => /^throttled: .*enforces a quota on this service and makes it wait/.test(words)),
    )
    await limit('fetching', 'consumer_byte_rate', 0, true)
    await handler.until(() => handler.counted.length === 40)
    await fetching.until(() => fetching.reports.includes('not throttled'))
  })
})
