/** The publisher and a broker that does not answer: nothing hangs, and nothing of a failed attempt is used again (rule P4). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { ProduceAcks, Producer, type SendOptions } from '@platformatic/kafka'
import { PublishError } from '../src/errors.ts'
import { KafkaEventPublisher } from '../src/infrastructure/messaging/kafka-producer.ts'
import { event } from './contract/event-publisher.ts'
import { silentServer } from './silent-server.ts'

/** A test that hangs has failed. */
const LIMIT = { timeout: 20_000 }
const never = new AbortController().signal

function publisherOf(t: TestContext, address: string, sendDeadline: number): KafkaEventPublisher {
  const publisher = new KafkaEventPublisher({ brokers: [address], topic: 'poke-topic', partitions: 3, replication: 1, sendDeadline })
  t.after(() => publisher.close())
  return publisher
}

const deadline = (error: unknown) => error instanceof PublishError && error.kind === 'deadline' && error.retriable

async function closed(socket: Socket | undefined): Promise<void> {
  if (socket?.closed === false) await once(socket, 'close')
}

test('a send has a deadline, and the next one goes through a client of its own', LIMIT, async (t) => {
  const server = await silentServer(t)
  const publisher = publisherOf(t, server.address, 200)
  for (let attempt = 1; attempt <= 3; attempt++) {
    await assert.rejects(publisher.publish([event(1, 0)]), deadline)
    await server.connected(attempt)
    assert.equal(server.sockets.length, attempt, 'a connection of a failed attempt was used again')
    await closed(server.sockets.at(-1))
  }
})

test('a failed send is tried once: the library does not retry', LIMIT, async (t) => {
  const server = await silentServer(t)
  const publisher = publisherOf(t, server.address, 10_000)
  const sending = assert.rejects(publisher.publish([event(1, 0)]), PublishError)
  await server.connected(1)
  server.hangUp()
  await sending
  assert.equal(server.sockets.length, 1)
})

test('events go to the partitions that were chosen for them (rule P3), acknowledged by all replicas that are in sync', async (t) => {
  const topics = new Map([['poke-topic', { partitionsCount: 3 }]])
  t.mock.method(Producer.prototype, 'metadata', async () => ({ topics }))
  const sent: unknown[] = []
  t.mock.method(Producer.prototype, 'send', async (options: SendOptions<Buffer, Buffer, Buffer, Buffer>) => {
    sent.push([options.acks, ...options.messages.map(({ partition }) => partition)])
  })
  const events = [2, 0, 1, 0, 2].map((partition, i) => event(i + 1, partition))
  await publisherOf(t, 'localhost:1', 5000).publish(events)
  assert.deepEqual(sent, [[ProduceAcks.ALL, 2, 0, 1, 0, 2]])
})

test('preparing the topic has a deadline too', LIMIT, async (t) => {
  const server = await silentServer(t)
  const publisher = publisherOf(t, server.address, 200)
  await assert.rejects(publisher.prepare(never), deadline)
  await server.connected(1)
  await closed(server.sockets[0])
  assert.equal(publisher.partitionOf, null)
})

test('preparing ends at once when it is aborted', LIMIT, async (t) => {
  const server = await silentServer(t)
  const publisher = publisherOf(t, server.address, 60_000)
  const off = new AbortController()
  const preparing = publisher.prepare(off.signal)
  await server.connected(1)
  off.abort()
  await assert.rejects(preparing, { name: 'AbortError' })
  await closed(server.sockets[0])
})

test('closing ends a send under way at once', LIMIT, async (t) => {
  const server = await silentServer(t)
  const publisher = publisherOf(t, server.address, 60_000)
  const sending = assert.rejects(publisher.publish([event(1, 0)]), PublishError)
  await server.connected(1)
  await publisher.close()
  await closed(server.sockets[0])
  await sending
})

test('an unreachable broker is reported, with its address and the reason', LIMIT, async (t) => {
  const publisher = publisherOf(t, 'localhost:1', 5000)
  await assert.rejects(publisher.prepare(never), /Kafka at localhost:1 cannot be reached \(.*ECONNREFUSED.*\)/)
})
