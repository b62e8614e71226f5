/**
 * Offsets without a record. Producers, transactions, retries and elections leave none: each offset of a log has a record or a marker. So a hole
 * means that records were removed from within the log. Records that compaction removed are reported with their number, also after the topic
 * is no longer compacted, and the remaining ones are counted.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Producer } from '@platformatic/kafka'
import { type Kafka, startCluster } from '@poke-api-pipeline/dev'
import { TopicReader } from '@poke-api-pipeline/kafka-reader'
import { batchOf } from '@poke-api-pipeline/kafka-reader/testing/batch-builder'
import { systemClock } from '@poke-api-pipeline/service-kit'
import { ConsumerProcess } from '../consumer-process.ts'
import { assertPublished } from '../exactly-once.ts'
import { RawProducer } from '../raw-producer.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const PATIENCE = 300_000
/** Brokers notice after 9 s that a leader was killed; where it led the controllers too, these elect their own leader first. In ms. */
const ELECTED_WITHIN = 60_000
const RETRY_DELAY = 200
const servers = serversOfFile('log-holes')
const value = (type: string) => Buffer.from(JSON.stringify({ types: [{ type: { name: type } }] }))

interface Read {
  readonly records: number
  readonly end: number
  readonly holes: readonly (readonly [from: number, to: number])[]
}

/** Reads partition 0 to its readable end. */
async function readThrough(t: TestContext, brokers: string, topic: string): Promise<Read> {
  const reader = new TopicReader({
    brokers: brokers.split(','),
    topic,
    clientId: 'test',
    limits: { maxBytes: 1 << 20, maxWait: 200 },
    clock: systemClock(),
  })
  t.after(() => reader.close())
  const end = (await reader.describe()).partitions[0]?.readableEndOffset ?? 0
  const holes: [number, number][] = []
  let records = 0
  const add = () => void records++
  assert.equal(
    await reader.read(
      0,
      0,
      end,
      add,
      () => {},
      (from, to) => holes.push([from, to]),
    ),
    null,
  )
  return { records, end, holes }
}

function messages(topic: string, count: number) {
  return Array.from({ length: count }, (_, i) => ({ topic, partition: 0, key: Buffer.from(String(i)), value: value('grass') }))
}

test('committed, aborted and open transactions, idempotent producers and refused batches leave no hole', async (t) => {
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  t.after(() => topics.close())
  await topics.make('ordinary', 1, { 'message.timestamp.after.max.ms': '1000' })
  const options = { clientId: 'test', bootstrapBrokers: brokers.split(',') }
  const idempotent = new Producer({ ...options, idempotent: true })
  const transactional = new Producer({ ...options, idempotent: true, transactionalId: 'test' })
  const raw = await RawProducer.connect(brokers)
  t.after(async () => {
    raw.close()
    await Promise.all([idempotent.close(true), transactional.close(true)])
  })
  let [written, markers] = [0, 0]
  for (let round = 0; round < 10; round++) {
    await idempotent.send({ messages: messages('ordinary', 1 + round), acks: -1 })
    const transaction = await transactional.beginTransaction()
    await transaction.send({ messages: messages('ordinary', 5), acks: -1 })
    if (round % 2 === 0) await transaction.commit()
    else await transaction.abort()
    written += 1 + round + (round % 2 === 0 ? 5 : 0)
    markers++
    // An idempotent producer sends one batch twice; two others are refused, for a timestamp too far ahead and for a wrong sequence.
    const batch = {
      producerId: 77n,
      producerEpoch: 0,
      baseSequence: 2 * round,
      records: [{ value: value('fire') }, { value: value('fire') }],
    }
    const ahead = { baseTimestamp: Date.now() + 86_400_000, records: [{ value: value('fire') }] }
    const first = await raw.send('ordinary', 0, batchOf({ ...batch, baseTimestamp: Date.now() }))
    assert.notEqual(first, null)
    assert.equal(await raw.send('ordinary', 0, batchOf({ ...batch, baseTimestamp: Date.now() })), first)
    assert.equal(await raw.send('ordinary', 0, batchOf(ahead)), null)
    assert.equal(await raw.send('ordinary', 0, batchOf({ ...batch, baseSequence: 999, baseTimestamp: Date.now() })), null)
    written += 2
  }
  const { records, end, holes } = await readThrough(t, brokers, 'ordinary')
  assert.deepEqual([records, end, holes], [written, written + markers + 25, []])
})

