/** The embedded Kafka: real brokers that keep their data, can be started again, and end with the process that started them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Admin, Consumer, type Producer as KafkaProducer, ListOffsetTimestamps, ProduceAcks, Producer } from '@platformatic/kafka'
import { freePort } from '../free-port.ts'
import { answersApiVersions } from '../kafka/readiness.ts'
import { onFreePorts, PortTaken, startCluster, startKafka } from '../kafka.ts'

/** Folders of brokers, removed at the end, when all brokers have stopped. */
const folders: string[] = []
after(async () => {
  for (const each of folders) await rm(each, { recursive: true, force: true })
})

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'kafka-'))
  folders.push(made)
  return made
}

describe('one broker', () => {
  test('keeps its topics and records after a stop, a kill, and a start by another process', async (t) => {
    const dir = await folder()
    const first = await startKafka({ dir })
    t.after(() => first.kill())
    assert.equal(first.brokers, `localhost:${first.port}`)
    await createTopic(first.brokers, 'kept', 1, 1)
    await send(first.brokers, 'kept', 'one')
    await first.stop()
    assert.equal(first.running, false)
    assert.equal(await answersApiVersions(first.port), false)

    await first.restart()
    await send(first.brokers, 'kept', 'two')
    await first.kill()
    assert.equal(first.running, false)

    const second = await startKafka({ dir })
    t.after(() => second.kill())
    assert.equal(await endOf(second.brokers, 'kept'), 2)
  })

  test('creates no topic by itself, accepts settings, and is not mistaken for another one on its port', async (t) => {
    const dir = await folder()
    const kafka = await startKafka({ dir, config: { 'message.max.bytes': 4711 } })
    t.after(() => kafka.kill())
    await assert.rejects(endOf(kafka.brokers, 'typo'))
    const settings = await readFile(join(dir, 'server.properties'), 'utf8')
    assert.match(settings, /^message\.max\.bytes=4711$/m)
    assert.match(settings, /^listeners=PLAINTEXT:\/\/127\.0\.0\.1:\d+,CONTROLLER:\/\/127\.0\.0\.1:\d+$/m)
    await assert.rejects(startKafka({ dir: await folder(), port: kafka.port }), PortTaken)
    assert.equal(kafka.running, true)
  })

  test('that cannot start says why, and quotes its log', async (t) => {
    const dir = await folder()
    const port = await freePort()
    const squatter = createServer().listen(port, '127.0.0.1')
    t.after(() => squatter.close())
    await once(squatter, 'listening')
    await assert.rejects(startKafka({ dir, port }), (error: Error) => {
      assert.match(
        error.message,
        new RegExp(`^Kafka on port ${port} ended before it answered\\. Its log is .*kafka\\.log, whose last errors are:\n`),
      )
      assert.match(error.message, /Address already in use/)
      return true
    })
  })

  test('is tried again on other ports if another program has taken one of them meanwhile, and for no other reason', async () => {
    const tried: number[][] = []
    const start = async (...ports: number[]) => {
      tried.push(ports)
      if (tried.length === 1) throw new PortTaken('Kafka ended before it answered')
      return 'started'
    }
    assert.equal(await onFreePorts(3, start), 'started')
    assert.equal(new Set(tried.flat()).size, 6)
    const broken = new Error('Kafka ended before it answered')
    await assert.rejects(
      onFreePorts(1, () => Promise.reject(broken)),
      broken,
    )
  })

  test('ends with the process that started it, even if that is killed', async () => {
    const dir = await folder()
    const module = new URL('../kafka.ts', import.meta.url).href
    const script =
      `const { startKafka } = await import(${JSON.stringify(module)})\n` +
      `const kafka = await startKafka({ dir: ${JSON.stringify(dir)} })\n` +
      'console.log(JSON.stringify({ pid: kafka.pid, port: kafka.port })); setInterval(() => {}, 1000)'
    const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = await once(starter.stdout, 'data')
    const { pid, port } = JSON.parse(String(line)) as { pid: number; port: number }
    assert.equal(await answersApiVersions(port), true)
    starter.kill('SIGKILL')
    await once(starter, 'exit')
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20))
  })
})

test('a cluster of three keeps a replicated topic when one broker is killed, and the broker can rejoin', async (t) => {
  const cluster = await startCluster(3, { dir: await folder() })
  t.after(() => cluster.stop())
  await createTopic(cluster.brokers, 'replicated', 1, 3)
  await send(cluster.brokers, 'replicated', 'one')
  const [victim, ...others] = cluster.nodes
  assert.ok(victim)
  await victim.kill()
  const rest = others.map((node) => node.brokers).join(',')
  await send(rest, 'replicated', 'two')
  await victim.restart()
  // A send that was retried can be in the log twice.
  assert.ok((await endOf(cluster.brokers, 'replicated')) >= 2)
})

async function createTopic(brokers: string, topic: string, partitions: number, replicas: number): Promise<void> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: brokers.split(',') })
  await admin.createTopics({ topics: [topic], partitions, replicas })
  await admin.close()
}

/** Sends until a send is acknowledged: after a kill the partition needs a new leader first. */
async function send(brokers: string, topic: string, value: string): Promise<void> {
  for (const deadline = performance.now() + 60_000; ; ) {
    const producer: KafkaProducer = new Producer({ clientId: 'test', bootstrapBrokers: brokers.split(','), retries: 0, timeout: 5000 })
    try {
      await producer.send({ messages: [{ topic, value: Buffer.from(value), partition: 0 }], acks: ProduceAcks.ALL })
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
    } finally {
      await producer.close(true)
    }
  }
}

async function endOf(brokers: string, topic: string): Promise<number> {
  const client = new Consumer({ clientId: 'test', groupId: 'none', bootstrapBrokers: brokers.split(','), retries: 0 })
  try {
    const ends = await client.listOffsets({ topics: [topic], timestamp: ListOffsetTimestamps.LATEST })
    return Number(ends.get(topic)?.[0])
  } finally {
    await client.close(true)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
