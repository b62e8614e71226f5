/**
 * Batches with each number at its extremes and next to them. Every record that the broker accepts is kept in both stores, published,
 * listed and replayed, whatever its numbers are. A batch that the broker would refuse is reported as damaged, and ends nothing.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf, extremeBatch } from '@poke-api-pipeline/kafka-reader/testing/extreme-batches'
import fc from 'fast-check'
import { ConsumerProcess } from '../consumer-process.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { RawProducer } from '../raw-producer.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'
import { readTopic } from './read-topic.ts'

const servers = serversOfFile('extreme-records', { postgres: true })
const SEED = Number(process.env.SEED ?? 1)
const BATCHES = 250
const TOPIC = 'extremes'
const PATIENCE = 300_000
const PIKACHU = '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}'

/** A record as it must be read back. */
interface Expected {
  readonly offset: number
  readonly timestamp: bigint
  /** Null: the record is counted. */
  readonly reason: string | null
}

function reasonOf(value: string | number): string | null {
  if (value === PIKACHU) return null
  if (value === '') return 'empty-value'
  return typeof value === 'number' ? 'null-value' : 'not-json'
}

/** The records that the broker accepted of these batches. */
async function fill(topic: string): Promise<{ taken: Expected[]; refused: number }> {
  const taken: Expected[] = []
  let refused = 0
  const producer = await RawProducer.connect(servers.kafka.brokers)
  try {
    for (const one of fc.sample(extremeBatch(PIKACHU), { numRuns: BATCHES, seed: SEED })) {
      const base = await producer.send(topic, 0, bytesOf(one))
      if (base === null) {
        refused++
        continue
      }
      for (const [place, { timestampDelta, value }] of one.records.entries()) {
        const timestamp = BigInt.asIntN(64, one.baseTimestamp + timestampDelta)
        taken.push({ offset: base + place, timestamp, reason: reasonOf(value) })
      }
    }
  } finally {
    producer.close()
  }
  return { taken, refused }
}

interface ListedLetter {
  readonly offset: number
  readonly timestampText: string
  readonly reason: string
  readonly state: string
}

test(`every record that the broker accepts of ${BATCHES} batches is kept, published, listed and replayed (SEED=${SEED})`, async (t) => {
  const topics = new Topics(servers.kafka.brokers)
  t.after(() => topics.close())
  await topics.make(TOPIC, 1, { 'message.timestamp.after.max.ms': '9223372036854775807' })
  const { taken, refused } = await fill(TOPIC)
  assert.ok(taken.length >= BATCHES && refused > 0, `the broker took ${taken.length} records, and refused ${refused} batches`)
  const counted = taken.filter(({ reason }) => reason === null).length
  const uncountable = taken.filter(({ reason }) => reason !== null)
  t.diagnostic(`${counted} records to count, ${uncountable.length} dead letters, ${refused} batches refused by the broker`)

  for (const [store, url] of [
    ['sqlite', null],
    ['postgres', await servers.postgres.createDatabase()],
  ] as const) {
    await t.test(store, async () => {
      const dir = join(servers.dir, store)
      mkdirSync(dir)
      const group: Record<string, string> = { KAFKA_GROUP_ID: store, ...(url !== null && { STORE_URL: url }) }
      const consumer = await ConsumerProcess.start({ brokers: servers.kafka.brokers, topic: TOPIC, dir, env: group })
      try {
        await assertPublished(consumer, { electric: counted })
        // 1. Kept and listed.
        let listed: ListedLetter[] = []
        for (const deadline = performance.now() + PATIENCE; ; await sleep(200)) {
          const { exitCode, out, error } = await consumer.command('dead-letters', 'list', '--json', '--limit', '100000')
          assert.equal(exitCode, 0, error)
          listed = out
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line))
          if (listed.length === uncountable.length && listed.every(({ state }) => state === 'published')) break
          assert.ok(performance.now() < deadline, `${listed.length} of ${uncountable.length} are kept: ${consumer.output.slice(-5000)}`)
        }
        assert.deepEqual(
          listed.toReversed().map(({ offset, timestampText, reason }) => ({ offset, timestamp: BigInt(timestampText), reason })),
          uncountable,
        )
        const table = await consumer.command('dead-letters', 'list', '--limit', '100000')
        assert.equal(table.exitCode, 0, table.error)
        assert.match(table.error, /^Store: [^\n]+\n$/)
        const response = await fetch(`${consumer.url}/api/dead-letters?limit=100`)
        const { deadLetters } = (await response.json()) as { deadLetters: ListedLetter[] }
        assert.deepEqual(
          deadLetters.map(({ timestampText }) => BigInt(timestampText)),
          uncountable
            .toReversed()
            .slice(0, 100)
            .map(({ timestamp }) => timestamp),
        )
        // 2. Published, in order.
        const [published = []] = await readTopic(servers.kafka.brokers, `${TOPIC}.dead-letters`)
        const own = published.slice(-uncountable.length).map(({ headers }) => ({
          offset: Number(headers.get('dead_letter_offset')),
          timestamp: BigInt(headers.get('dead_letter_timestamp') ?? ''),
          reason: headers.get('dead_letter_reason'),
        }))
        assert.deepEqual(own, uncountable)
        // 3. Replayed and verified, without an error.
        const replayed = await consumer.command('dead-letters', 'replay', '--json')
        assert.deepEqual([replayed.exitCode, JSON.parse(replayed.out).counted], [0, 0], replayed.error)
        await assertVerified(consumer)
        assert.deepEqual(await consumer.reasons(), [])
        const metrics = await (await fetch(`${consumer.url}/metrics`)).text()
        for (const line of metrics.split('\n').filter((each) => each.startsWith('poke_'))) {
          assert.ok(Number(line.split(' ').at(-1)) >= 0, line)
        }
      } finally {
        await consumer.end('SIGTERM')
      }
    })
  }
})
