/** The group reader on three brokers, while one of them is killed or frozen: a leader, the group's coordinator, or the only replica of a partition. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin, Consumer } from '@platformatic/kafka'
import { type Cluster, type Kafka, startCluster } from '@poke-api-pipeline/dev'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { figure, LONG, patience } from '../fault-run.ts'
import { Fetching } from '../fetching.ts'
import { Topics } from '../topics.ts'

const PARTITIONS = 6
const SESSION = 6000
/** Within this time every partition is read again, in ms. */
const RECOVERY = patience(30_000)
/** Three brokers that are killed and started take minutes. */
const IN_FULL = { skip: LONG ? false : 'in full only: make test-faults' }

const dir = mkdtempSync(join(tmpdir(), 'fetch-cluster-'))
let cluster: Cluster
let topics: Topics
let count = 0
/** Topics with replicas on every broker. */
const made: string[] = []

before(async () => {
  cluster = await startCluster(3, {
    dir,
    config: { 'min.insync.replicas': 2, 'offsets.topic.replication.factor': 3, 'offsets.topic.num.partitions': 3 },
  })
  topics = new Topics(cluster.brokers)
})
after(async () => {
  await topics.close()
  await cluster.stop()
  rmSync(dir, { recursive: true })
})

const brokers = () => cluster.brokers.split(',')
const node = (id: number) => cluster.nodes[id - 1] as Kafka

const frozen = new Set<Kafka>()

async function freeze(broker: Kafka): Promise<void> {
  frozen.add(broker)
  await broker.kill('SIGSTOP')
}

async function thaw(broker: Kafka): Promise<void> {
  frozen.delete(broker)
  await broker.kill('SIGCONT')
}

interface Reading {
  readonly topic: string
  readonly members: readonly Fetching[]
  readonly handler: FakeHandler
  /** Sends a record to every partition, and waits until it is read. */
  everything(): Promise<void>
}

async function reading(t: TestContext, howMany: number): Promise<Reading> {
  const topic = `cluster-${++count}`
  await topics.make(topic, PARTITIONS, {}, 3)
  made.push(topic)
  const handler = new FakeHandler()
  const members = Array.from(
    { length: howMany },
    () => new Fetching({ brokers: brokers(), topic, groupId: topic, sessionTimeout: SESSION }, handler),
  )
  t.after(() => Promise.all(members.map((member) => member.stop())))
  for (const member of members) await member.until(() => member.assigned.length === PARTITIONS / howMany)
  let round = 0
  const everything = async () => {
    round++
    for (let partition = 0; partition < PARTITIONS; partition++) await written(topic, partition, `round ${round}`)
    const wanted = Array.from({ length: round }, (_, i) => `round ${i + 1}`)
    await handler.until(() =>
      Array.from({ length: PARTITIONS }, (_, partition) => handler.values(partition)).every((values) => new Set(values).size === round),
    )
    for (let partition = 0; partition < PARTITIONS; partition++) assert.deepEqual([...new Set(handler.values(partition))], wanted)
  }
  await everything()
  await untilInSync()
  return { topic, members, handler, everything }
}

/** Waits until every replica of what was made so far is in sync: a broker that was just started cannot replace the next one before that. */
async function untilInSync(): Promise<void> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: brokers() })
  try {
    for (;;) {
      const { topics } = await admin.metadata({ topics: made, forceUpdate: true })
      const partitions = [...topics.values()].flatMap((topic) => topic.partitions)
      if (partitions.length > 0 && partitions.every(({ isr, replicas }) => isr.length === replicas.length)) return
      await sleep(100)
    }
  } finally {
    await admin.close()
  }
}

/** Sends until it is acknowledged, through brokers that are not frozen. A record that arrives twice does not matter. */
async function written(topic: string, partition: number, value: string): Promise<void> {
  for (;;) {
    const answering = cluster.nodes.filter((each) => !frozen.has(each)).map((each) => each.brokers)
    const writer = new Topics(answering.join(','))
    try {
      return await writer.write(topic, partition, value)
    } catch (error) {
      if (!/Producing messages failed|timed out|Connection|failed \d+ times/.test(String(error))) throw error
    } finally {
      await writer.close()
    }
  }
}

