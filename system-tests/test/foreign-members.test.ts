/** Other programs in the group on a real broker: the service names them and what they read, and counts their partitions once they have left (rule M3). */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { partitionsOf } from '@poke-api-pipeline/kafka-reader/testing/consumer-protocol'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { Fetching } from '../fetching.ts'
import { ForeignMember, type ForeignMemberOptions } from '../foreign-member.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const servers = serversOfFile('foreign-members')
const LIMIT = { timeout: 180_000 }
const PARTITIONS = [0, 1, 2]
const noKcat = spawnSync('kcat', ['-V']).error !== undefined && 'kcat is not installed (Debian: kafkacat)'

/** An instance's group reader on a topic of three partitions. */
async function sourceOf(t: TestContext, topic: string, members = 1) {
  const topics = new Topics(servers.kafka.brokers)
  await topics.make(topic, PARTITIONS.length)
  const handler = new FakeHandler()
  const options = { brokers: [servers.kafka.brokers], topic, groupId: topic, sessionTimeout: 6000 }
  const sources = Array.from({ length: members }, () => new Fetching(options, handler))
  t.after(async () => {
    for (const source of sources) await source.stop().catch(() => {})
    await topics.close()
  })
  const foreign = async (more: Partial<ForeignMemberOptions> = {}) =>
    await ForeignMember.join({ broker: servers.kafka.brokers, groupId: topic, topic, ...more })
  return { topics, handler, sources, source: sources[0] as Fetching, foreign }
}

