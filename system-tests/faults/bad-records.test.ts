/**
 * Records of twelve kinds that cannot be counted, among records that can: each of them is kept, and published byte for byte and in order; nothing
 * else is delayed; and a replay counts once those that an earlier version could not count.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { copyHeaders, MAX_HEADERS } from '@poke-api-pipeline/kafka-reader'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed, type ForeignRecord } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, SEED, seeded } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'
import { type ReadRecord, readTopic } from '../test/read-topic.ts'
import { Topics } from '../topics.ts'

const GOOD = LONG ? 100_000 : 2000
const BAD = LONG ? 10_000 : 200
/** How many of them have more than a megabyte. */
const TOO_LARGE = LONG ? 20 : 2
/** Events in one send; bad records are distributed among them. */
const SEND = 1000
const PARTITIONS = 3
const TOPIC = 'bad-records'
const GROUP = 'bad-records'
const PATIENCE = 120_000
/** Dead letters on one page of the list. */
const EVERY = 1_000_000

const servers = serversOfFile('bad-records')
const { dir } = servers
const storeUrl = `sqlite:${join(dir, 'type-counts.db')}`

interface Kind {
  readonly reason: string
  /** @param i makes it differ from others of its kind, if it has any bytes */
  readonly value: (i: number) => Buffer | string | null
  readonly headers?: readonly (readonly [string, string])[]
}

const typed = (...names: string[]) => names.map((name, i) => ({ slot: i + 1, type: { name } }))
const event = (i: number, types: unknown) => JSON.stringify({ id: i + 1, name: `bad-${i}`, types })

const TOO_LARGE_KIND: Kind = { reason: 'too-large', value: (i) => Buffer.alloc(1024 * 1024 + 1 + i, 'x') }
const KINDS: readonly Kind[] = [
  { reason: 'null-value', value: () => null },
  { reason: 'empty-value', value: () => '' },
  { reason: 'not-utf8', value: (i) => Buffer.concat([Buffer.from(`{"name":"${i}`), Buffer.from([0xc3, 0x28, 0xff])]) },
  { reason: 'not-json', value: (i) => event(i, typed('water')).slice(0, -1) },
  { reason: 'not-json', value: (i) => `${event(i, typed('water'))}${event(i, typed('fire'))}` },
  { reason: 'wrong-shape', value: (i) => `[${i}]` },
  { reason: 'wrong-shape', value: (i) => JSON.stringify({ id: i + 1, name: 'without types' }) },
  { reason: 'wrong-shape', value: (i) => event(i, []) },
  { reason: 'bad-type-name', value: (i) => event(i, typed('Water')) },
  { reason: 'bad-type-name', value: (i) => event(i, typed(`water\0${i}`)) },
  { reason: 'unknown-event-type', value: (i) => event(i, typed('water')), headers: [['ce_type', 'pokemon.released.v1']] },
]

interface BadRecord extends ForeignRecord {
  readonly reason: string
}

function badRecords(random: () => number): BadRecord[] {
  return Array.from({ length: BAD }, (_, i) => {
    const large = i % Math.floor(BAD / TOO_LARGE) === 0
    const kind = large ? TOO_LARGE_KIND : (KINDS[Math.floor(random() * KINDS.length)] as Kind)
    const value = kind.value(i)
    return {
      reason: kind.reason,
      partition: Math.floor(random() * PARTITIONS),
      key: Buffer.from(`key ${i}`),
      value: value === null ? null : Buffer.from(value),
      headers: [...(kind.headers ?? []), ['number', String(i)] as const],
    }
  })
}

/** A short form of a dead letter, to compare many of them. @param sha256 of the whole value, if that is not kept */
function inShort(
  reason: string | undefined,
  key: Buffer | null,
  value: Buffer | null,
  headers: Iterable<readonly [string, string]>,
  sha256?: string,
): string {
  const bytes = sha256 ?? (value === null ? null : createHash('sha256').update(value).digest('hex'))
  const own = [...headers].filter(([name]) => !name.startsWith('dead_letter_'))
  return JSON.stringify([reason, key?.toString(), bytes, own])
}

/** Whether it is a bad record, and not an event that an earlier version could not count. */
const isNumbered = (headers: ReadonlyMap<string, string>) => headers.has('number')

/** Waits until so many dead letters are in the topic. @returns them without repeats */
async function publishedDeadLetters(amount: number): Promise<ReadRecord[][]> {
  for (const deadline = performance.now() + PATIENCE; ; ) {
    const seen = new Set<string>()
    const isNew = ({ headers }: ReadRecord) => seen.size < seen.add(String(headers.get('dead_letter_id'))).size
    const partitions = (await readTopic(servers.kafka.brokers, `${TOPIC}.dead-letters`)).map((records) => records.filter(isNew))
    if (seen.size >= amount) return partitions
    assert.ok(performance.now() < deadline, `${seen.size} of ${amount} dead letters are published after ${PATIENCE} ms`)
    await sleep(200)
  }
}

