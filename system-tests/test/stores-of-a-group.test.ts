/** Rule S5 on a real broker: two stores under one group, and a store that was replaced. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished } from '../exactly-once.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const servers = serversOfFile('stores-of-a-group')
const GROUP = 'poke-api-consumer'

test('a store that was replaced by an empty one is warned of, and counts everything anew', { timeout: 60_000 }, async (t) => {
  const topic = 'replaced'
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  const feed = await EventFeed.create({ brokers, topic, partitions: 1 })
  const dir = join(servers.dir, topic)
  const consumer = await ConsumerProcess.start({ brokers, topic, dir })
  t.after(async () => {
    await consumer.end('SIGTERM')
    await feed.close()
    await topics.close()
  })
  await feed.send(600)
  while ((await topics.mirrored(GROUP, topic)).get(0) !== 600) await sleep(50)
  await consumer.end('SIGTERM')
  for (const file of ['type-counts.db', 'type-counts.db-wal', 'type-counts.db-shm']) await rm(join(dir, file), { force: true })
  const before = consumer.log.length
  await consumer.restart()
  const said = () => consumer.log.slice(before).filter(({ msg }) => /the group's offset 600 is ahead of the store's position/.test(msg))
  // It is said before the group's offset is written over.
  await feed.send(1)
  while ((await topics.mirrored(GROUP, topic)).get(0) !== 601) await sleep(50)
  await assertPublished(consumer, feed.counts)
  assert.equal(said().length, 1)
})

test('two instances with stores of their own: one ends and says what to do, the other goes on', { timeout: 60_000 }, async (t) => {
  const topic = 'halves'
  const { brokers } = servers.kafka
  const feed = await EventFeed.create({ brokers, topic, partitions: 2 })
  const env = { KAFKA_GROUP_ID: topic }
  const both = [
    await ConsumerProcess.start({ brokers, topic, dir: join(servers.dir, 'one'), env }),
    await ConsumerProcess.start({ brokers, topic, dir: join(servers.dir, 'other'), env }),
  ]
  t.after(async () => {
    for (const each of both) await each.end('SIGTERM')
    await feed.close()
  })
  const share = ({ log }: ConsumerProcess) => log.findLast(({ msg }) => msg.startsWith('the group has handed'))?.msg ?? ''
  // Where nobody noticed, each would be handed a half.
  while (both.every(({ running }) => running) && !both.every((each) => /partition \d /.test(share(each)))) await sleep(50)
  const [ended] = both.filter(({ running }) => !running)
  assert.match(ended?.log.at(-1)?.msg ?? '', /members of group halves count into 2 stores .* same STORE_URL/)
})
