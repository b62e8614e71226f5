/**
 * The running services while their connections to Kafka, PostgreSQL and PokeAPI fail: cut, black-holed, slowed. They go on by themselves, with
 * exact counts and without using more memory. In full runs each fault comes alone; in small runs all connections fail together.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PokeApiServer, servePokeApi } from '@poke-api-pipeline/dev/poke-api-server'
import { SqliteOutbox } from '@poke-api-pipeline/poke-api-producer/sqlite-outbox'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, patience, SEED, seeded } from '../fault-run.ts'
import { Inspector } from '../inspector.ts'
import { type PostgresServer, startPostgres } from '../postgres-server.ts'
import { ProducerProcess } from '../producer-process.ts'
import { type ProxiedKafka, startProxiedKafka } from '../proxied-kafka.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import { topicCaptures } from '../topic-captures.ts'

/** How long a fault lasts: longer than every deadline and session of the services; in ms. */
const FAULT = LONG ? 60_000 : 7_000
const CUTS = LONG ? 30 : 3
/** Bytes a second. */
const SLOW = 1000
/** Within this time after a fault everything goes on, in ms. */
const RECOVERY = patience(30_000)
/** How long the services work before memory is measured for the first time, in ms. */
const WARM_UP = 60_000
const MAX_GROWTH = 16 * 2 ** 20
/** Events a second that are sent without the producer. */
const RATE = LONG ? 500 : 100
const TOPIC = 'poke-topic'

const random = seeded('network')
const dir = mkdtempSync(join(tmpdir(), 'network-'))
let kafka: ProxiedKafka
let postgres: PostgresServer
let postgresProxy: TcpProxy
let api: PokeApiServer
let apiProxy: TcpProxy
let storeUrl: string

before(async () => {
  kafka = await startProxiedKafka(join(dir, 'kafka'))
  postgres = await startPostgres()
  const database = await postgres.createDatabase()
  const { hostname, port } = new URL(database)
  postgresProxy = await TcpProxy.start({ host: hostname, port: Number(port) })
  storeUrl = postgresProxy.urlOf(database)
  // Its answers are fresh only for a moment, so that each capture needs a request.
  api = await servePokeApi({ maxAge: 0 })
  apiProxy = await TcpProxy.start({ host: '127.0.0.1', port: api.port })
})
after(async () => {
  await Promise.all([postgresProxy.stop(), apiProxy.stop()])
  await Promise.all([kafka.stop(), postgres.stop(), api.close()])
  rmSync(dir, { recursive: true })
})

interface Fault {
  readonly name: string
  begin(proxy: TcpProxy): Promise<void>
  end(proxy: TcpProxy): void
}

const FAULTS: readonly Fault[] = [
  {
    name: 'cut',
    async begin(proxy) {
      for (let cut = 0; cut < CUTS; cut++) {
        await sleep(random() * 1000)
        proxy.cut()
      }
    },
    end() {},
  },
  {
    name: 'black-holed',
    async begin(proxy) {
      proxy.hold()
      await sleep(FAULT)
    },
    // Bytes that were sent into it arrive now, long after their senders gave up.
    end: (proxy) => proxy.deliver(),
  },
  {
    name: 'slowed',
    async begin(proxy) {
      proxy.slow(SLOW)
      await sleep(FAULT)
    },
    end: (proxy) => proxy.fast(),
  },
]

