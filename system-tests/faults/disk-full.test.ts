/** Disks under the store, the output file and the outbox that are full or cannot be written, and then can be again. Nothing is lost, and everything goes on. */
import assert from 'node:assert/strict'
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { servePokeApi } from '@poke-api-pipeline/dev/poke-api-server'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, patience, SEED, seeded } from '../fault-run.ts'
import { ProducerProcess } from '../producer-process.ts'
import { serversOfFile } from '../servers.ts'
import { NO_SMALL_DISKS, SmallDisk } from '../small-disk.ts'
import { topicCaptures } from '../topic-captures.ts'

const ROUNDS = LONG ? 5 : 1
/** For how long at most a failure lasts after it was reported, in ms. */
const LONGEST_FAILURE = LONG ? 10_000 : 500
/** So long, in ms, a reason may be in coming: disks fill slowly on a busy machine. */
const PATIENCE = 120_000
/** Within this time after the failure everything goes on, in ms. */
const RECOVERY = patience(30_000)
/** Events a second. */
const RATE = LONG ? 1000 : 200
const MEGABYTE = 2 ** 20
/** The size of a record that becomes a dead letter, so that the store grows. */
const GARBAGE = 'x'.repeat(50_000)
const skip = NO_SMALL_DISKS ?? false

const servers = serversOfFile('disk-full')
const { dir } = servers

function smallDisk(t: TestContext, name: string, megabytes: number): SmallDisk {
  const disk = new SmallDisk(join(dir, name), megabytes * MEGABYTE)
  t.after(() => disk.remove())
  return disk
}

/** A consumer with a topic to which events are sent all the time. */
async function counting(t: TestContext, topic: string, env: Readonly<Record<string, string>>) {
  const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: 3 })
  t.after(() => feed.close())
  const consumer = await ConsumerProcess.start({ brokers: servers.kafka.brokers, topic, dir: join(dir, topic), env })
  t.after(() => consumer.end('SIGKILL'))
  const feeding = new AbortController()
  t.after(() => feeding.abort())
  const fed = feed.steady(feeding.signal, RATE)
  const end = async () => {
    feeding.abort()
    await fed
  }
  return { feed, consumer, end }
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true

interface Service {
  readonly running: boolean
  reasons(): Promise<string[] | null>
}

/** Waits until its readiness gives this reason, and does `meanwhile` until then. */
async function says(service: Service, words: RegExp, meanwhile = async () => {}): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; ; ) {
    const reasons = await service.reasons()
    if (reasons?.some((reason) => words.test(reason))) return
    assert.ok(service.running, `it ended, and never said ${words}`)
    assert.ok(performance.now() < deadline, `it said ${JSON.stringify(reasons)} in place of ${words}`)
    await meanwhile()
    await sleep(20)
  }
}

/** Waits until it is ready. */
async function isReady(service: Service): Promise<void> {
  const began = performance.now()
  for (let reasons = await service.reasons(); reasons?.length !== 0; reasons = await service.reasons()) {
    assert.ok(performance.now() - began < RECOVERY, `not ready: ${reasons}`)
    await sleep(20)
  }
}

/** Waits until the number from `ask` is above `beyond`. @returns how long that took, in ms */
async function rises(what: string, ask: () => Promise<number>, beyond: number): Promise<number> {
  for (const began = performance.now(); ; await sleep(20)) {
    const took = performance.now() - began
    const now = await ask()
    if (now > beyond) return took
    assert.ok(took < RECOVERY, `${what}: ${now} after ${Math.round(took)} ms, and was to rise above ${beyond}`)
  }
}

test(`the store’s disk full ${ROUNDS} times, then room again: nothing is lost (SEED=${SEED})`, { skip }, async (t) => {
  const random = seeded('store full')
  const disk = smallDisk(t, 'store', 64)
  const { feed, consumer, end } = await counting(t, 'store-full', { STORE_URL: `sqlite:${join(disk.dir, 'type-counts.db')}` })
  const published = async () => total(await consumer.published())
  let garbage = 0
  let slowest = 0
  const waste = async () => {
    await feed.sendGarbage(GARBAGE)
    garbage++
  }
  await rises('counts', published, 0)
  for (let round = 0; round < ROUNDS; round++) {
    disk.fill()
    await says(consumer, /disk is full: make room/, waste)
    await sleep(random() * LONGEST_FAILURE)
    disk.clear()
    slowest = Math.max(slowest, await rises('counts', published, total(feed.counts)))
    await isReady(consumer)
  }
  await end()
  await assertPublished(consumer, feed.counts)
  await assertVerified(consumer)
  const { out } = await consumer.command('dead-letters', 'list', '--limit', '100000', '--json')
  // The disk may have been filled without any dead letter.
  assert.equal(out.split('\n').filter((line) => line !== '').length, garbage)
  figure(
    'disk of the SQLite store full',
    `${ROUNDS} times, ${feed.sent} events exact, ${garbage} dead letters of 50 kB kept, going on within ${(slowest / 1000).toFixed(1)} s`,
  )
})

