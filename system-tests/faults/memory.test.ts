/**
 * The consumer with 512 MB, whatever is on its topic: batches of every codec that decompress to more than the bound stop only their own partitions, with a
 * message; batches within the bound are counted; and liveness answers meanwhile.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ProduceAcks, Producer } from '@platformatic/kafka'
import { busyness } from '../busyness.ts'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished } from '../exactly-once.ts'
import { figure, LONG } from '../fault-run.ts'
import { MemoryGroup, NO_MEMORY_GROUPS } from '../memory-group.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const MIB = 1024 * 1024
const MEMORY = 512 * MIB
const PATIENCE = 120_000
/** Pause between two probes, in ms. */
const PROBE_INTERVAL = 250
/** Within this time, in ms, a probe is answered on a machine that is not busy. */
const LIVE_WITHIN = 1000

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
type Codec = (typeof CODECS)[number]

const servers = serversOfFile('memory')

/** Sends a value of that many spaces to a partition, in a batch of its own. */
async function sendSpaces(topic: string, partition: number, compression: Codec, bytes: number, times = 1): Promise<void> {
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({
    clientId: 'spaces',
    bootstrapBrokers: [servers.kafka.brokers],
    compression,
    requestTimeout: 60_000,
  })
  const value = Buffer.alloc(bytes, ' ')
  try {
    for (let i = 0; i < times; i++) {
      await producer.send({ messages: [{ topic, partition, key: Buffer.from('key'), value }], acks: ProduceAcks.ALL })
    }
  } finally {
    await producer.close()
  }
}

/** A consumer of the topic with a bound on its memory, and a measurement of it. */
async function limitedConsumer(t: TestContext, topic: string, env: Readonly<Record<string, string>> = {}) {
  const group = new MemoryGroup(topic, MEMORY)
  const dir = join(servers.dir, topic)
  mkdirSync(dir)
  const { brokers } = servers.kafka
  const consumer = await ConsumerProcess.start({ brokers, topic, dir, env: { KAFKA_GROUP_ID: topic, ...env }, launcher: group.launcher })
  t.after(async () => {
    await consumer.end('SIGKILL')
    group.remove()
  })
  return { consumer, group }
}

/** Probes liveness until `stop` is called. That returns the longest time of an answer, in ms, as it would be on an idle machine. */
function probing(consumer: ConsumerProcess): { stop(): Promise<number> } {
  let slowest = 0
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      const before = performance.now()
      await answerOf(`${consumer.url}/health/live`)
      slowest = Math.max(slowest, (performance.now() - before) / busyness())
      await sleep(PROBE_INTERVAL)
    }
  })()
  return {
    async stop() {
      stopped = true
      await running
      return slowest
    },
  }
}

/** Probes once, on a connection of its own. @throws if there is no answer */
function answerOf(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false }, (response) => response.resume().on('end', resolve))
    request.on('error', reject)
  })
}

async function until(consumer: ConsumerProcess, what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; ; await sleep(100)) {
    assert.ok(consumer.running, `the consumer has ended before ${what}:\n${consumer.output.slice(-5000)}`)
    if (await condition()) return
    assert.ok(performance.now() < deadline, `not ${what} after ${PATIENCE} ms:\n${consumer.output.slice(-5000)}`)
  }
}

test('batches of every codec beyond the bound stop only their own partitions', async (t) => {
  if (NO_MEMORY_GROUPS !== null) return t.skip(NO_MEMORY_GROUPS)
  const topic = 'bombs'
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  t.after(() => topics.close())
  // The feed's events go to the first partition only; the batches go to the others.
  const feed = await EventFeed.create({ brokers, topic, partitions: 1 + CODECS.length })
  t.after(() => feed.close())
  feed.partitions = 1
  await topics.set(topic, 'max.message.bytes', String(96 * MIB))
  for (const [i, codec] of CODECS.entries()) await sendSpaces(topic, i + 1, codec, (LONG ? 80 : 40) * MIB)
  await feed.send(500)
  const { consumer, group } = await limitedConsumer(t, topic)
  const probes = probing(consumer)
  await until(consumer, 'all five partitions are left alone', async () => {
    const stopped = await Promise.all(CODECS.map((_, i) => consumer.metric(`poke_partition_stopped{partition="${i + 1}"}`)))
    return stopped.every((value) => value === 1)
  })
  await feed.send(500)
  await assertPublished(consumer, feed.counts)
  const slowest = await probes.stop()
  const said = (await consumer.reasons()).join()
  for (const [i, codec] of CODECS.entries()) {
    const size = codec === 'none' ? 'has \\d+ bytes, more' : 'decompresses to more bytes'
    const how = `partition ${i + 1} is stopped: 1 offset cannot be read, from 0 to 0: the batch at offset 0 ${size} than BATCH_MAX_BYTES allows`
    assert.match(said, new RegExp(how), codec)
  }
  assert.ok(slowest < LIVE_WITHIN, `a liveness probe was answered after ${slowest} ms`)
  const { exitCode, out } = await consumer.command('verify')
  assert.equal(exitCode, 2, out)
  figure('memory, five bombs', `${Math.round(group.peak / MIB)} MiB at the peak, liveness within ${Math.round(slowest)} ms`)
})

