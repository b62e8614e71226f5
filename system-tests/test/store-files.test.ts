/** The files of a SQLite store are removed while the consumer runs: it ends before it publishes anything else, and nothing is lost or counted twice. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { serversOfFile } from '../servers.ts'

const servers = serversOfFile('store-files')

for (const [what, suffixes] of [
  ['the log and its index', ['-wal', '-shm']],
  ['the log', ['-wal']],
] as const) {
  for (const resting of [true, false]) {
    test(`${what} removed while ${resting ? 'nothing' : 'much'} is left to count, and a second instance on the same file`, async (t) => {
      const topic = `removed${suffixes.join('')}${resting ? '-at-rest' : ''}`
      const { brokers } = servers.kafka
      const dir = join(servers.dir, topic)
      const feed = await EventFeed.create({ brokers, topic, partitions: 2 })
      const options = { brokers, topic, dir, env: { KAFKA_GROUP_ID: topic } }
      const first = await ConsumerProcess.start(options)
      const consumers = [first]
      t.after(async () => {
        for (const each of consumers) await each.end('SIGTERM')
        await feed.close()
      })
      await feed.send(2000)
      await assertPublished(first, feed.counts)
      const feeding = new AbortController()
      const fed = resting ? Promise.resolve() : feed.steady(feeding.signal, 1000)
      for (const suffix of suffixes) await rm(join(dir, `type-counts.db${suffix}`))
      const second = await ConsumerProcess.start(options)
      consumers.push(second)
      while (first.running) await sleep(10)
      const end = first.log.at(-1)
      assert.equal(end?.level, 'fatal')
      assert.match(
        end?.msg ?? '',
        /type-counts\.db-wal was (removed|replaced by another file) while this process had the store .* open: the process ends/,
      )
      assert.equal(first.exitCode, 65)
      feeding.abort()
      await fed
      await feed.send(100)
      await assertPublished(second, feed.counts)
      assert.deepEqual(await second.reasons(), [])
      await assertVerified(second)
    })
  }
}