test('a killed leader whose successor is behind leaves no hole', async (t) => {
  const cluster = await startCluster(3, { dir: join(servers.dir, 'cluster'), config: { 'replica.lag.time.max.ms': 3000 } })
  t.after(() => cluster.stop())
  const topics = new Topics(cluster.brokers)
  t.after(() => topics.close())
  const settings = { 'unclean.leader.election.enable': 'true', 'min.insync.replicas': '1' }
  await topics.make('elections', 1, settings, 3)
  const producer = new Producer({
    clientId: 'test',
    bootstrapBrokers: cluster.brokers.split(','),
    retries: ELECTED_WITHIN / RETRY_DELAY,
    retryDelay: RETRY_DELAY,
    requestTimeout: 3000,
  })
  t.after(() => producer.close(true))
  let [batchesSent, acknowledged] = [0, 0]
  const send = async (batches: number) => {
    for (let i = 0; i < batches; i++) {
      const sent = messages('elections', 1 + (i % 7))
      await producer.send({ messages: sent, acks: 1 })
      acknowledged += sent.length
      batchesSent++
    }
  }
  for (const _ of cluster.nodes) {
    await send(20)
    const leader = cluster.nodes[(await topics.leaderOf('elections', 0)) - 1] as Kafka
    const followers = cluster.nodes.filter((node) => node !== leader)
    // Only the leader has what it acknowledges now, until it is killed while more is sent.
    for (const follower of followers) await follower.kill('SIGSTOP')
    await send(20)
    const killed = leader.kill()
    for (const follower of followers) await follower.kill('SIGCONT')
    await send(20)
    await killed
    await leader.restart()
    await topics.untilThereIs('elections', 1)
  }
  const { records, end, holes } = await readThrough(t, cluster.brokers, 'elections')
  t.diagnostic(`${records} records are left of ${acknowledged} that were acknowledged`)
  assert.ok(records > batchesSent)
  assert.ok(records < acknowledged, 'no successor was behind')
  assert.deepEqual([end, holes], [records, []])
})

test('log, readiness and verify report the number of records that compaction removed; with continue the rest is counted', async (t) => {
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  t.after(() => topics.close())
  const topic = 'compacted'
  await topics.make(topic, 1, {
    'cleanup.policy': 'compact',
    'segment.ms': '100',
    'min.cleanable.dirty.ratio': '0.001',
    'min.compaction.lag.ms': '0',
    'max.compaction.lag.ms': '1',
  })
  const producer = new Producer({ clientId: 'test', bootstrapBrokers: brokers.split(','), idempotent: true })
  t.after(() => producer.close(true))
  // 40 keys again and again, in batches of several records, so that some records of a batch stay.
  for (let round = 0; round < 30; round++) await producer.send({ messages: messages(topic, 10 + round), acks: -1 })
  for (const deadline = performance.now() + PATIENCE; ; ) {
    if ((await readThrough(t, brokers, topic)).holes.length > 0) break
    assert.ok(performance.now() < deadline, 'the broker has not compacted the topic')
    // The next record closes a segment.
    await producer.send({ messages: messages(topic, 1), acks: -1 })
    await sleep(200)
  }
  await topics.set(topic, 'cleanup.policy', 'delete')
  let read = await readThrough(t, brokers, topic)
  for (;;) {
    await sleep(500)
    const again = await readThrough(t, brokers, topic)
    if (again.records === read.records) break
    read = again
  }
  const missing = read.holes.reduce((sum, [from, to]) => sum + to - from, 0)
  t.diagnostic(`${read.end} offsets, ${read.records} records left, ${read.holes.length} holes of ${missing} offsets`)
  assert.equal(read.records + missing, read.end)

  const dir = join(servers.dir, topic)
  mkdirSync(dir)
  const env = { KAFKA_GROUP_ID: topic }
  const stopping = await ConsumerProcess.start({ brokers, topic, dir, env: { ...env, ON_DATA_LOSS: 'stop' } })
  t.after(() => stopping.end('SIGKILL'))
  const [from, to] = read.holes[0] as readonly [number, number]
  const says = new RegExp(`${to - from} offsets? within the log ha(ve|s) no record: ${from}`)
  await untilSo(
    async () => says.test((await stopping.reasons()).join()),
    () => stopping.output,
  )
  await stopping.end('SIGTERM')

  const going = await ConsumerProcess.start({ brokers, topic, dir, env: { ...env, ON_DATA_LOSS: 'continue' } })
  t.after(() => going.end('SIGKILL'))
  await assertPublished(going, { grass: read.records })
  await untilSo(
    async () => (await going.metric('poke_gaps_total{kind="missing"}')) === read.holes.length,
    () => going.output,
  )
  assert.deepEqual(await going.reasons(), [])
  const { exitCode, out, error } = await going.command('verify')
  assert.equal(exitCode, 2, `${out}${error}`)
  assert.match(`${out}${error}`, new RegExp(`${missing} offsets had no record when they were to be counted`))
})

async function untilSo(holds: () => Promise<boolean>, output: () => string): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; !(await holds()); await sleep(50)) {
    assert.ok(performance.now() < deadline, output())
  }
}