test(`the output folder read-only, full, or replaced by a file, ${ROUNDS} times each, then writable: counting goes on all the time (SEED=${SEED})`, {
  skip,
}, async (t) => {
  const random = seeded('output folder')
  const disk = smallDisk(t, 'output', 1)
  const folder = join(disk.dir, 'counts')
  const { feed, consumer, end } = await counting(t, 'output-folder', { OUTPUT_FILE: join(folder, 'type-counts.json') })
  const counted = async () => (await consumer.metric('poke_records_counted_total')) ?? 0
  const published = async () => total(await consumer.published())
  // Again and again: a file that was being replaced when the disk filled leaves room for the next one.
  const fill = () => disk.fill()
  const hindrances = [
    [() => disk.readOnly(), /read-only|EROFS/i, () => disk.writable()],
    [fill, /ENOSPC|no space/i, () => disk.clear()],
    [
      () => {
        renameSync(folder, `${folder}-away`)
        // The consumer may have made it again already.
        while (!isFile(folder)) {
          try {
            writeFileSync(folder, '')
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error
            rmSync(folder, { recursive: true, force: true })
          }
        }
      },
      /a part of its path is a file/,
      () => {
        rmSync(folder)
        rmSync(`${folder}-away`, { recursive: true })
      },
    ],
  ] as const
  let slowest = 0
  await rises('counts', published, 0)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [begin, words, over] of hindrances) {
      begin()
      await says(consumer, words, async () => {
        if (begin === fill) fill()
      })
      await rises('counted records', counted, await counted())
      await sleep(random() * LONGEST_FAILURE)
      over()
      slowest = Math.max(slowest, await rises('counts', published, total(feed.counts)))
      await isReady(consumer)
    }
  }
  await end()
  await assertPublished(consumer, feed.counts)
  await assertVerified(consumer)
  figure(
    'output folder not writable',
    `${ROUNDS} times read-only, full, a file in its place; ${feed.sent} events exact, the file whole again within ${(slowest / 1000).toFixed(1)} s`,
  )
})

test(`the outbox’s disk full ${ROUNDS} times in a sweep, then room again: each Pokémon is counted once (SEED=${SEED})`, {
  skip,
}, async (t) => {
  const random = seeded('outbox full')
  const disk = smallDisk(t, 'outbox', 32)
  const first = 300
  const api = await servePokeApi({ delay: 20, first })
  t.after(() => api.close())
  let slowest = 0
  // Each time with a new outbox: an older one has room in its write-ahead log for the rest of a sweep.
  for (let round = 0; round < ROUNDS; round++) {
    const topic = `outbox-full-${round}`
    const producer = await ProducerProcess.start({
      brokers: servers.kafka.brokers,
      topic,
      api: api.url,
      dir: join(disk.dir, `producer-${round}`),
      env: { CAPTURE_MODE: 'sweep' },
    })
    t.after(() => producer.end('SIGKILL'))
    await producer.answers()
    const done = async () => (await producer.metric('poke_sweep_done_pokemon')) ?? first
    await rises('captures', done, (random() * first) / 4)
    disk.fill()
    await says(producer, /disk is full: free some space/, async () => disk.fill())
    await sleep(random() * LONGEST_FAILURE)
    const before = await done()
    disk.clear()
    slowest = Math.max(slowest, await rises('captures', done, before))
    assert.equal(await producer.ended, 0, producer.output)
    const found = await topicCaptures(servers.kafka.brokers, topic)
    assert.deepEqual([found.captures, found.pokemon.size], [first, first])
  }
  figure(
    'disk of the outbox full',
    `${ROUNDS} times, each in a sweep of ${first}, each Pokémon once, going on within ${(slowest / 1000).toFixed(1)} s`,
  )
})

test('the consumer ends with one message if the folder of its store cannot be made', {
  skip: !existsSync('/proc/self') && 'no /proc',
}, async () => {
  const refused = ConsumerProcess.start({
    brokers: servers.kafka.brokers,
    topic: 'nowhere',
    dir,
    env: { STORE_URL: 'sqlite:/proc/no-such/counts.db' },
  })
  await assert.rejects(refused, /the consumer ended with 73:.*the folder of the store \/proc\/no-such\/counts\.db cannot be created/s)
})
