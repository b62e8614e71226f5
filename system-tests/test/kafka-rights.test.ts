/** The services on a broker that allows nothing by default: at their start they name the missing rights, and the commands that grant them. */
import assert from 'node:assert/strict'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PublishError } from '@poke-api-pipeline/poke-api-producer/errors'
import { KafkaEventPublisher } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import { event } from '@poke-api-pipeline/poke-api-producer/testing/event-publisher'
import { ConsumerProcess } from '../consumer-process.ts'
import { GuardedKafka } from '../guarded-kafka.ts'
import { readTopic } from './read-topic.ts'

const PASSWORD = 'staryu-and-starmie'
const guarded = GuardedKafka.ofFile('kafka-rights', { misty: PASSWORD })
let count = 0

/** A new topic, on which misty is allowed nothing. */
async function newTopic(): Promise<string> {
  await guarded.revoke('misty')
  const topic = `rights-${++count}`
  await guarded.topics.make(topic, 1)
  return topic
}

/** Starts the consumer as misty. @returns once it answers, or has ended; then its output */
async function consumerOf(t: TestContext, topic: string): Promise<ConsumerProcess | string> {
  const dir = mkdtempSync(join(guarded.dir, 'consumer-'))
  const passwordFile = join(dir, 'password')
  writeFileSync(passwordFile, `${PASSWORD}\n`)
  const env = {
    KAFKA_GROUP_ID: topic,
    KAFKA_SASL_MECHANISM: 'PLAIN',
    KAFKA_PLAIN_WITHOUT_TLS: 'allowed',
    KAFKA_USERNAME: 'misty',
    KAFKA_PASSWORD_FILE: passwordFile,
  }
  try {
    const consumer = await ConsumerProcess.start({ brokers: guarded.login, topic, dir, env })
    t.after(() => consumer.end('SIGKILL'))
    return consumer
  } catch (error) {
    return (error as Error).message
  }
}

async function running(t: TestContext, topic: string): Promise<ConsumerProcess> {
  const consumer = await consumerOf(t, topic)
  assert.ok(consumer instanceof ConsumerProcess, String(consumer))
  return consumer
}

/** Waits until it holds, or the consumer has ended. */
async function until(consumer: ConsumerProcess, condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    assert.ok(consumer.running, consumer.output)
    await sleep(50)
  }
}

/** Waits for its end. @returns its output */
async function ending(consumer: ConsumerProcess | string): Promise<string> {
  if (typeof consumer === 'string') return consumer
  while (consumer.running) await sleep(20)
  return consumer.output
}

const command = (what: string) => `kafka-acls.sh --bootstrap-server ${guarded.login} --add --allow-principal User:misty ${what}`

