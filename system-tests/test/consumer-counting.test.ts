/**
 * The consumer as a process on a real broker: what it counts, what it keeps, and that a SIGKILL at any moment changes nothing.
 * `KILLS` sets how many kills must hit in the middle of a backlog (3), `SEED` repeats their moments.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Producer } from '@platformatic/kafka'
import { type Kafka, startKafka } from 'dev'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'

const KILLS = Number(process.env.KILLS ?? 3)
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const dir = mkdtempSync(join(tmpdir(), 'consumer-counting-'))
let kafka: Kafka

before(async () => {
  kafka = await startKafka({ dir: join(dir, 'kafka') })
})
after(async () => {
  await kafka.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** Waits until the published counts add up to so many types, and checks that they never go beyond. */
async function publishedTypes(consumer: ConsumerProcess, sum: number): Promise<Record<string, number>> {
  for (;;) {
    const counts = (await consumer.published()) ?? {}
    const total = Object.values(counts).reduce((a, b) => a + b, 0)
    assert.ok(total <= sum, `counted ${total} types where ${sum} were sent`)
    if (total === sum) return counts
    await sleep(20)
  }
}

describe('what is counted and what is kept', () => {
  test('records of others are counted, garbage is kept with its reason, and what follows it is counted', async () => {
    const topic = 'mixed'
    const feed = await EventFeed.create({ brokers: kafka.brokers, topic, partitions: 1 })
    const producer = new Producer({ clientId: 'others', bootstrapBrokers: [kafka.brokers], idempotent: false })
    const pikachu = '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'
    const noise = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 2654435761) >>> 24))
    const garbage: [reason: string, value: Buffer | null][] = [
      ['null-value', null],
      ['empty-value', Buffer.alloc(0)],
      ['not-json', Buffer.from('OK')],
      ['wrong-shape', Buffer.from('{"id":25,"name":"pikachu"}')],
      ['not-utf8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
      ['not-utf8', noise],
      ['bad-type-name', Buffer.from('{"id":1,"name":"x","types":[{"slot":1,"type":{"name":"a\\u0000b"}}]}')],
    ]
    const send = async (value: Buffer | null, headers: [string, string][] = []) => {
      const message = {
        topic,
        partition: 0,
        key: Buffer.from('k'),
        headers: new Map(headers.map(([k, v]) => [Buffer.from(k), Buffer.from(v)])),
      }
      // The library's types know no null value, the format does.
      await producer.send({ messages: [{ ...message, value: value as Buffer }], acks: -1 })
    }
    await send(Buffer.from(pikachu))
    for (const [, value] of garbage) await send(value)
    await send(Buffer.from(pikachu), [['ce_type', 'somebody.else.v1']])
    await send(Buffer.from(pikachu), [['content-type', 'application/json']])
    await producer.close(true)

    const consumer = await ConsumerProcess.start({ brokers: kafka.brokers, topic, dir: join(dir, topic) })
    try {
      assert.deepEqual(await publishedTypes(consumer, 2), { electric: 2 })
      const response = await fetch(`${consumer.url}/api/dead-letters?limit=100`)
      const { deadLetters } = (await response.json()) as { deadLetters: { offset: number; reason: string }[] }
      assert.deepEqual(
        deadLetters.toSorted((a, b) => a.offset - b.offset).map(({ offset, reason }) => [offset, reason]),
        [...garbage.map(([reason], i) => [i + 1, reason]), [garbage.length + 1, 'unknown-event-type']],
      )
    } finally {
      await consumer.end('SIGTERM')
      await feed.close()
    }
  })
})

describe('killed in the middle', () => {
  test(`a backlog read in small fetches through ${KILLS} kills (SEED=${SEED}) is counted exactly once`, async () => {
    const topic = 'killed'
    const feed = await EventFeed.create({ brokers: kafka.brokers, topic, partitions: 3 })
    const random = seeded(SEED)
    const consumer = await ConsumerProcess.start({
      brokers: kafka.brokers,
      topic,
      dir: join(dir, topic),
      env: { FETCH_MAX_BYTES: '64KiB', KAFKA_SESSION_TIMEOUT: '6s' },
    })
    try {
      let kills = 0
      let sent = 0
      while (kills < KILLS) {
        await feed.send(4000)
        await feed.send(4000)
        sent += 8000
        const before = await countedSoFar(consumer)
        // At a random part of the way through what is new.
        const at = before + Math.floor((sent - before) * random() * 0.9)
        await until(async () => (await countedSoFar(consumer)) > at)
        await consumer.end('SIGKILL')
        const then = await countedSoFar(consumer)
        if (then > 0 && then < sent) kills++
        await consumer.restart()
      }
      const expected = feed.counts
      const sum = Object.values(expected).reduce((a, b) => a + b, 0)
      assert.deepEqual(await publishedTypes(consumer, sum), expected)
    } finally {
      await consumer.end('SIGTERM')
      await feed.close()
    }
  })
})

/** How many events the published counts stand for, about: each event has one type or two. */
async function countedSoFar(consumer: ConsumerProcess): Promise<number> {
  const counts = (await consumer.published()) ?? {}
  return Math.floor(Object.values(counts).reduce((a, b) => a + b, 0) / 1.5663)
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(2)
}

/** Uniform numbers in [0, 1) that a seed repeats. */
function seeded(seed: number): () => number {
  let drawn = 0
  return () => createHash('sha256').update(`${seed} ${drawn++}`).digest().readUInt32BE() / 2 ** 32
}
