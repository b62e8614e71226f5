/**
 * The producer process under faults: killed, its acknowledgements lost, its sends delayed, its data directory copied and set back.
 * Each capture is counted once, and none is dropped as a duplicate of another.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PokeApiServer, servePokeApi } from '@poke-api-pipeline/dev/poke-api-server'
import { ConsumerProcess } from '../consumer-process.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, SEED, seeded } from '../fault-run.ts'
import { ProducerProcess } from '../producer-process.ts'
import { isProduceRequest, type ProxiedKafka, startProxiedKafka } from '../proxied-kafka.ts'
import { type TopicCaptures, topicCaptures } from '../topic-captures.ts'
import { Topics } from '../topics.ts'

const KILLS = LONG ? 50 : 3
const DOUBTFUL_SENDS = LONG ? 150 : 3
const ADDED_PARTITIONS = LONG ? 5 : 1
const COPIES = LONG ? 10 : 1
/** The deadline of a send, after which it is repeated, in ms. */
const SEND_TIMEOUT = 500
/** How many Pokémon a sweep has (undefined: all), and how long PokeAPI takes for an answer, in ms, so that there is time for faults. */
const [FIRST, DELAY] = LONG ? [undefined, 5] : [300, 12]

const dir = mkdtempSync(join(tmpdir(), 'producer-faults-'))
let broker: ProxiedKafka
let api: PokeApiServer
let topics: Topics
/** How many Pokémon there are. */
let all: number
let sweeps = 0

before(async () => {
  broker = await startProxiedKafka(join(dir, 'kafka'))
  api = await servePokeApi({ delay: DELAY, ...(FIRST && { first: FIRST }) })
  topics = new Topics(broker.direct)
  all = ((await (await fetch(`${api.url}/pokemon?limit=1`)).json()) as { count: number }).count
})
after(async () => {
  await topics.close()
  await api.close()
  await broker.stop()
  rmSync(dir, { recursive: true })
})

/** A sweep into a topic of its own, which a consumer counts at the same time. */
class Sweep {
  readonly topic: string
  readonly dir: string
  readonly consumer: ConsumerProcess
  readonly #test: TestContext

  private constructor(t: TestContext, topic: string, consumer: ConsumerProcess) {
    this.#test = t
    t.after(() => consumer.end('SIGKILL'))
    this.topic = topic
    this.dir = join(dir, topic, 'producer')
    this.consumer = consumer
  }

  static async begin(t: TestContext, partitions = 3): Promise<Sweep> {
    const topic = `sweep-${++sweeps}`
    await topics.make(topic, partitions)
    return new Sweep(t, topic, await ConsumerProcess.start({ brokers: broker.direct, topic, dir: join(dir, topic) }))
  }

  /** Starts a producer that begins the sweep, or goes on with it. @param data its data directory, if it is not the sweep's own */
  async producer(data = this.dir, settings: Readonly<Record<string, string>> = {}): Promise<ProducerProcess> {
    const env = { CAPTURE_MODE: 'sweep', KAFKA_SEND_TIMEOUT: `${SEND_TIMEOUT}ms`, ...settings }
    const producer = await ProducerProcess.start({ brokers: broker.brokers, topic: this.topic, api: api.url, dir: data, env })
    this.#test.after(() => producer.end('SIGKILL'))
    return producer
  }

  /** Whether a part of the sweep is counted. */
  async isUnderWay(): Promise<boolean> {
    const { captures } = await topicCaptures(broker.direct, this.topic)
    return captures > 0 && captures < all && total(await this.consumer.published()) > 0
  }

  /** Checks the counts and the topic. @param once whether each Pokémon was captured only once */
  async end(once: boolean): Promise<TopicCaptures> {
    const found = await topicCaptures(broker.direct, this.topic)
    assert.equal(found.pokemon.size, all)
    if (once) assert.deepEqual(new Set(found.pokemon.values()), new Set([1]))
    await assertPublished(this.consumer, found.types)
    await assertVerified(this.consumer)
    await this.consumer.end('SIGTERM')
    return found
  }
}

/** Waits until a producer has finished its sweep. */
async function finishes(producer: ProducerProcess): Promise<void> {
  assert.equal(await producer.ended, 0, producer.output)
  assert.match(producer.output, /the sweep is finished/)
}

/** Resolves with the result of `work`, or with null if the producer ends before. */
async function meanwhile<T>(producer: ProducerProcess, work: Promise<T>): Promise<T | null> {
  return await Promise.race([work, producer.ended.then(() => null)])
}

/** Waits until PokeAPI has received that many more requests. */
async function captured(producer: ProducerProcess, more: number): Promise<void> {
  const asked = () => [...api.answered.values()].reduce((sum, answers) => sum + answers, 0)
  for (const goal = asked() + more; asked() < goal && producer.running; ) await sleep(1)
}

test(`a producer killed ${KILLS} times in its sweep: each Pokémon is counted once (SEED=${SEED})`, async (t) => {
  const random = seeded('producer killed')
  const [first, seen] = [sweeps, { kills: 0, duplicates: 0 }]
  while (seen.kills < KILLS) {
    const sweep = await Sweep.begin(t)
    let producer = await sweep.producer()
    for (; seen.kills < KILLS; producer = await sweep.producer()) {
      await captured(producer, random() * (LONG ? 60 : 100))
      await sleep(random() * 10)
      if ((await producer.end('SIGKILL')) !== 'SIGKILL') break
      if (await sweep.isUnderWay()) seen.kills++
    }
    await finishes(producer)
    seen.duplicates += (await sweep.end(true)).duplicates
  }
  figure(
    'producer killed',
    `${seen.kills} kills in ${sweeps - first} sweeps of ${all}, ${seen.duplicates} events sent again, each Pokémon once`,
  )
})

