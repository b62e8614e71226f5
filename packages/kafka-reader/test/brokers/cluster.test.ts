/** Requests to the cluster, whose scripted brokers are old, break connections or fall silent. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { Reader, Writer } from '@platformatic/kafka'
import { BrokerConnection } from '../../src/brokers/broker-connection.ts'
import { Cluster } from '../../src/brokers/cluster.ts'
import { KafkaError, type KafkaErrorKind } from '../../src/errors.ts'
import { METADATA, metadata, ScriptedBroker } from '../scripted-broker.ts'

const TOPIC_ID = '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d'

async function scripted(t: TestContext): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start()
  t.after(() => broker.stop())
  const leader = { leader: 1, leaderEpoch: 7 }
  broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [{ node: 1, port: broker.port }], [leader, leader]))
  return broker
}

function clusterOf(t: TestContext, brokers: readonly string[], requestTimeout = 60_000): Cluster {
  const cluster = new Cluster({ brokers, topic: 'poke-topic', clientId: 'test', requestTimeout })
  t.after(() => cluster.disconnect())
  return cluster
}

const isA = (kind: KafkaErrorKind, words: RegExp) => (error: unknown) =>
  error instanceof KafkaError && error.kind === kind && words.test(error.message)

describe('versions', () => {
  test('the newest version of Fetch that both sides support is used', async (t) => {
    const broker = await scripted(t)
    assert.equal(await clusterOf(t, [broker.name]).fetchVersion(null), 17)
    broker.understands([1, 0, 14], [METADATA, 0, 12])
    assert.equal(await clusterOf(t, [broker.name]).fetchVersion(null), 14)
    broker.understands([1, 4, 99], [METADATA, 0, 12])
    assert.equal(await clusterOf(t, [broker.name]).fetchVersion(null), 17)
  })

  test('a broker without topic ids is too old, which is not retried', async (t) => {
    const broker = await scripted(t)
    broker.understands([1, 0, 12], [METADATA, 0, 12])
    await assert.rejects(clusterOf(t, [broker.name]).fetchVersion(null), (error: unknown) => {
      assert.ok(
        isA(
          'unsupported-broker',
          /too old: it speaks Fetch from version 0 to 12, and one from 13 to 17 is needed; use Kafka 3.1 or newer/,
        )(error),
      )
      return !(error as KafkaError).retriable && (error as KafkaError).exitCode === 78
    })
  })

  test('a broker without the request for versions, or with old metadata, is too old', async (t) => {
    const broker = await scripted(t)
    broker.isAncient()
    await assert.rejects(clusterOf(t, [broker.name]).fetchVersion(null), isA('unsupported-broker', /use Kafka 3.1 or newer/))
    broker.understands([1, 0, 17], [METADATA, 0, 9])
    await assert.rejects(clusterOf(t, [broker.name]).topic(), isA('unsupported-broker', /use Kafka 3.1 or newer/))
  })
})

describe('the topic', () => {
  test('has an id, and partitions with leaders', async (t) => {
    const broker = await scripted(t)
    const cluster = clusterOf(t, [broker.name])
    const leader = { node: 1, leaderEpoch: 7 }
    assert.deepEqual(await cluster.topic(), { topicId: TOPIC_ID, partitions: [leader, leader] })
    assert.deepEqual(cluster.address(1), { host: '127.0.0.1', port: broker.port })
    assert.throws(() => cluster.address(2), isA('no-leader', /broker 2 is not in the metadata/))
  })

  test('is found although one of its partitions has no leader', async (t) => {
    const broker = await scripted(t)
    const partitions = [
      { leader: -1, leaderEpoch: 3, errorCode: 5 },
      { leader: 1, leaderEpoch: 7 },
    ]
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [{ node: 1, port: broker.port }], partitions))
    assert.deepEqual((await clusterOf(t, [broker.name]).topic())?.partitions, [
      { node: -1, leaderEpoch: 3 },
      { node: 1, leaderEpoch: 7 },
    ])
  })

  test('is null if it does not exist, and an error if this user may not see it', async (t) => {
    const broker = await scripted(t)
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [], [], 3))
    assert.equal(await clusterOf(t, [broker.name]).topic(), null)
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [], [], 29))
    await assert.rejects(clusterOf(t, [broker.name]).topic(), isA('not-authorised', /does not allow topic poke-topic/))
  })
})

describe('a topic is compacted (rule S6)', () => {
  const DESCRIBE_CONFIGS = 32

  for (const [policy, compacted] of [
    ['delete', false],
    ['compact', true],
    ['compact,delete', true],
  ] as const) {
    test(`if its cleanup.policy is ${policy}: ${compacted}`, async (t) => {
      const broker = await scripted(t)
      broker.understands([1, 13, 17], [METADATA, 0, 12], [DESCRIBE_CONFIGS, 1, 4])
      broker.answers.set(DESCRIBE_CONFIGS, () =>
        Writer.create()
          .appendInt32(0)
          .appendArray([policy], (w) =>
            w
              .appendInt16(0)
              .appendString(null)
              .appendInt8(2)
              .appendString('poke-topic')
              .appendArray([policy], (c) =>
                c
                  .appendString('cleanup.policy')
                  .appendString(policy)
                  .appendBoolean(false)
                  .appendInt8(1)
                  .appendBoolean(false)
                  .appendArray([] as number[], (s) => s)
                  .appendInt8(7)
                  .appendString(null),
              ),
          )
          .appendTaggedFields(),
      )
      assert.equal(await clusterOf(t, [broker.name]).isCompacted(), compacted)
    })
  }
})

describe('a broker', () => {
  test('that cannot be reached is skipped', async (t) => {
    const broker = await scripted(t)
    const nobody = createServer().listen(0, '127.0.0.1')
    await once(nobody, 'listening')
    const { port } = nobody.address() as { port: number }
    nobody.close()
    await once(nobody, 'close')
    const cluster = clusterOf(t, [`127.0.0.1:${port}`, broker.name])
    assert.ok(await cluster.topic())
    assert.deepEqual(cluster.answering, { host: '127.0.0.1', port: broker.port })
    await assert.rejects(
      clusterOf(t, [`127.0.0.1:${port}`]).topic(),
      isA('unreachable', /127.0.0.1:\d+ cannot be reached \(connect ECONNREFUSED/),
    )
  })

  test('that closes connections is connected to again', async (t) => {
    const broker = await scripted(t)
    const cluster = clusterOf(t, [broker.name])
    await cluster.topic()
    broker.cut()
    let failures = 0
    // One request can fail before the closed connection is noticed.
    while ((await cluster.topic().catch(() => null)) === null) failures++
    assert.ok(failures <= 1)
  })

  test('that does not answer within the deadline is replaced by another one', async (t) => {
    const [silent, other] = [await scripted(t), await scripted(t)]
    silent.answers.set(METADATA, () => null)
    const cluster = clusterOf(t, [silent.name, other.name], 200)
    await assert.rejects(cluster.topic(), isA('deadline', /looking for the topic took longer than 200 ms/))
    assert.ok(await cluster.topic())
    assert.deepEqual(cluster.answering.port, other.port)
  })

  test('has five seconds to connect, and five for each answer', async (t) => {
    const broker = await scripted(t)
    const open = t.mock.method(BrokerConnection, 'open')
    const cluster = new Cluster({ brokers: [broker.name], topic: 'poke-topic', clientId: 'test' })
    t.after(() => cluster.disconnect())
    await cluster.topic()
    assert.deepEqual(
      open.mock.calls.map(({ arguments: [, { timeout }] }) => timeout),
      [5000],
    )
  })

  test('whose answer cannot be decoded is asked again on another connection', async (t) => {
    const broker = await scripted(t)
    const good = broker.answers.get(METADATA)
    broker.answers.set(METADATA, () => metadata('x', TOPIC_ID, [], []).appendInt32(-1, false))
    const cluster = clusterOf(t, [broker.name])
    await assert.rejects(cluster.topic().then((topic) => assert.notEqual(topic, null)))
    broker.answers.set(METADATA, good as () => ReturnType<typeof metadata>)
    assert.ok(await cluster.topic())
  })

  test('is disconnected at once, even while a request is under way', async (t) => {
    const broker = await scripted(t)
    broker.answers.set(METADATA, () => null)
    const cluster = clusterOf(t, [broker.name])
    const asked = cluster.topic()
    while (!broker.asked.includes(METADATA)) await new Promise(setImmediate)
    cluster.disconnect()
    await assert.rejects(asked, isA('unreachable', /closed/i))
  })
})

describe('the group’s offsets', () => {
  const [OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR] = [8, 9, 10]

  async function coordinated(t: TestContext): Promise<ScriptedBroker> {
    const broker = await scripted(t)
    broker.understands([1, 13, 17], [METADATA, 0, 12], [OFFSET_COMMIT, 0, 8], [OFFSET_FETCH, 0, 8], [FIND_COORDINATOR, 0, 4])
    broker.answers.set(FIND_COORDINATOR, () =>
      Writer.create()
        .appendInt32(0)
        .appendArray([broker.port], (w, port) =>
          w.appendString('group').appendInt32(1).appendString('127.0.0.1').appendInt32(port).appendInt16(0).appendString(null),
        )
        .appendTaggedFields(),
    )
    return broker
  }

  test('are committed with the member’s id and generation, which the coordinator checks', async (t) => {
    const broker = await coordinated(t)
    const asked: unknown[] = []
    let errorCode = 0
    broker.answers.set(OFFSET_COMMIT, (request) => {
      const reader = Reader.from(request)
      reader.skip(8)
      reader.readNullableString(false)
      reader.readTaggedFields()
      const [groupId, generationId, memberId] = [reader.readString(), reader.readInt32(), reader.readString()]
      reader.readNullableString()
      const partitions = (r: Reader) => [r.readInt32(), Number(r.readInt64()), r.readInt32(), r.readNullableString()]
      asked.push({ groupId, generationId, memberId, topics: reader.readArray((r) => [r.readString(), r.readArray(partitions)]) })
      return Writer.create()
        .appendInt32(0)
        .appendArray([0], (w) => w.appendString('poke-topic').appendArray([0], (p) => p.appendInt32(0).appendInt16(errorCode)))
        .appendTaggedFields()
    })
    const member = { groupId: 'group', memberId: 'member-1', generationId: 7 }
    const positions = new Map([[0, { offset: 12, leaderEpoch: 3 }]])
    const cluster = clusterOf(t, [broker.name])
    assert.equal(await cluster.commitOffsets(member, positions, ['whose']), true)
    assert.deepEqual(asked, [{ groupId: 'group', generationId: 7, memberId: 'member-1', topics: [['poke-topic', [[0, 12, 3, 'whose']]]] }])
    // ILLEGAL_GENERATION: the group has rebalanced.
    errorCode = 22
    assert.equal(await cluster.commitOffsets(member, positions, ['whose']), false)
    // OFFSET_METADATA_TOO_LARGE: a broker can be configured to accept less than 4096 bytes.
    errorCode = 12
    asked.length = 0
    await assert.rejects(cluster.commitOffsets(member, positions, ['long', 'short', '']), /OFFSET_METADATA_TOO_LARGE/)
    assert.deepEqual(
      asked.map(({ topics }) => topics),
      ['long', 'short', ''].map((text) => [['poke-topic', [[0, 12, 3, text]]]]),
    )
  })

  test('are returned for the partitions that have one', async (t) => {
    const broker = await coordinated(t)
    const offsets: [partition: number, offset: bigint][] = [
      [0, 600n],
      [1, -1n],
    ]
    broker.answers.set(OFFSET_FETCH, () =>
      Writer.create()
        .appendInt32(0)
        .appendArray([0], (g) =>
          g
            .appendString('group')
            .appendArray([0], (w) =>
              w
                .appendString('poke-topic')
                .appendArray(offsets, (p, [partition, offset]) =>
                  p.appendInt32(partition).appendInt64(offset).appendInt32(4).appendString('whose').appendInt16(0),
                ),
            )
            .appendInt16(0),
        )
        .appendTaggedFields(),
    )
    assert.deepEqual(
      await clusterOf(t, [broker.name]).committedOffsets('group', [0, 1]),
      new Map([[0, { offset: 600, leaderEpoch: 4, metadata: 'whose' }]]),
    )
  })
})

describe('an address that a broker names', () => {
  /** A port of this machine that is not open. */
  async function deadPort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  test('and that cannot be reached is reported with the broker that answered, and the setting to correct', async (t) => {
    const broker = await scripted(t)
    const port = await deadPort()
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [{ node: 1, port }], [{ leader: 1, leaderEpoch: 7 }]))
    const cluster = clusterOf(t, [broker.name])
    await cluster.topic()
    const named = cluster.address(1)
    const words = `Kafka at ${broker.name} answers, and names ${named.host}:${port} .*ECONNREFUSED.*advertised\\.listeners`
    await assert.rejects(cluster.fetchVersion(1), isA('unreachable', new RegExp(words)))
  })

  test('and that is also configured is reported like any broker that cannot be reached', async (t) => {
    const broker = await scripted(t)
    const port = await deadPort()
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [{ node: 1, port }], [{ leader: 1, leaderEpoch: 7 }]))
    const cluster = clusterOf(t, [broker.name, `127.0.0.1:${port}`])
    await cluster.topic()
    await assert.rejects(cluster.fetchVersion(1), isA('unreachable', /^(?!.*advertised).*ECONNREFUSED/))
  })
})