describe('the consumer', () => {
  test('that is allowed nothing ends at once and names all missing rights, with the commands that grant them', async (t) => {
    const topic = await newTopic()
    const said = await ending(await consumerOf(t, topic))
    for (const what of [
      'User:misty lacks',
      command(`--operation Read --operation DescribeConfigs --topic ${topic} &&`),
      command(`--operation Read --group ${topic} &&`),
      command(`--operation Create --operation Write --topic ${topic}.dead-letters`),
    ])
      assert.ok(said.includes(what), `${what}\nis not in\n${said}`)
  })

  for (const [missing, topicRights, groupRights] of [
    ['--operation Read --topic', ['Describe', 'DescribeConfigs'], ['Read']],
    ['--operation DescribeConfigs --topic', ['Read'], ['Read']],
    ['--operation Read --group', ['Read', 'DescribeConfigs'], []],
    ['--operation Read --group', ['Read', 'DescribeConfigs'], ['Describe']],
  ] as const) {
    test(`that lacks one thing names it alone: ${missing}, with ${groupRights.join() || 'nothing'} on the group`, async (t) => {
      const topic = await newTopic()
      await guarded.grant('misty', 'topic', topic, ...topicRights)
      await guarded.grant('misty', 'topic', `${topic}.dead-letters`, 'Write', 'Create')
      await guarded.grant('misty', 'group', topic, ...groupRights)
      const said = await ending(await consumerOf(t, topic))
      assert.ok(said.includes(command(`${missing} ${topic}`)), said)
      assert.ok(!said.includes('&&'), said)
    })
  }

  test('that may not write its dead letters counts, reports it before there are any, and publishes them once it may', async (t) => {
    const topic = await newTopic()
    const deadLetterTopic = `${topic}.dead-letters`
    await guarded.topics.make(deadLetterTopic, 1)
    await guarded.grant('misty', 'topic', topic, 'Read', 'DescribeConfigs')
    await guarded.grant('misty', 'topic', deadLetterTopic, 'Describe')
    await guarded.grant('misty', 'group', topic, 'Read')
    const consumer = await running(t, topic)
    const reasons = async () => (await consumer.reasons()).join('\n')
    await until(consumer, async () => (await reasons()).startsWith('dead-letters: '))
    assert.ok((await reasons()).includes(command(`--operation Write --topic ${deadLetterTopic}`)), await reasons())
    assert.ok((await consumer.reasons()).length === 1)
    await guarded.topics.write(topic, 0, 'no event', 'nor this one')
    await until(consumer, async () => (await consumer.metric('poke_dead_letters_total{reason="not-json"}')) === 2)
    await guarded.grant('misty', 'topic', deadLetterTopic, 'Write')
    await until(consumer, async () => (await consumer.metric('poke_dead_letters_published_total')) === 2)
    assert.deepEqual(await consumer.reasons(), [])
    assert.deepEqual(
      (await readTopic(guarded.brokers, deadLetterTopic)).flat().map(({ value }) => String(value)),
      ['no event', 'nor this one'],
    )
  })

  test('whose right to write dead letters is removed while it runs goes on counting, and keeps them', async (t) => {
    const topic = await newTopic()
    await guarded.topics.make(`${topic}.dead-letters`, 1)
    const grantReading = async () => {
      await guarded.grant('misty', 'topic', topic, 'Read', 'DescribeConfigs')
      await guarded.grant('misty', 'group', topic, 'Read')
    }
    await grantReading()
    await guarded.grant('misty', 'topic', `${topic}.dead-letters`, 'Write')
    const consumer = await running(t, topic)
    await guarded.topics.write(topic, 0, 'no event')
    await until(consumer, async () => (await consumer.metric('poke_dead_letters_published_total')) === 1)
    await guarded.revoke('misty', `${topic}.dead-letters`)
    await guarded.topics.write(topic, 0, 'nor this one')
    await until(consumer, async () => (await consumer.reasons()).join().includes(command('--operation Create --operation Write')))
    assert.equal(await consumer.metric('poke_dead_letters_total{reason="not-json"}'), 2)
  })

  test('whose dead-letter topic does not exist needs Create, on the topic or on the cluster', async (t) => {
    const topic = await newTopic()
    const deadLetterTopic = `${topic}.dead-letters`
    await guarded.grant('misty', 'topic', topic, 'Read', 'DescribeConfigs')
    await guarded.grant('misty', 'group', topic, 'Read')
    await guarded.grant('misty', 'topic', deadLetterTopic, 'Write')
    const consumer = await running(t, topic)
    await until(consumer, async () => (await consumer.reasons()).join().includes(command(`--operation Create --topic ${deadLetterTopic}`)))
    await guarded.grant('misty', 'cluster', 'kafka-cluster', 'Create')
    await until(consumer, async () => (await consumer.reasons()).length === 0)
    await guarded.topics.write(topic, 0, 'no event')
    await until(consumer, async () => (await consumer.metric('poke_dead_letters_published_total')) === 1)
  })
})

describe('the producer', () => {
  const publisherOf = (t: TestContext, topic: string) => {
    const sasl = { mechanism: 'PLAIN' as const, username: 'misty', password: PASSWORD }
    const publisher = new KafkaEventPublisher({ brokers: [guarded.login], topic, partitions: 1, replication: 1, clientOptions: { sasl } })
    t.after(() => publisher.close())
    return publisher
  }
  const lacks = (what: string) => (error: unknown) => {
    assert.ok(error instanceof PublishError && error.kind === 'not-authorised', String(error))
    assert.ok(error.message.includes(command(what)), error.message)
    return true
  }
  const never = new AbortController().signal

  test('that may not write reports it before there is anything to send', async (t) => {
    const topic = await newTopic()
    await assert.rejects(publisherOf(t, topic).prepare(never), lacks(`--operation Create --operation Write --topic ${topic}`))
    await guarded.grant('misty', 'topic', topic, 'Describe')
    await assert.rejects(publisherOf(t, topic).prepare(never), lacks(`--operation Write --topic ${topic}`))
    await guarded.grant('misty', 'topic', topic, 'Write')
    const publisher = publisherOf(t, topic)
    await publisher.prepare(never)
    await publisher.publish([event(1, 0)])
  })

  test('whose topic does not exist needs Create, on the topic or on the cluster', async (t) => {
    await guarded.revoke('misty')
    for (const [resource, name] of [
      ['topic', 'made-by-misty'],
      ['cluster', 'kafka-cluster'],
    ] as const) {
      const topic = resource === 'topic' ? name : 'made-by-misty-too'
      await assert.rejects(publisherOf(t, topic).prepare(never), lacks(`--operation Create --operation Write --topic ${topic}`))
      await guarded.grant('misty', 'topic', topic, 'Write')
      await assert.rejects(publisherOf(t, topic).prepare(never), lacks(`--operation Create --topic ${topic}`))
      await guarded.grant('misty', resource, name, 'Create')
      await publisherOf(t, topic).prepare(never)
    }
  })
})