test('with ON_DATA_LOSS=continue the gaps are recorded, and records behind them are counted', async (t) => {
  if (NO_MEMORY_GROUPS !== null) return t.skip(NO_MEMORY_GROUPS)
  const topic = 'bombs-passed'
  const { brokers } = servers.kafka
  const feed = await EventFeed.create({ brokers, topic, partitions: 2 })
  t.after(() => feed.close())
  await feed.send(10)
  await sendSpaces(topic, 0, 'zstd', 100 * MIB, 2)
  await feed.send(10)
  const { consumer } = await limitedConsumer(t, topic, { ON_DATA_LOSS: 'continue' })
  await assertPublished(consumer, feed.counts)
  assert.equal(await consumer.metric('poke_gaps_total{kind="batch-too-large"}'), 2)
  assert.ok(consumer.running)
  const { exitCode, out } = await consumer.command('verify')
  assert.deepEqual([exitCode, out.split('.')[0]], [0, 'verify: equal'], out)
})

test('batches of the greatest allowed size are counted, one after the other, in every partition', async (t) => {
  if (NO_MEMORY_GROUPS !== null) return t.skip(NO_MEMORY_GROUPS)
  const topic = 'nearly-bombs'
  const partitions = LONG ? 12 : 4
  const each = LONG ? 10 : 3
  const { brokers } = servers.kafka
  const feed = await EventFeed.create({ brokers, topic, partitions })
  t.after(() => feed.close())
  for (let i = 0; i < partitions; i++) await sendSpaces(topic, i, 'zstd', 31 * MIB, each)
  await feed.send(500)
  const { consumer, group } = await limitedConsumer(t, topic)
  const probes = probing(consumer)
  await assertPublished(consumer, feed.counts)
  const slowest = await probes.stop()
  assert.equal(await consumer.metric('poke_dead_letters_total{reason="too-large"}'), partitions * each)
  assert.ok(slowest < LIVE_WITHIN, `a liveness probe was answered after ${slowest} ms`)
  const size = `${partitions * each} batches of 31 MiB`
  figure(`memory, ${size}`, `${Math.round(group.peak / MIB)} MiB at the peak, liveness within ${Math.round(slowest)} ms`)
})

test('type names are counted up to the bound, and the partition stops in front of a record with one more', async (t) => {
  if (NO_MEMORY_GROUPS !== null) return t.skip(NO_MEMORY_GROUPS)
  const topic = 'many-types'
  const most = LONG ? 100_000 : 3000
  const topics = new Topics(servers.kafka.brokers)
  t.after(() => topics.close())
  await topics.make(topic, 2)
  const event = (type: string) => JSON.stringify({ id: 1, name: 'x', types: [{ slot: 1, type: { name: type } }] })
  for (let sent = 0; sent < most + 10; sent += 1000) {
    await topics.write(topic, 0, ...Array.from({ length: Math.min(1000, most + 10 - sent) }, (_, i) => event(`type-${sent + i}`)))
  }
  const { consumer, group } = await limitedConsumer(t, topic, LONG ? {} : { TYPE_MAX_COUNT: String(most) })
  const probes = probing(consumer)
  await until(consumer, 'the partition is stopped', async () => (await consumer.metric('poke_partition_stopped{partition="0"}')) === 1)
  await topics.write(topic, 1, event('type-7'), event('type-8'))
  const expected = Object.fromEntries(Array.from({ length: most }, (_, i) => [`type-${i}`, i === 7 || i === 8 ? 2 : 1]))
  await assertPublished(consumer, expected)
  const slowest = await probes.stop()
  const known = most.toLocaleString('en')
  assert.match(
    (await consumer.reasons()).join(),
    new RegExp(`the record at offset ${most} has a new type name, and ${known} names are known already, as many as TYPE_MAX_COUNT allows`),
  )
  assert.ok(slowest < LIVE_WITHIN, `a liveness probe was answered after ${slowest} ms`)
  assert.equal((await consumer.command('verify')).exitCode, 2)
  figure(`memory, ${most} types`, `${Math.round(group.peak / MIB)} MiB at the peak, liveness within ${Math.round(slowest)} ms`)
})