/** What happens to a send; in each case its producer does not know whether it arrived. */
const FATES = [
  'the answer is lost and the connection breaks',
  'the answer is lost and nothing more is heard',
  'the request arrives late',
] as const

test(`acknowledgements lost and sends delayed, ${DOUBTFUL_SENDS} times: each capture is counted once (SEED=${SEED})`, async (t) => {
  const random = seeded('sends in doubt')
  const [first, seen] = [sweeps, { faults: 0, late: 0, duplicates: 0 }]
  while (seen.faults < DOUBTFUL_SENDS) {
    const sweep = await Sweep.begin(t)
    const producer = await sweep.producer()
    while (seen.faults < DOUBTFUL_SENDS && producer.running) {
      const fate = FATES[seen.faults % FATES.length]
      const late = fate === 'the request arrives late'
      await captured(producer, random() * 60)
      if ((await meanwhile(producer, broker.proxy.nextRequest(isProduceRequest, late ? 'request-held' : 'answer-lost'))) === null) break
      if (fate === 'the answer is lost and the connection breaks') broker.proxy.cut()
      if (late) {
        // The first one is the repeated send. The delayed send arrives together with it, or after some newer ones.
        for (let sends = Math.floor(random() * 5); sends >= 0; sends--)
          await meanwhile(producer, broker.proxy.nextRequest(isProduceRequest))
        broker.proxy.deliver()
        seen.late++
      }
      seen.faults++
    }
    await finishes(producer)
    seen.duplicates += (await sweep.end(true)).duplicates
  }
  assert.ok(seen.duplicates >= seen.faults, `only ${seen.duplicates} events were sent again`)
  figure(
    'sends with an unknown outcome',
    `${seen.faults - seen.late} acknowledgements lost and ${seen.late} sends late in ${sweeps - first} sweeps of ${all}, ${seen.duplicates} events in the topic twice, each Pokémon once`,
  )
})

test(`a partition added while the outcome of a send is unknown, ${ADDED_PARTITIONS} times: each capture is counted once (SEED=${SEED})`, async (t) => {
  const random = seeded('partitions added')
  let partitions = 3
  const sweep = await Sweep.begin(t, partitions)
  // One request at a time, so that something is left to capture when the partitions were added.
  const producer = await sweep.producer(sweep.dir, { CAPTURE_CONCURRENCY: '1' })
  for (let added = 0; added < ADDED_PARTITIONS; added++) {
    await captured(producer, random() * 40)
    const fate = random() < 0.5 ? 'request-held' : 'answer-lost'
    assert.ok(await meanwhile(producer, broker.proxy.nextRequest(isProduceRequest, fate)), producer.output)
    await topics.addPartitions(sweep.topic, ++partitions, 1)
    await meanwhile(producer, broker.proxy.nextRequest(isProduceRequest))
    broker.proxy.deliver()
  }
  await finishes(producer)
  const { duplicates, records } = await sweep.end(true)
  assert.ok(duplicates >= ADDED_PARTITIONS, `only ${duplicates} events were sent again`)
  assert.ok(
    records.every((count) => count > 0),
    `added partitions are used: ${records}`,
  )
  figure(
    'partitions added while the outcome of a send is unknown',
    `${ADDED_PARTITIONS}, ${duplicates} events sent again, records by partition ${records.join(' ')}, each Pokémon once`,
  )
})

/** Runs the producer for a while, and kills it while Kafka has events that the outbox still keeps as unsent. */
async function killInDoubt(sweep: Sweep, captures: number): Promise<void> {
  const producer = await sweep.producer()
  await captured(producer, captures)
  assert.ok(await meanwhile(producer, broker.proxy.nextRequest(isProduceRequest, 'answer-lost')), producer.output)
  assert.equal(await producer.end('SIGKILL'), 'SIGKILL')
}

/** Kills the producer twice while the outcome of a send is unknown. @returns a copy of its data directory from after the first kill */
async function olderCopy(sweep: Sweep, random: () => number): Promise<string> {
  const copy = join(dir, sweep.topic, 'copy')
  await killInDoubt(sweep, 20 + random() * 50)
  cpSync(sweep.dir, copy, { recursive: true })
  await killInDoubt(sweep, 20 + random() * 100)
  return copy
}

if (LONG)
  test(`a data directory set back to an older copy, ${COPIES} times: no new capture is dropped as a duplicate (SEED=${SEED})`, async (t) => {
    const random = seeded('data set back')
    const sweep = await Sweep.begin(t)
    for (let round = 0; round < COPIES; round++) {
      const copy = await olderCopy(sweep, random)
      rmSync(sweep.dir, { recursive: true })
      renameSync(copy, sweep.dir)
    }
    await finishes(await sweep.producer())
    const { captures, duplicates } = await sweep.end(false)
    assert.ok(captures > all, 'some were captured again, and these are captures of their own')
    figure('data directory set back', `${COPIES} times in a sweep of ${all}: ${captures} captures counted, ${duplicates} events sent again`)
  })

test(`an older copy of the data directory for a second producer at the same time, ${COPIES} times: no new capture is dropped as a duplicate (SEED=${SEED})`, async (t) => {
  const random = seeded('data copied')
  const sum = { captures: 0, duplicates: 0 }
  for (let round = 0; round < COPIES; round++) {
    const sweep = await Sweep.begin(t)
    const copy = await olderCopy(sweep, random)
    await Promise.all([await sweep.producer(), await sweep.producer(copy)].map(finishes))
    const { captures, duplicates } = await sweep.end(false)
    assert.ok(captures > all, 'both have captured the rest')
    sum.captures += captures
    sum.duplicates += duplicates
  }
  figure('data directory copied', `${COPIES} times: ${sum.captures} captures counted, ${sum.duplicates} events sent again`)
})
