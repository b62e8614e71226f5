/** Several group readers in one group: which member reads which partition when members join, leave, and are removed; logins and permissions. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { Admin } from '@platformatic/kafka'
import type { Kafka } from '@poke-api-pipeline/dev'
import { KafkaError } from '@poke-api-pipeline/kafka-reader'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { Fetching, type FetchingOptions } from '../fetching.ts'
import { startLoginKafka } from '../login-kafka.ts'
import { Topics } from '../topics.ts'

const dir = mkdtempSync(join(tmpdir(), 'fetch-group-'))
const PARTITIONS = 6
let kafka: Kafka
/** The listener that asks for user and password. */
let login: string
let topics: Topics
let count = 0

before(async () => {
  ;({ kafka, login } = await startLoginKafka({ dir, users: { ash: 'pikachu' }, superUsers: ['ash'] }))
  topics = new Topics(kafka.brokers)
})
after(async () => {
  await topics.close()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

async function newTopic(partitions = PARTITIONS): Promise<string> {
  const topic = `group-${++count}`
  await topics.make(topic, partitions)
  return topic
}

/** The members share a handler, as instances share a store. */
function memberOf(t: TestContext, topic: string, handler: FakeHandler, options: Partial<FetchingOptions> = {}): Fetching {
  const fetching = new Fetching({ brokers: [kafka.brokers], topic, groupId: topic, sessionTimeout: 6000, ...options }, handler)
  t.after(() => fetching.stop().catch(() => {}))
  return fetching
}

const handedOut = (members: readonly Fetching[]) => members.flatMap(({ assigned }) => assigned).toSorted()
const everything = Array.from({ length: PARTITIONS }, (_, partition) => partition)

async function shared(members: readonly Fetching[], each: number): Promise<void> {
  for (const member of members) await member.until(() => member.assigned.length === each)
  assert.deepEqual(handedOut(members), everything)
}

describe('members of a group', () => {
  test('share the partitions, take over those of a member that leaves, and give some to one that joins', async (t) => {
    const topic = await newTopic()
    const handler = new FakeHandler()
    const first = memberOf(t, topic, handler)
    await shared([first], 6)
    const second = memberOf(t, topic, handler)
    await shared([first, second], 3)
    const third = memberOf(t, topic, handler)
    await shared([first, second, third], 2)
    await second.stop()
    await shared([first, third], 3)
    for (const partition of everything) await topics.write(topic, partition, `of ${partition}`)
    await handler.until(() => handler.counted.length === PARTITIONS)
    assert.deepEqual(
      everything.map((partition) => handler.values(partition)),
      everything.map((partition) => [`of ${partition}`]),
    )
  })

  test('that join at the same time all get partitions', async (t) => {
    const topic = await newTopic()
    const handler = new FakeHandler()
    const members = Array.from({ length: 6 }, () => memberOf(t, topic, handler))
    await shared(members, 1)
  })

  test('go on reading the partitions that they keep in a rebalance', async (t) => {
    const topic = await newTopic(1)
    const handler = new FakeHandler()
    const first = memberOf(t, topic, handler)
    await first.until(() => first.assigned.length === 1)
    const second = memberOf(t, topic, handler)
    await second.until(() => second.reports.some((event) => event.startsWith('assigned')))
    await topics.write(topic, 0, 'a')
    await handler.until(() => handler.counted.length === 1)
    const opened = handler.events.filter((event) => event === 'open 0').length
    assert.equal(opened, second.assigned.length + 1)
  })

  test('rule S5: with another store than the group’s are refused, and the running member goes on', async (t) => {
    const topic = await newTopic()
    const [one, other] = ['00000000-0000-4000-8000-00000000000a', '0123456789abcdef0123456789abcdef'] as const
    const handler = new FakeHandler()
    const first = memberOf(t, topic, handler, { storeId: one })
    await shared([first], 6)
    // Before and after the first member has written its store into the group's offsets.
    for (const offsets of [0, PARTITIONS]) {
      while ((await topics.mirrored(topic, topic)).size < offsets);
      const second = memberOf(t, topic, new FakeHandler(), { storeId: other })
      const error = await second.ended.then(
        () => null,
        (error: KafkaError) => error,
      )
      assert.deepEqual([error?.kind, error?.retriable], ['two-stores', false])
      assert.match(
        error?.message ?? '',
        new RegExp(`group ${topic} keeps its positions in sqlite:store\\.db \\(used by test/1\\).* each store would have only a part`),
      )
      assert.deepEqual(second.assigned, [])
    }
    await shared([first], 6)
    await topics.write(topic, 5, 'a')
    await handler.until(() => handler.counted.length === 1)
    assert.ok(!first.reports.some((event) => event.startsWith('lost')), first.reports.join('\n'))
  })

  test('that the group has removed join again (rule M1)', async (t) => {
    const topic = await newTopic()
    const handler = new FakeHandler()
    const member = memberOf(t, topic, handler)
    await shared([member], 6)
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [kafka.brokers] })
    t.after(() => admin.close())
    const group = (await admin.describeGroups({ groups: [topic] })).get(topic)
    const memberId = [...(group?.members.keys() ?? [])][0]
    assert.ok(memberId)
    await admin.removeMembersFromConsumerGroup({ groupId: topic, members: [{ memberId }] })
    await member.until(() => member.reports.filter((event) => event.startsWith('assigned')).length === 2)
    await topics.write(topic, 3, 'a')
    await handler.until(() => handler.counted.length === 1)
  })
})

describe('a login', () => {
  const sasl = (username: string, password: string) => ({ sasl: { mechanism: 'PLAIN' as const, username, password } })
  const isRefused = (words: RegExp) => (error: unknown) =>
    error instanceof KafkaError && error.kind === 'not-authorised' && words.test(error.message)

  test('with the right password succeeds', async (t) => {
    const topic = await newTopic(1)
    const handler = new FakeHandler()
    memberOf(t, topic, handler, { brokers: [login], clientOptions: sasl('ash', 'pikachu') })
    await topics.write(topic, 0, 'a')
    await handler.until(() => handler.counted.length === 1)
  })

  test('with a wrong password ends the reader with the reason', async (t) => {
    const source = memberOf(t, await newTopic(1), new FakeHandler(), { brokers: [login], clientOptions: sasl('ash', 'raichu') })
    await assert.rejects(source.ended, isRefused(/refused the login/))
  })
})
