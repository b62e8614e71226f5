/** The dead-letter topic on a real broker: what a published dead letter contains, its order, its size, and the id that tells repeats apart (rule D2). */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { Admin } from '@platformatic/kafka'
import { copyHeaders, KafkaError, MAX_HEADERS, TopicReader } from '@poke-api-pipeline/kafka-reader'
import type { DeadLetterReason } from '@poke-api-pipeline/poke-api-consumer/dead-letter'
import { deadLetterTopicOf, KafkaDeadLetterTopic } from '@poke-api-pipeline/poke-api-consumer/dead-letter-topic'
import type { KeptDeadLetter } from '@poke-api-pipeline/poke-api-consumer/ports'
import { headerBytes } from '@poke-api-pipeline/poke-api-consumer/testing/header-bytes'
import { systemClock } from '@poke-api-pipeline/service-kit'
import { serversOfFile } from '../servers.ts'
import { createTopic, deleteTopic } from '../topics.ts'

const TOPIC_ID = '0783f83b-a070-4d0a-961a-44c080267800'
const servers = serversOfFile('dead-letter-topic')
let topics = 0

async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [servers.kafka.brokers] })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

/** The longest wait for an answer, in ms; a connection that is refused fails at once. */
const DEADLINE = 60_000

/** A source topic of its own for each test, and its dead-letter topic. */
async function setUp(t: TestContext): Promise<{ source: string; publisher: KafkaDeadLetterTopic }> {
  const source = `poke-topic-${++topics}`
  await withAdmin((admin) => createTopic(admin, { topics: [source], partitions: 2, replicas: 1 }))
  const publisher = new KafkaDeadLetterTopic({ brokers: [servers.kafka.brokers], topic: source, clientId: 'test', deadline: DEADLINE })
  t.after(() => publisher.close())
  return { source, publisher }
}

function deadLetterOf(source: string, offset: number, part: Partial<KeptDeadLetter> = {}, partition = 0): KeptDeadLetter {
  return {
    id: offset + 1,
    partition: { topic: source, topicId: TOPIC_ID, partition },
    state: 'kept',
    offset,
    leaderEpoch: 3,
    timestamp: 1_700_000_000_000n,
    reason: 'not-json',
    key: null,
    value: Buffer.from(`letter ${offset}`),
    headers: headerBytes(),
    cut: {},
    ...part,
  }
}

interface Read {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: (readonly [string, string | null])[]
}

async function read(source: string): Promise<Read[]> {
  const reader = new TopicReader({
    brokers: [servers.kafka.brokers],
    topic: deadLetterTopicOf(source),
    clientId: 'test',
    limits: { maxBytes: 4_194_304, maxWait: 100 },
    clock: systemClock(),
  })
  try {
    const found: Read[] = []
    const { partitions } = await reader.describe()
    for (const [partition, { logStartOffset, endOffset }] of partitions.entries()) {
      if (endOffset === logStartOffset) continue
      const take = (record: Parameters<Parameters<TopicReader['read']>[3]>[0]) => {
        const { bytes, keyStart, keyEnd, valueStart, valueEnd, headersStart, headersEnd } = record
        found.push({
          partition,
          key: keyStart < 0 ? null : Buffer.from(bytes.subarray(keyStart, keyEnd)),
          value: valueStart < 0 ? null : Buffer.from(bytes.subarray(valueStart, valueEnd)),
          headers: copyHeaders(bytes.subarray(headersStart, headersEnd), MAX_HEADERS).map(([name, value]) => [
            name.toString(),
            value?.toString() ?? null,
          ]),
        })
      }
      await reader.read(partition, logStartOffset, endOffset, take, () => {})
    }
    return found
  } finally {
    await reader.close()
  }
}

function header({ headers }: Read, name: string): string | null | undefined {
  return headers.find(([each]) => each === name)?.[1]
}

