/** Rule S5 on a real broker: running instances go on, and an instance with another store is refused, whichever member leads the group and also if there is none. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { consumerCommand, type Finished } from '../cli.ts'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified } from '../exactly-once.ts'
import { LONG } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'
import { Topics } from '../topics.ts'

const servers = serversOfFile('stores-of-a-group')
const TIMEOUT = { timeout: 240_000 }
const RESTARTS = LONG ? 10 : 3

/** A topic whose group counts into one store, and the store and file of an instance with another store. */
async function groupOf(t: TestContext, topic: string, partitions: number) {
  const { brokers } = servers.kafka
  const topics = new Topics(brokers)
  const feed = await EventFeed.create({ brokers, topic, partitions })
  t.after(async () => {
    await feed.close()
    await topics.close()
  })
  const env = { KAFKA_GROUP_ID: topic, KAFKA_SESSION_TIMEOUT: '6s' }
  const memberOf = async (store: string, name = 'own') => {
    const dir = join(servers.dir, topic, name)
    await mkdir(dir, { recursive: true })
    const consumer = await ConsumerProcess.start({ brokers, topic, dir, env: { ...env, STORE_URL: `sqlite:${store}` } })
    t.after(() => consumer.end('SIGTERM'))
    return consumer
  }
  const store = join(servers.dir, `${topic}.db`)
  /** Runs the service with a store of its own, to its end. */
  const newcomer = async (file = join(servers.dir, `${topic}-other.json`), words: string[] = []): Promise<Finished> => {
    const other = join(servers.dir, `${topic}-other.db`)
    return await consumerCommand(
      { ...env, KAFKA_BROKERS: brokers, KAFKA_TOPIC: topic, STORE_URL: `sqlite:${other}`, OUTPUT_FILE: file, HTTP_PORT: '0' },
      ...words,
    )
  }
  const mirrored = async (...offsets: number[]) => {
    while ((await topics.mirrored(topic, topic)).size < partitions) await sleep(20)
    while (offsets.length > 0 && (await topics.mirrored(topic, topic)).get(0) !== offsets[0]) await sleep(20)
  }
  return { topic, feed, member: memberOf, store, newcomer, mirrored }
}

const shares = ({ log }: ConsumerProcess) => log.filter(({ msg }) => msg.startsWith('the group has assigned')).map(({ msg }) => msg)

function assertRefused({ exitCode, out, error }: Finished, store: string): void {
  assert.equal(exitCode, 78, `${out}${error}`)
  const said =
    out
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .at(-1) ?? ''
  const { msg, code } = JSON.parse(said) as { msg: string; code: string }
  assert.equal(code, 'kafka/two-stores')
  assert.ok(
    msg.includes(`keeps its positions in sqlite:${store} (`) &&
      msg.includes('-other.db: each store would have only a part of the results. ') &&
      msg.endsWith('. Settings: STORE_URL, KAFKA_GROUP_ID. Command: poke-api-consumer take-group'),
    msg,
  )
}

test('an instance with another store ends before it joins, has written nothing, and disturbs no running instance', TIMEOUT, async (t) => {
  const { feed, member, store, newcomer, mirrored } = await groupOf(t, 'newcomer', 3)
  const [first, second] = [await member(store, 'one'), await member(store, 'two')]
  await feed.send(300)
  await assertPublished(first, feed.counts)
  await mirrored()
  while (shares(first).length < 2 || shares(second).length < 1) await sleep(50)
  const before = [first, second].map(shares)
  const file = join(servers.dir, 'newcomer.json')
  writeFileSync(file, 'untouched')
  const finished = await newcomer(file)
  assertRefused(finished, store)
  assert.match(finished.out, /\(used by [^)]+\/\d+\)/)
  assert.equal(readFileSync(file, 'utf8'), 'untouched')
  assert.deepEqual([first, second].map(shares), before)
  // Another member leads the group now, and it is not the refused instance.
  await first.end('SIGTERM')
  assertRefused(await newcomer(file), store)
  await feed.send(300)
  await assertPublished(second, feed.counts)
})

test('an instance with another store ends, too, if the group has no members', TIMEOUT, async (t) => {
  const { feed, member, store, newcomer, mirrored } = await groupOf(t, 'nobody', 1)
  const first = await member(store)
  await mirrored()
  await first.end('SIGTERM')
  // Nothing was counted yet, and still the group's store is known.
  assertRefused(await newcomer(), store)
  await feed.send(100)
  await first.restart()
  await assertPublished(first, feed.counts)
})