/** A program of Kafka's distribution as a member of a group. It ends when the test does. */
function java(t: TestContext, program: string, ...args: string[]): ChildProcess {
  const child = spawn('java', ['-XX:TieredStopAtLevel=1', '-Xmx128m', '-cp', servers.kafka.jars, program, ...args], { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  return child
}

/** It leaves the group. */
async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

const well = ({ group }: Fetching) => group?.reasons.length === 0

describe('a program that joins the group', () => {
  test('kcat: readiness, metrics and API name it, verify never says equal, and when it has ended everything is counted', {
    ...LIMIT,
    skip: noKcat,
  }, async (t) => {
    const topic = 'kcat'
    const { brokers } = servers.kafka
    const feed = await EventFeed.create({ brokers, topic, partitions: PARTITIONS.length })
    const env = { KAFKA_GROUP_ID: topic, KAFKA_SESSION_TIMEOUT: '6s' }
    const consumer = await ConsumerProcess.start({ brokers, topic, dir: servers.dir, env })
    const kcat = spawn('kcat', ['-b', brokers, '-X', 'client.id=kcat', '-G', topic, '-q', '-u', topic], { stdio: 'ignore' })
    t.after(async () => {
      kcat.kill('SIGKILL')
      await consumer.end('SIGTERM')
      await feed.close()
    })
    const named = new RegExp(
      `^group: partitions? [0-2](?:, [0-2])? of ${topic} (?:is|are) read by another program in group [^ ]+, client kcat at 127\\.0\\.0\\.1`,
    )
    while (!(await consumer.reasons()).some((reason) => named.test(reason))) await sleep(100)
    assert.equal(await consumer.metric('poke_foreign_members'), 1)
    assert.ok(((await consumer.metric('poke_unread_partitions')) ?? 0) > 0)
    const { unread } = (await (await fetch(`${consumer.url}/api/partitions`)).json()) as { unread: string[] }
    assert.match(`group: ${unread[0]}`, named)
    await feed.send(300)
    const { exitCode, out } = await consumer.command('verify')
    assert.deepEqual([exitCode, out.split('.')[0]], [2, 'verify: unread'], out)
    assert.ok(total(await consumer.published()) < total(feed.counts))
    await end(kcat)
    await assertPublished(consumer, feed.counts)
    await assertVerified(consumer)
    while ((await consumer.reasons()).length > 0) await sleep(100)
    assert.equal(await consumer.metric('poke_unread_partitions'), 0)
    const said = consumer.log.filter(({ msg }) => /another program/.test(msg))
    assert.ok(said.length <= 2, said.map(({ msg }) => msg).join('\n'))
  })

  test('with the client id and the assignor of this service is named by each instance, and keeps its partitions', LIMIT, async (t) => {
    const { topics, handler, sources, foreign } = await sourceOf(t, 'look-alike', 2)
    for (const source of sources) await source.until(() => source.assigned.length > 0)
    const member = await foreign({ clientId: 'poke-api-consumer' })
    for (const source of sources) {
      await source.until(() => source.group?.foreignMembers === 1 && source.group.unread.length === 1)
      assert.match(
        source.group?.reasons[0] ?? '',
        /partition \d of look-alike is read by another program in group \S+, client poke-api-consumer at 127\.0\.0\.1/,
      )
    }
    await member.leave()
    for (const source of sources) await source.until(() => well(source))
    for (const partition of PARTITIONS) await topics.write('look-alike', partition, `of ${partition}`)
    await handler.until(() => handler.counted.length === PARTITIONS.length)
  })

  test(
    'to read another topic too, or one that there is not, has its share of each, and keeps nobody from reading theirs',
    LIMIT,
    async (t) => {
      const topic = 'with-another'
      const { topics, handler, source, foreign } = await sourceOf(t, topic)
      await topics.make('another', 2)
      await source.until(() => source.assigned.length === PARTITIONS.length)
      const member = await foreign({ topics: [topic, 'another', 'not-there'] })
      assert.deepEqual(partitionsOf(member.assignment, 'another'), [0, 1])
      assert.deepEqual(partitionsOf(member.assignment, 'not-there'), [])
      const taken = partitionsOf(member.assignment, topic) ?? []
      await source.until(() => source.group?.unread.length === taken.length)
      assert.deepEqual([...taken, ...source.assigned].sort(), PARTITIONS)
      await member.leave()
      await source.until(() => source.assigned.length === PARTITIONS.length)
      const other = await foreign({ topics: ['another'] })
      assert.deepEqual(partitionsOf(other.assignment, 'another'), [0, 1])
      await source.until(() =>
        /client foreign at 127\.0\.0\.1; it reads no partition of with-another now/.test(source.group?.reasons[0] ?? ''),
      )
      for (const partition of PARTITIONS) await topics.write(topic, partition, `of ${partition}`)
      await handler.until(() => handler.counted.length === PARTITIONS.length)
      assert.ok(
        source.reports.every((event) => !event.startsWith('membership lost')),
        source.reports.join('\n'),
      )
      await other.leave()
      await source.until(() => well(source))
    },
  )

  test('and hangs, so that the group waits for it, is named after a session, and when it has left everything is read', LIMIT, async (t) => {
    const { topics, handler, source, foreign } = await sourceOf(t, 'hanging')
    // It is alone in the group, and does not join again when the group asks it to.
    const member = await foreign({ clientId: 'hanging-one', session: 300_000 })
    await source.until(() =>
      /client hanging-one at 127\.0\.0\.1: stop or restart the member that hangs/.test(source.group?.reasons[0] ?? ''),
    )
    await topics.write('hanging', 1, 'waits')
    await member.leave()
    await handler.until(() => handler.counted.length === 1)
    await source.until(() => well(source))
  })

  test('with the newer protocol gets partitions and is named, and other instances are not', { ...LIMIT }, async (t) => {
    if (servers.kafka.jars === '') return t.skip('Kafka runs in a container: its Java client is not at hand')
    const { topics, handler, sources } = await sourceOf(t, 'newer', 2)
    for (const source of sources) await source.until(() => source.assigned.length > 0)
    const newer = ['--consumer-property', 'group.protocol=consumer', '--consumer-property', 'client.id=newer-one']
    const consumer = java(
      t,
      'org.apache.kafka.tools.consumer.ConsoleConsumer',
      '--bootstrap-server',
      servers.kafka.brokers,
      '--topic',
      'newer',
      '--group',
      'newer',
      ...newer,
    )
    for (const source of sources) {
      await source.until(() => source.group?.foreignMembers === 1)
      assert.deepEqual(source.group?.unread.length, 1)
      assert.match(
        source.group?.reasons[0] ?? '',
        /^partition \d of newer is read by another program in group \S+, client newer-one at 127\.0\.0\.1/,
      )
      assert.equal(source.group?.reasons.length, 1)
    }
    await end(consumer)
    for (const source of sources) await source.until(() => well(source))
    for (const partition of PARTITIONS) await topics.write('newer', partition, `of ${partition}`)
    await handler.until(() => handler.counted.length === PARTITIONS.length)
  })
})

describe('a program that keeps this service out of the group', () => {
  const lost = ({ reports }: Fetching) => reports.findLast((event) => /uses group/.test(event)) ?? ''

  test('with another assignor is named, and when it has left the service joins', LIMIT, async (t) => {
    const topics = new Topics(servers.kafka.brokers)
    await topics.make('range', PARTITIONS.length)
    const member = await ForeignMember.join({ broker: servers.kafka.brokers, groupId: 'range', topic: 'range', protocol: 'range' })
    const source = new Fetching({ brokers: [servers.kafka.brokers], topic: 'range', groupId: 'range', sessionTimeout: 6000 })
    t.after(async () => {
      await source.stop().catch(() => {})
      await topics.close()
    })
    await source.until(() => lost(source) !== '')
    assert.match(
      lost(source),
      /another program uses group range with another protocol: its members assign partitions with "range".*client foreign at 127\.0\.0\.1.*give this service a group of its own/,
    )
    await source.until(() => source.group?.foreignMembers === 1)
    await member.leave()
    await source.until(() => source.assigned.length === PARTITIONS.length)
    await source.until(() => well(source))
  })

  test('because the group has workers of another kind is named', LIMIT, async (t) => {
    const topics = new Topics(servers.kafka.brokers)
    await topics.make('workers', PARTITIONS.length)
    const options = {
      broker: servers.kafka.brokers,
      groupId: 'workers',
      topic: 'workers',
      clientId: 'worker-1',
      protocolType: 'connect',
      protocol: 'sessioned',
    }
    const member = await ForeignMember.join(options)
    const source = new Fetching({ brokers: [servers.kafka.brokers], topic: 'workers', groupId: 'workers', sessionTimeout: 6000 })
    t.after(async () => {
      await source.stop().catch(() => {})
      await topics.close()
    })
    await source.until(() => lost(source) !== '')
    assert.match(lost(source), /its members use the protocol "connect" and are not consumers \(client worker-1 at 127\.0\.0\.1\)/)
    await member.leave()
    await source.until(() => source.assigned.length === PARTITIONS.length)
  })

  test('because the group is a share group is named, with how to remove it', { ...LIMIT }, async (t) => {
    if (servers.kafka.jars === '') return t.skip('Kafka runs in a container: its Java client is not at hand')
    const topics = new Topics(servers.kafka.brokers)
    await topics.make('shared', PARTITIONS.length)
    java(
      t,
      'org.apache.kafka.tools.consumer.ConsoleShareConsumer',
      '--bootstrap-server',
      servers.kafka.brokers,
      '--topic',
      'shared',
      '--group',
      'shared',
    )
    const source = new Fetching({ brokers: [servers.kafka.brokers], topic: 'other', groupId: 'shared', sessionTimeout: 6000 })
    t.after(async () => {
      await source.stop().catch(() => {})
      await topics.close()
    })
    // The first member decides the kind of the group: the reader joins once its topic exists.
    while (!(await topics.groups()).includes('shared')) await sleep(100)
    await topics.make('other', PARTITIONS.length)
    await source.until(() => lost(source) !== '')
    assert.match(
      lost(source),
      /uses group shared with another protocol: it is a share group, which stays until it is deleted .*kafka-groups/,
    )
  })
})