test('a dead letter has the original key, value and headers, byte for byte, followed by headers with its place and reason', async (t) => {
  const { source, publisher } = await setUp(t)
  const headers = headerBytes(['a', '1'], ['a', null], ['b', ''])
  const value = Buffer.from([0x7b, 0xff, 0xfe, 0x00])
  await publisher.publish([deadLetterOf(source, 41, { key: Buffer.from('k'), value, headers, reason: 'not-utf8' }, 1)])
  assert.deepEqual(await read(source), [
    {
      partition: 1,
      key: Buffer.from('k'),
      value,
      headers: [
        ['a', '1'],
        ['a', null],
        ['b', ''],
        ['dead_letter_id', `${TOPIC_ID}/1/3/41`],
        ['dead_letter_reason', 'not-utf8'],
        ['dead_letter_topic', source],
        ['dead_letter_partition', '1'],
        ['dead_letter_offset', '41'],
        ['dead_letter_leader_epoch', '3'],
        ['dead_letter_timestamp', '1700000000000'],
      ],
    },
  ])
})

test('null and empty keys and values are published as null and empty', async (t) => {
  const { source, publisher } = await setUp(t)
  const none = { key: null, value: null, reason: 'null-value' as DeadLetterReason }
  const empty = { key: Buffer.alloc(0), value: Buffer.alloc(0), reason: 'empty-value' as DeadLetterReason }
  await publisher.publish([deadLetterOf(source, 0, none), deadLetterOf(source, 1, empty)])
  assert.deepEqual(
    (await read(source)).map(({ key, value }) => [key, value]),
    [
      [null, null],
      [Buffer.alloc(0), Buffer.alloc(0)],
    ],
  )
})

test('dead letters of a partition keep their order, whatever their sizes', async (t) => {
  const { source, publisher } = await setUp(t)
  const some = Array.from({ length: 60 }, (_, offset) =>
    deadLetterOf(source, offset, { value: Buffer.alloc((offset % 7) * 20_000 + 1, offset) }),
  )
  await publisher.publish(some)
  assert.deepEqual(
    (await read(source)).map((deadLetter) => header(deadLetter, 'dead_letter_offset')),
    some.map(({ offset }) => String(offset)),
  )
})

test('the largest record that the source takes is published whole', async (t) => {
  const { source, publisher } = await setUp(t)
  const value = Buffer.alloc(1_048_400, 'x')
  await publisher.publish([deadLetterOf(source, 0, { value })])
  assert.ok((await read(source))[0]?.value?.equals(value))
})

test('a dead letter that is too large for the topic is published as a stub with reason and hash, and the others whole', async (t) => {
  const { source, publisher } = await setUp(t)
  const configs = [{ name: 'max.message.bytes', value: '5000' }]
  await withAdmin((admin) => createTopic(admin, { topics: [`${source}.dead-letters`], partitions: 1, replicas: 1, configs }))
  const large = Buffer.alloc(6000, 'x')
  await publisher.publish([
    deadLetterOf(source, 0),
    deadLetterOf(source, 1, { value: large, key: Buffer.from('k') }, 1),
    deadLetterOf(source, 2),
  ])
  const found = await read(source)
  assert.deepEqual(
    found.map(({ value }) => value?.toString() ?? null),
    ['letter 0', null, 'letter 2'],
  )
  assert.equal(header(found[1] as Read, 'dead_letter_reason'), 'not-json')
  assert.equal(header(found[1] as Read, 'dead_letter_sha256'), createHash('sha256').update(large).digest('hex'))
})

test('a dead letter that no broker accepts or no client could decode is published as a stub and holds up nothing behind it', async (t) => {
  const { source, publisher } = await setUp(t)
  const endless = headerBytes(...Array.from({ length: MAX_HEADERS + 1 }, () => ['', null] as const))
  await publisher.publish([
    deadLetterOf(source, 0, { value: Buffer.alloc(101 * 1024 * 1024, ' ') }),
    deadLetterOf(source, 1, { headers: endless }),
    deadLetterOf(source, 2),
  ])
  assert.deepEqual(
    (await read(source)).map((deadLetter) => [deadLetter.value?.toString() ?? null, deadLetter.headers.length]),
    [
      [null, 10],
      [null, 12],
      ['letter 2', 7],
    ],
  )
})