test(`connections cut, black-holed and slowed (SEED=${SEED})`, { timeout: 20 * 60_000 }, async (t) => {
  const feed = await EventFeed.create({ brokers: kafka.direct, topic: TOPIC, partitions: 3 })
  t.after(() => feed.close())
  const nodeArguments = ['--inspect=127.0.0.1:0']
  const consumer = await ConsumerProcess.start({
    brokers: kafka.brokers,
    topic: TOPIC,
    dir: join(dir, 'consumer'),
    nodeArguments,
    env: { STORE_URL: storeUrl, ...(LONG ? {} : { KAFKA_SESSION_TIMEOUT: '6s' }) },
  })
  t.after(() => consumer.end('SIGKILL'))
  const dataDir = join(dir, 'producer')
  const producer = await ProducerProcess.start({
    brokers: kafka.brokers,
    topic: TOPIC,
    api: apiProxy.urlOf(api.url),
    dir: dataDir,
    nodeArguments,
    env: { CAPTURE_INTERVAL: '20ms', ...(LONG ? {} : { KAFKA_SEND_TIMEOUT: '3s', POKE_API_TIMEOUT: '3s' }) },
  })
  t.after(() => producer.end('SIGKILL'))
  await producer.answers()
  const services = { consumer: await Inspector.attach(consumer.output), producer: await Inspector.attach(producer.output) }
  // A process does not end while an inspector is connected.
  const lookAway = () => {
    for (const inspector of Object.values(services)) inspector.close()
  }
  t.after(lookAway)
  const feeding = new AbortController()
  const fed = feed.steady(feeding.signal, RATE)
  t.after(() => feeding.abort())

  /** Heap and external memory of each service, in bytes. */
  const memory = async () => {
    const used: Record<string, number> = {}
    for (const [name, inspector] of Object.entries(services)) {
      const { heapUsed, external } = await inspector.memoryInUse()
      used[name] = heapUsed + external
    }
    return used
  }
  /** Waits until everything in the topic is counted, the producer captures and publishes, and both are ready. */
  const goesOn = async (what: string) => {
    const began = performance.now()
    const published = (await producer.metric('poke_published_events_total')) ?? 0
    const captured = (await producer.metric('poke_captures_total')) ?? 0
    const sent = total(feed.counts) + published
    for (;;) {
      const now = {
        counted: total(await consumer.published()),
        published: await producer.metric('poke_published_events_total'),
        captured: await producer.metric('poke_captures_total'),
        reasons: [...(await consumer.reasons()), ...((await producer.reasons()) ?? ['the producer does not answer'])],
      }
      const { counted, reasons } = now
      if (counted > sent && Number(now.published) > published && Number(now.captured) > captured && reasons.length === 0) break
      const after = performance.now() - began
      assert.ok(
        after < RECOVERY,
        `${what}: ${Math.round(after)} ms after its end: ${JSON.stringify({ ...now, sent })}\n${producer.output.slice(-5000)}\n${consumer.output.slice(-5000)}`,
      )
      await sleep(20)
    }
    return performance.now() - began
  }

  await goesOn('the start')
  if (LONG) await sleep(WARM_UP)
  const before = await memory()
  const targets = { Kafka: [kafka.proxy], PostgreSQL: [postgresProxy], PokeAPI: [apiProxy] }
  const turns = LONG ? Object.entries(targets) : [['all', Object.values(targets).flat()] as const]
  let slowest = 0
  let growth = 0
  for (const fault of FAULTS) {
    for (const [name, proxies] of turns) {
      const what = `connections to ${name} ${fault.name}`
      await Promise.all(proxies.map((proxy) => fault.begin(proxy)))
      const during = LONG ? await memory() : before
      for (const proxy of proxies) fault.end(proxy)
      const took = await goesOn(what)
      const afterwards = LONG ? await memory() : before
      for (const service of Object.keys(services)) {
        const more = Math.max(during[service] as number, afterwards[service] as number) - (before[service] as number)
        assert.ok(more <= MAX_GROWTH, `${what}: the ${service} has ${(more / 2 ** 20).toFixed(1)} MB more in use`)
        growth = Math.max(growth, more)
      }
      slowest = Math.max(slowest, took)
      if (LONG) figure(what, `going on after ${(took / 1000).toFixed(1)} s`)
    }
  }
  feeding.abort()
  await fed
  lookAway()
  assert.equal(await producer.end('SIGTERM'), 0, producer.output)
  const outbox = new SqliteOutbox({ dir: dataDir })
  const waiting = outbox.depth
  outbox.close()
  const found = await topicCaptures(kafka.direct, TOPIC)
  assert.equal(found.captures - feed.sent + waiting, producer.captured, 'captures that are in the topic or wait for it, and all there were')
  await assertPublished(consumer, found.types)
  await assertVerified(consumer)
  figure(
    'connections cut, black-holed, slowed',
    `${found.captures} events exact, ${found.duplicates} sent twice; going on within ${(slowest / 1000).toFixed(1)} s; ${
      LONG ? `at most ${(growth / 2 ** 20).toFixed(1)} MB more memory in use than after a minute` : 'memory not looked at'
    }`,
  )
})