test(`${BAD} bad records of 12 kinds among ${GOOD} good ones (SEED=${SEED})`, async (t) => {
  const { brokers } = servers.kafka
  const feed = await EventFeed.create({ brokers, topic: TOPIC, partitions: PARTITIONS })
  t.after(() => feed.close())
  const topics = new Topics(brokers)
  t.after(() => topics.close())
  await topics.set(TOPIC, 'max.message.bytes', String(8 * 1024 * 1024))
  const bad = badRecords(seeded('bad records'))
  const share = (BAD * SEND) / GOOD
  for (let sends = 0; sends * SEND < GOOD; sends++) await feed.send(SEND, bad.slice(sends * share, (sends + 1) * share))

  const env = { STORE_URL: storeUrl, KAFKA_GROUP_ID: GROUP, KAFKA_SESSION_TIMEOUT: '6s' }
  const start = async (name: string, nodeArguments: string[]) => {
    mkdirSync(join(dir, name))
    const consumer = await ConsumerProcess.start({ brokers, topic: TOPIC, dir: join(dir, name), nodeArguments, env })
    t.after(() => consumer.end('SIGKILL'))
    return consumer
  }
  const older = await start('older', ['--import', fileURLToPath(new URL('older-consumer.ts', import.meta.url))])
  const refused = feed.events.filter(({ types }) => types.some(({ type }) => type.name === 'fairy'))
  const countable = new Map(Object.entries(feed.counts))
  for (const { types } of refused) for (const { type } of types) countable.set(type.name, (countable.get(type.name) as number) - 1)
  countable.delete('fairy')
  await assertPublished(older, Object.fromEntries(countable))

  // Published: in order, byte for byte.
  const published = await publishedDeadLetters(BAD + refused.length)
  const sent = (partition: number) => bad.filter((record) => record.partition === partition)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const deadLetters = published.flat().filter(({ headers }) => headers.get('dead_letter_partition') === String(partition))
    const offsets = deadLetters.map(({ headers }) => Number(headers.get('dead_letter_offset')))
    assert.ok(
      offsets.every((offset, i) => i === 0 || offset > (offsets[i - 1] as number)),
      `the dead letters of partition ${partition} are not in order`,
    )
    assert.deepEqual(
      deadLetters
        .filter(({ headers }) => isNumbered(headers))
        .map(({ key, value, headers }) =>
          inShort(headers.get('dead_letter_reason'), key, value, headers, headers.get('dead_letter_sha256')),
        ),
      sent(partition).map(({ reason, key, value, headers }) => inShort(reason, key, value, headers)),
    )
  }
  await older.end('SIGTERM')

  // Kept: the same.
  const store = await openStore(storeUrl, { groupId: GROUP, sourceMaxAge: 604_800_000, sourceMaxCount: 10_000 })
  const kept = (await store.deadLetters(null, EVERY, Number.MAX_SAFE_INTEGER)).sort((a, b) => a.offset - b.offset)
  await store.close()
  assert.equal(kept.length, BAD + refused.length)
  for (const { reason, value, cut } of kept) {
    if (reason === 'too-large') assert.deepEqual([value?.length, (cut.value?.bytes ?? 0) > 1024 * 1024], [65_536, true])
  }
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const deadLetters = kept.filter((deadLetter) => deadLetter.partition.partition === partition)
    const own = deadLetters.map(({ reason, key, value, headers, cut }) => {
      const named = copyHeaders(headers, MAX_HEADERS).map(([name, text]) => [String(name), String(text)] as const)
      return { named, short: inShort(reason, key, value, named, cut.value?.sha256) }
    })
    assert.deepEqual(
      own.filter(({ named }) => isNumbered(new Map(named))).map(({ short }) => short),
      sent(partition).map(({ reason, key, value, headers }) => inShort(reason, key, value, headers)),
    )
  }

  // Two replays at the same time by today's version, and one more: each is counted once.
  const newer = await start('newer', [])
  const replays = await Promise.all([1, 2].map(() => newer.command('dead-letters', 'replay', '--json')))
  replays.push(await newer.command('dead-letters', 'replay', '--json'))
  const replayed = replays.map(({ exitCode, out, error }) => {
    assert.equal(exitCode, 0, error)
    return (JSON.parse(out) as { counted: number }).counted
  })
  assert.deepEqual([(replayed[0] as number) + (replayed[1] as number), replayed[2]], [refused.length, 0])
  await assertPublished(newer, feed.counts)
  await assertVerified(newer)
  figure(
    'bad records',
    `${BAD} of 12 kinds among ${GOOD} events: all kept and published, in order; ${total(feed.counts)} types counted exactly once, ` +
      `of ${refused.length} events by a replay (two at once counted ${replayed[0]} and ${replayed[1]}, a third one ${replayed[2]})`,
  )
})
