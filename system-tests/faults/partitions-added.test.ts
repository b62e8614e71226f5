/** Running consumers find partitions that are added to their topic and share them, without any action of an operator. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { figure, patience } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const TOPIC = 'partitions-added'
const MEMBERS = 2
const BEFORE = 2
const AFTER = 6
/** The leader of the group checks the topic every 10 s; then the members join again. In ms. */
const PICKED_UP = patience(30_000)

const servers = serversOfFile('partitions-added')
const { dir } = servers

test(`${AFTER - BEFORE} partitions added to the topic of ${MEMBERS} running consumers are counted from their first record on`, async (t) => {
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  t.after(() => topics.close())
  const feed = await EventFeed.create({ brokers, topic: TOPIC, partitions: BEFORE })
  t.after(() => feed.close())
  const env = { STORE_URL: `sqlite:${join(dir, 'type-counts.db')}`, KAFKA_GROUP_ID: TOPIC, KAFKA_SESSION_TIMEOUT: '6s' }
  const members = await Promise.all(
    Array.from({ length: MEMBERS }, async (_, i) => {
      mkdirSync(join(dir, String(i)))
      const member = await ConsumerProcess.start({ brokers, topic: TOPIC, dir: join(dir, String(i)), env })
      t.after(() => member.end('SIGKILL'))
      return member
    }),
  )
  await feed.send(100)
  await Promise.all(members.map((member) => assertPublished(member, feed.counts)))

  await topics.addPartitions(TOPIC, AFTER, AFTER - BEFORE)
  const added = performance.now()
  feed.partitions = AFTER
  await feed.send(600)
  await Promise.all(members.map((member) => assertPublished(member, feed.counts)))
  const took = Math.round(performance.now() - added)
  assert.ok(took < PICKED_UP, `the partitions were picked up after ${took} ms`)
  const owned = async () => Promise.all(members.map(async (member) => (await member.metric('poke_partitions_owned')) ?? 0))
  while ((await owned()).some((partitions) => partitions !== AFTER / MEMBERS)) await sleep(100)
  await assertVerified(members[0] as ConsumerProcess)
  figure(
    'partitions added',
    `from ${BEFORE} to ${AFTER} under ${MEMBERS} consumers: ${feed.sent} events counted exactly once, ${took} ms later`,
  )
})