test('a dead letter that the store has not kept whole says so, with the length and hash of each part that was cut', async (t) => {
  const { source, publisher } = await setUp(t)
  const cut = Object.fromEntries(
    (['key', 'value', 'headers'] as const).map((part, i) => [part, { bytes: 2_000_000 + i, sha256: `${i}`.repeat(64) }]),
  )
  const headers = headerBytes(['a', '1'], ['long', 'v'.repeat(100)]).subarray(0, 40)
  await publisher.publish([
    deadLetterOf(source, 0, { value: Buffer.from('the beginning'), cut: { value: { bytes: 1_048_577, sha256: 'ab'.repeat(32) } } }),
    deadLetterOf(source, 1, { key: Buffer.from('k'), headers, cut }),
  ])
  const [first, second] = (await read(source)) as [Read, Read]
  assert.equal(first.value?.toString(), 'the beginning')
  assert.deepEqual(first.headers.slice(7), [
    ['dead_letter_cut', 'value'],
    ['dead_letter_bytes', '1048577'],
    ['dead_letter_sha256', 'ab'.repeat(32)],
  ])
  assert.deepEqual(second.headers[0], ['a', '1'])
  assert.equal(second.headers[1]?.[0], 'dead_letter_id', 'a header that is not there whole is left out')
  assert.deepEqual(second.headers.slice(8), [
    ['dead_letter_cut', 'key,value,headers'],
    ['dead_letter_key_bytes', '2000000'],
    ['dead_letter_key_sha256', '0'.repeat(64)],
    ['dead_letter_bytes', '2000001'],
    ['dead_letter_sha256', '1'.repeat(64)],
    ['dead_letter_headers_bytes', '2000002'],
    ['dead_letter_headers_sha256', '2'.repeat(64)],
  ])
})

test('a topic whose name collides with another one in dots and underscores is reported with both names, and made once the other is deleted', async (t) => {
  const { source, publisher } = await setUp(t)
  const other = `${source}_dead-letters`
  await withAdmin((admin) => createTopic(admin, { topics: [other], partitions: 1, replicas: 1 }))
  await assert.rejects(publisher.publish([deadLetterOf(source, 0)]), (error) => {
    assert.ok(error instanceof KafkaError && error.retriable, String(error))
    assert.match(error.message, /cannot be created.*delete it.*collides with existing topic/)
    assert.ok(error.message.includes(deadLetterTopicOf(source)) && error.message.includes(other), error.message)
    return true
  })
  await withAdmin((admin) => deleteTopic(admin, other))
  await publisher.publish([deadLetterOf(source, 0)])
  assert.equal((await read(source)).length, 1)
})

test('a topic that accepts no dead letters is reported with what to do, and gets them once that is done', async (t) => {
  const refusals: [setting: string, value: string, right: string, says: RegExp][] = [
    ['max.message.bytes', '100', '1000000', /refuses a dead letter even without its key, value and headers: raise its max\.message\.bytes/],
    ['cleanup.policy', 'compact', 'delete', /probably because it has no key and the topic is compacted: set its cleanup\.policy to delete/],
    ['message.timestamp.before.max.ms', '0', '3600000', /does not accept the time of this machine: correct the clock/],
  ]
  for (const [name, value, right, says] of refusals) {
    const { source, publisher } = await setUp(t)
    const topic = `${source}.dead-letters`
    await withAdmin((admin) => createTopic(admin, { topics: [topic], partitions: 1, replicas: 1, configs: [{ name, value }] }))
    await assert.rejects(publisher.publish([deadLetterOf(source, 0)]), (error) => {
      assert.ok(error instanceof KafkaError && error.retriable, String(error))
      assert.match(error.message, says)
      assert.ok(error.message.includes(topic), error.message)
      return true
    })
    await withAdmin((admin) =>
      admin.incrementalAlterConfigs({
        resources: [{ resourceType: 2, resourceName: topic, configs: [{ name, configOperation: 0, value: right }] }],
      }),
    )
    for (;;) {
      try {
        await publisher.publish([deadLetterOf(source, 0)])
        break
      } catch (error) {
        // The controller knows of it a moment before the broker.
        if (!(error instanceof KafkaError && says.test(error.message))) throw error
      }
    }
    assert.deepEqual(
      (await read(source)).map(({ value }) => value?.toString()),
      ['letter 0'],
    )
  }
})

