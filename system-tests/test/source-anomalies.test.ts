/** Another program writes under the name of a producer's source, on a real broker: an absurd sequence has no effect, and a plausible one is reported. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Producer } from '@platformatic/kafka'
import { encodeHeaders } from '@poke-api-pipeline/pokemon-event'
import { ConsumerProcess } from '../consumer-process.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const PATIENCE = 300_000
const TOPIC = 'spoofed'
const SOURCE = '/poke-api-producer/live'
const servers = serversOfFile('source-anomalies')

test('events of a producer are counted after another program used its source with an absurd sequence; a plausible sequence is reported', async (t) => {
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  const producer = new Producer({ clientId: 'test', bootstrapBrokers: brokers.split(',') })
  const dir = join(servers.dir, TOPIC)
  mkdirSync(dir)
  await topics.make(TOPIC)
  const send = async (...sequences: number[]) => {
    const messages = sequences.map((sequence) => {
      const headers = encodeHeaders({ source: SOURCE, sequence, time: '2026-11-28T09:00:00.000Z', origin: 'live' })
      const value = Buffer.from(JSON.stringify({ types: [{ type: { name: 'grass' } }] }))
      return { topic: TOPIC, partition: 0, value, headers: new Map(headers.map(([name, text]) => [Buffer.from(name), Buffer.from(text)])) }
    })
    await producer.send({ messages, acks: -1 })
  }
  const consumer = await ConsumerProcess.start({ brokers, topic: TOPIC, dir, env: { KAFKA_GROUP_ID: TOPIC } })
  t.after(async () => {
    await consumer.end('SIGKILL')
    await Promise.all([producer.close(true), topics.close()])
  })
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
  const untilReady = async (says: RegExp) => {
    for (const deadline = performance.now() + PATIENCE; !says.test((await consumer.reasons()).join('\n')); await sleep(50))
      assert.ok(performance.now() < deadline, `${(await consumer.reasons()).join('\n')}\n${consumer.output}`)
  }

  await send(...range(1, 135))
  await assertPublished(consumer, { grass: 135 })
  assert.deepEqual(await consumer.reasons(), [])
  await send(Number.MAX_SAFE_INTEGER)
  await send(...range(136, 331))
  await send(Number.MAX_SAFE_INTEGER)
  await assertPublished(consumer, { grass: 333 })
  await untilReady(
    /^sources: partition 0: a record claims the sequence 9007199254740991 of source \/poke-api-producer\/live, whose last one is /m,
  )
  assert.equal(await consumer.metric('poke_records_duplicate_total'), 0)
  assert.equal(await consumer.metric('poke_records_leaping_total'), 2)
  assert.equal(await consumer.metric('poke_sources_doubted'), 1)
  await assertVerified(consumer)

  // After the next opening it knows only what the store has.
  await consumer.end('SIGTERM')
  await consumer.restart()
  await send(Number.MAX_SAFE_INTEGER, ...range(332, 340))
  await assertPublished(consumer, { grass: 343 })
  await assertVerified(consumer)

  await send(400)
  await send(...range(341, 350))
  await untilReady(
    /^sources: partition 0: records of source \/poke-api-producer\/live were left out as duplicates though they were never read/m,
  )
  assert.equal(await consumer.metric('poke_records_late_total'), 10)
  const { exitCode, out } = await consumer.command('verify')
  assert.equal(exitCode, 1, out)
  assert.match(out, /the store has 344 counted, 10 duplicates, 0 dead letters; the topic has 354 counted, 0 duplicates, 0 dead letters/)
})