async function within(what: string, work: Promise<void>): Promise<void> {
  const began = performance.now()
  await work
  const took = performance.now() - began
  assert.ok(took < RECOVERY, `${what}: it took ${Math.round(took)} ms, with ${RECOVERY} allowed`)
  figure('three brokers', `${what}: every partition read again after ${(took / 1000).toFixed(1)} s`)
}

/** The node that coordinates a group. */
async function coordinatorOf(groupId: string): Promise<number> {
  const consumer = new Consumer({ clientId: 'test', groupId, bootstrapBrokers: brokers() })
  const coordinator = await consumer.findGroupCoordinator()
  await consumer.close()
  return coordinator
}

describe('the group reader on a cluster', () => {
  test('goes on when a leader is killed, and when it is back', async (t) => {
    const { topic, everything } = await reading(t, 1)
    const leader = node(await topics.leaderOf(topic, 0))
    await leader.kill()
    await within('a leader was killed', everything())
    await leader.restart()
    await within('it is back', everything())
  })

  test('goes on when a leader is frozen, and when it is thawed', IN_FULL, async (t) => {
    const { topic, everything } = await reading(t, 1)
    const leader = node(await topics.leaderOf(topic, 0))
    await freeze(leader)
    t.after(() => thaw(leader))
    await within('a leader was frozen', everything())
    await thaw(leader)
    await within('it was thawed', everything())
  })

  test('goes on when the group’s coordinator is killed', IN_FULL, async (t) => {
    const { topic, everything } = await reading(t, 2)
    const coordinator = node(await coordinatorOf(topic))
    await coordinator.kill()
    await within('the coordinator was killed', everything())
    await coordinator.restart()
    await within('the coordinator is back', everything())
  })

  test('goes on when the coordinator freezes in the middle of a rebalance, and when it is thawed', IN_FULL, async (t) => {
    const { topic, members, handler, everything } = await reading(t, 2)
    const coordinator = node(await coordinatorOf(topic))
    const third = new Fetching({ brokers: brokers(), topic, groupId: topic, sessionTimeout: SESSION }, handler)
    t.after(() => third.stop())
    await freeze(coordinator)
    t.after(() => thaw(coordinator))
    const all = [...members, third]
    const hasItsShare = ({ assigned }: Fetching) => assigned.length === PARTITIONS / all.length
    const shared = async () => {
      // Each member knows only its own partitions, and may lose them again while another member is waited for.
      while (!all.every(hasItsShare)) for (const member of all) await member.until(() => hasItsShare(member))
    }
    await within('the coordinator was frozen in a rebalance', shared())
    // The brokers need a while until they acknowledge without the frozen one, which is not measured.
    await everything()
    await thaw(coordinator)
    await within('the coordinator was thawed', everything())
  })

  test('goes on through a rolling restart', IN_FULL, async (t) => {
    const { everything } = await reading(t, 2)
    for (const each of cluster.nodes) {
      await each.restart()
      await within('a broker was restarted in turn', everything())
    }
  })

  test('reads the other partitions when one has no leader', IN_FULL, async (t) => {
    const topic = `cluster-${++count}`
    // Without replicas: each partition is on one broker only.
    await topics.make(topic, PARTITIONS, { 'min.insync.replicas': '1' }, 1)
    const leaders = await Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => topics.leaderOf(topic, partition)))
    const lost = leaders[0] as number
    const other = leaders.findIndex((leader) => leader !== lost)
    assert.ok(other > 0, 'all partitions are on one broker')
    await topics.write(topic, 0, 'a')
    await topics.write(topic, other, 'b')
    await node(lost).kill()
    const handler = new FakeHandler()
    const fetching = new Fetching({ brokers: brokers(), topic, groupId: topic, sessionTimeout: SESSION }, handler)
    t.after(() => fetching.stop())
    await fetching.until(() => fetching.reports.some((event) => /partition .* has no leader/.test(event)))
    await handler.until(() => handler.values(other).length > 0)
    assert.deepEqual(handler.values(0), [])
    await node(lost).restart()
    await handler.until(() => handler.values(0).length > 0)
    await fetching.until(() => fetching.reports.at(-1) === 'back')
    assert.deepEqual(
      fetching.reports.filter((event) => event.startsWith('assigned')),
      ['assigned 0 1 2 3 4 5'],
    )
  })
})