test('counting goes on exactly while a supervisor restarts all instances again and again', TIMEOUT, async (t) => {
  const { feed, member, store, newcomer, mirrored } = await groupOf(t, 'supervised', 3)
  const [first, second] = [await member(store, 'one'), await member(store, 'two')]
  await mirrored()
  for (let i = 0; i < RESTARTS; i++) {
    const coming = newcomer()
    await feed.send(100)
    const member = i % 2 === 0 ? first : second
    await member.end(i % 3 === 0 ? 'SIGKILL' : 'SIGTERM')
    await member.restart()
    assertRefused(await coming, store)
  }
  await feed.send(100)
  for (const member of [first, second]) {
    assert.ok(member.running)
    await assertPublished(member, feed.counts)
  }
  await assertVerified(first)
})

test('of two instances that start at the same time one counts everything, and the other ends', TIMEOUT, async (t) => {
  const { feed, member, store } = await groupOf(t, 'at-once', 2)
  const both = await Promise.all([member(store, 'one'), member(`${store}-other`, 'two')])
  await feed.send(200)
  while (both.every(({ running }) => running)) await sleep(50)
  const [ended, left] = both[0]?.running ? [both[1], both[0]] : [both[0], both[1]]
  assert.match(ended?.log.at(-1)?.msg ?? '', /another store than this instance|^group at-once keeps its positions in sqlite:/)
  await assertPublished(left as ConsumerProcess, feed.counts)
})

test(
  'a store that was replaced by an empty one is refused until take-group says that it is meant; then it counts everything anew',
  TIMEOUT,
  async (t) => {
    const { topic, feed, member, store, mirrored } = await groupOf(t, 'replaced', 1)
    const consumer = await member(store)
    await feed.send(600)
    await mirrored(600)
    const busy = await consumer.command('take-group', '--yes')
    assert.deepEqual([busy.exitCode, busy.out], [0, `Nothing to do: group ${topic} counts into this store already.\n`], busy.error)
    await consumer.end('SIGTERM')
    for (const suffix of ['', '-wal', '-shm']) await rm(`${store}${suffix}`, { force: true })
    const missing = await consumer.command('take-group', '--yes')
    assert.equal(missing.exitCode, 65, missing.error)
    const refused = await consumer.command()
    assert.equal(refused.exitCode, 78)
    assert.match(
      refused.out,
      /would keep them in another store named .*, which was created anew or is in another folder: .* Command: poke-api-consumer take-group/,
    )
    const asked = await consumer.command('take-group')
    assert.equal(asked.exitCode, 64, 'nobody can be asked')
    const taken = await consumer.command('take-group', '--yes')
    assert.deepEqual([taken.exitCode, taken.out], [0, `Group ${topic} counts ${topic} into sqlite:${store} from now on.\n`], taken.error)
    const before = consumer.log.length
    await consumer.restart()
    const said = () => consumer.log.slice(before).filter(({ msg }) => /the group's offset 600 is ahead of the store's position/.test(msg))
    // It is reported before the group's offset is overwritten.
    await feed.send(1)
    await mirrored(601)
    await assertPublished(consumer, feed.counts)
    assert.equal(said().length, 1)
  },
)

test('take-group refuses to change a group that has members', TIMEOUT, async (t) => {
  const { topic, member, store, newcomer, mirrored } = await groupOf(t, 'taken', 1)
  const first = await member(store)
  await mirrored()
  const file = join(servers.dir, 'taken.json')
  assertRefused(await newcomer(file), store)
  assert.ok(!existsSync(file))
  const busy = await newcomer(file, ['take-group', '--yes'])
  assert.equal(busy.exitCode, 75, `${busy.out}${busy.error}`)
  assert.match(busy.error, new RegExp(`group ${topic} has members: stop all of its instances first`))
  await first.end('SIGTERM')
  assert.equal((await newcomer(file, ['take-group', '--yes'])).exitCode, 0)
  const refused = await first.command()
  assert.equal(refused.exitCode, 78)
  assert.match(refused.out, new RegExp(`group ${topic} keeps its positions in sqlite:.*-other\\.db, but this instance`))
})