test('the topic can be made if its source topic allows the largest messages that can be set', async (t) => {
  const source = 'poke-topic-of-giants'
  const configs = [{ name: 'max.message.bytes', value: String(2 ** 31 - 1) }]
  await withAdmin((admin) => createTopic(admin, { topics: [source], partitions: 1, replicas: 1, configs }))
  const publisher = new KafkaDeadLetterTopic({ brokers: [servers.kafka.brokers], topic: source, clientId: 'test' })
  t.after(() => publisher.close())
  await publisher.publish([deadLetterOf(source, 0)])
  assert.equal((await read(source)).length, 1)
})

test('a topic whose name has the greatest length has a dead-letter topic, too', async (t) => {
  const source = 'p'.repeat(249)
  await withAdmin((admin) => createTopic(admin, { topics: [source], partitions: 1, replicas: 1 }))
  const publisher = new KafkaDeadLetterTopic({ brokers: [servers.kafka.brokers], topic: source, clientId: 'test' })
  t.after(() => publisher.close())
  await publisher.publish([deadLetterOf(source, 0, { timestamp: -(2n ** 63n) })])
  const [deadLetter] = (await read(source)) as [Read]
  assert.equal(header(deadLetter, 'dead_letter_topic'), source)
  assert.equal(header(deadLetter, 'dead_letter_timestamp'), '-9223372036854775808')
})

test('a dead letter that is published again has the same id', async (t) => {
  const { source, publisher } = await setUp(t)
  await publisher.publish([deadLetterOf(source, 7)])
  await publisher.close()
  await publisher.publish([deadLetterOf(source, 7)])
  const ids = (await read(source)).map((deadLetter) => header(deadLetter, 'dead_letter_id'))
  assert.deepEqual(ids, [`${TOPIC_ID}/0/3/7`, `${TOPIC_ID}/0/3/7`])
})

test('the topic is made with as many partitions as its source topic, and keeps every record for ever', async (t) => {
  const { source, publisher } = await setUp(t)
  await publisher.publish([deadLetterOf(source, 0)])
  const name = `${source}.dead-letters`
  const resources = [
    {
      resourceType: 2 as const,
      resourceName: name,
      configurationKeys: ['cleanup.policy', 'retention.ms', 'retention.bytes', 'max.message.bytes'],
    },
  ]
  const { partitions, configs } = await withAdmin(async (admin) => ({
    partitions: (await admin.metadata({ topics: [name] })).topics.get(name)?.partitionsCount,
    configs: (await admin.describeConfigs({ resources }))[0]?.configs.map(({ name, value }) => [name, value]),
  }))
  assert.equal(partitions, 2)
  assert.deepEqual(
    new Map(configs as [string, string][]),
    new Map([
      ['cleanup.policy', 'delete'],
      ['retention.ms', '-1'],
      ['retention.bytes', '-1'],
      ['max.message.bytes', String(1_048_588 + 1024 * 1024)],
    ]),
  )
})

test('without a broker publishing fails in time with a message that says what to do, and works once the broker is back', async (t) => {
  const { source, publisher } = await setUp(t)
  await publisher.publish([deadLetterOf(source, 0)])
  await servers.kafka.kill()
  await assert.rejects(publisher.publish([deadLetterOf(source, 1)]), (error) => error instanceof KafkaError && error.retriable)
  await servers.kafka.restart()
  const again = async (): Promise<void> => {
    try {
      await publisher.publish([deadLetterOf(source, 1)])
    } catch (error) {
      // For a moment the partitions have no leader.
      if (!(error instanceof KafkaError && error.retriable)) throw error
      await again()
    }
  }
  await again()
  assert.equal(new Set((await read(source)).map((deadLetter) => header(deadLetter, 'dead_letter_offset'))).size, 2)
})

test('a publish under way is given up when the service has no more time to stop', async (t) => {
  const { source } = await setUp(t)
  const stop = new AbortController()
  const publisher = new KafkaDeadLetterTopic({ brokers: [servers.kafka.brokers], topic: source, clientId: 'test', stopSignal: stop.signal })
  t.after(() => publisher.close())
  await publisher.publish([deadLetterOf(source, 0)])
  await servers.kafka.kill('SIGSTOP')
  try {
    const publishing = publisher.publish([deadLetterOf(source, 1)])
    stop.abort()
    await assert.rejects(publishing, KafkaError)
  } finally {
    await servers.kafka.kill('SIGCONT')
  }
})
