/** Creating a topic, with a broker that never answers. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { createTopic } from '../src/topic.ts'

test('creating a topic ends, with its connection, when nobody waits for it any more', { timeout: 10_000 }, async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const abandoned = new AbortController()
  const connected = once(server, 'connection') as Promise<[Socket]>
  const options = { clientId: 'test', bootstrapBrokers: [`127.0.0.1:${port}`], retries: 0, requestTimeout: 2 ** 31 - 1 }
  const created = createTopic(options, { topic: 'poke-topic', partitions: 1, replication: 1 }, abandoned.signal)
  const [socket] = await connected
  await once(socket.resume(), 'data')
  abandoned.abort()
  await Promise.all([assert.rejects(created), once(socket, 'close')])
})
