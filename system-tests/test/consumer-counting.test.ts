/** The consumer process on a real broker: which records it counts, and which it keeps as dead letters. */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Producer } from '@platformatic/kafka'
import { batchOf } from '@poke-api-pipeline/kafka-reader/testing/batch-builder'
import { encodeHeaders } from '@poke-api-pipeline/pokemon-event'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { RawProducer } from '../raw-producer.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const servers = serversOfFile('consumer-counting')
const { dir } = servers

describe('counting and dead letters', () => {
  test('counts records of other producers, keeps garbage with the reason, and counts the records behind it', async () => {
    const topic = 'mixed'
    const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: 1 })
    const producer = new Producer({ clientId: 'others', bootstrapBrokers: [servers.kafka.brokers], idempotent: false })
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
      // The format allows a null value, the library's types do not.
      await producer.send({ messages: [{ ...message, value: value as Buffer }], acks: -1 })
    }
    await send(Buffer.from(pikachu))
    for (const [, value] of garbage) await send(value)
    await send(Buffer.from(pikachu), [['ce_type', 'somebody.else.v1']])
    await send(Buffer.from(pikachu), [['content-type', 'application/json']])
    await producer.close(true)

    const consumer = await ConsumerProcess.start({ brokers: servers.kafka.brokers, topic, dir: join(dir, topic) })
    try {
      await assertPublished(consumer, { electric: 2 })
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

  test('keeps length, SHA-256 and the first 64 KiB of a key, value or headers of more than 1 MiB', {
    timeout: 60_000,
  }, async () => {
    const topic = 'too-large'
    const { brokers } = servers.kafka
    const topics = new Topics(brokers)
    await topics.make(topic, 1, { 'max.message.bytes': String(64 * 1024 * 1024) })
    const long = (byte: string) => Buffer.alloc(7 * 1024 * 1024, byte)
    const records = [
      { key: 'k', value: long('v') },
      { key: long('k'), value: 'OK', headers: [['h', long('h')] as const] },
      { value: '{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}', headers: [['h', long('h')] as const] },
    ]
    const producer = await RawProducer.connect(brokers)
    assert.equal(await producer.send(topic, 0, batchOf({ baseTimestamp: Date.now(), records })), 0)
    producer.close()
    const consumer = await ConsumerProcess.start({ brokers, topic, dir: join(dir, topic) })
    try {
      await assertPublished(consumer, { electric: 1 })
      const { out } = await consumer.command('dead-letters', 'list', '--json')
      const [second, first] = out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      const whole = (bytes: Buffer) => ({ bytes: bytes.length, kept: 65_536, sha256: hash('sha256', bytes) })
      const inShort = ({ bytes, kept, sha256 }: { bytes: number; kept: number; sha256: string }) => ({ bytes, kept, sha256 })
      assert.deepEqual([first.reason, second.reason], ['too-large', 'not-json'])
      assert.deepEqual(inShort(first.value), whole(long('v')))
      assert.deepEqual(inShort(second.key), whole(long('k')))
      assert.deepEqual([second.headers, second.moreHeaders], [[], 1])
      assert.ok(second.cutHeaders.bytes > long('h').length)
      assert.ok(statSync(join(dir, topic, 'type-counts.db')).size < 4 * 1024 * 1024)
      await assertVerified(consumer)
    } finally {
      await consumer.end('SIGTERM')
      await topics.close()
    }
  })

  test('forgets the longest silent source beyond SOURCE_MAX_COUNT, counts that in a metric and warns of it (rule C3)', {
    timeout: 60_000,
  }, async () => {
    const topic = 'sources'
    const { brokers } = servers.kafka
    const feed = await EventFeed.create({ brokers, topic, partitions: 1 })
    const env = { SOURCE_MAX_COUNT: '1' }
    const consumer = await ConsumerProcess.start({ brokers, topic, dir: join(dir, topic), env })
    try {
      await feed.send(1)
      await assertPublished(consumer, feed.counts)
      const headers = encodeHeaders({ source: '/another', sequence: 1, time: new Date().toISOString(), origin: 'bundled' })
      const value = Buffer.from('{"id":25,"name":"pikachu","types":[{"slot":1,"type":{"name":"electric"}}]}')
      await feed.send(0, [{ partition: 0, key: Buffer.from('25'), value, headers }])
      await assertPublished(consumer, { ...feed.counts, electric: 1 })
      // The metric changed with the commit, before the file was written.
      assert.equal(await consumer.metric('poke_sources_forgotten_total{why="too-many"}'), 1)
      const warnings = consumer.log.filter(({ msg }) => /the 1 producers that were silent for longest are forgotten/.test(msg))
      assert.equal(warnings.length, 1)
    } finally {
      await consumer.end('SIGTERM')
      await feed.close()
    }
  })
})
