/**
 * Records that are gone or damaged: removed before they were read, cut off, damaged on the broker's disk, or in a topic that was made again.
 * Log, metric and readiness report what happened and the amount. `stop` stops that partition alone; `continue` records the gap and goes on behind
 * it.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import type { DataLoss } from '@poke-api-pipeline/kafka-reader'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { ConsumerProcess } from '../consumer-process.ts'
import { assertPublished } from '../exactly-once.ts'
import { figure, LONG, patience } from '../fault-run.ts'
import { Topics } from '../topics.ts'

const PATIENCE = patience(60_000)
/** Types counted in the two partitions before the loss: one record each, with a type that names it. */
const COUNTED = 10

interface Loss {
  readonly topic: string
  /** Happens to partition 0 while no consumer runs. */
  readonly unread?: (topic: string) => Promise<void>
  /** Happens to its log while the broker is stopped. */
  readonly stopped?: (log: string) => void
  readonly afterwards?: (topic: string) => Promise<void>
  readonly kind: DataLoss['kind']
  /** The message with the true amounts. */
  readonly says: RegExp
  /** Types that can be counted before the loss, and behind it. */
  readonly before?: readonly string[]
  readonly behind: readonly string[]
  /** Null if reading cannot go on. */
  readonly gap: readonly [from: number | null, to: number | null] | null
  /** 0: equal; 2: the topic no longer has everything that was counted. */
  readonly verify: 0 | 2
  /** If the topic was made again, both of its partitions are lost. */
  readonly stopsBoth?: true
  /** Only in full runs. */
  readonly longOnly?: true
}

const LOSSES = Object.entries<Loss>({
  'records that retention removed before they were read': {
    topic: 'retention',
    unread: (topic) => writeEach(topic, 0, names('unread', 10)),
    afterwards: (topic) => topics.removeBefore(topic, 0, COUNTED + 7),
    kind: 'retention',
    says: /retention removed 7 offsets before they were read: from 10 to 16/,
    behind: names('unread', 10).slice(7),
    gap: [COUNTED, COUNTED + 7],
    verify: 2,
  },
  'a log that was cut': {
    topic: 'cut',
    longOnly: true,
    stopped: (log) => truncateSync(log, placeOf(log, 6)),
    kind: 'truncated',
    says: /cut below the position 10, and may have been refilled: the 4 offsets from 6 on that were read are not what is there now/,
    behind: [],
    gap: [6, 6],
    verify: 2,
  },
  'a log that was cut and refilled': {
    topic: 'refilled',
    stopped: (log) => truncateSync(log, placeOf(log, 6)),
    afterwards: (topic) => writeEach(topic, 0, names('new', 20)),
    kind: 'truncated',
    says: /cut below the position 10, and may have been refilled: the 4 offsets from 6 on that were read are not what is there now/,
    behind: names('new', 20),
    gap: [6, 6],
    verify: 2,
  },
  'a topic that was deleted and made again': {
    topic: 'recreated',
    afterwards: async (topic) => {
      await topics.remove(topic)
      await topics.make(topic, 2)
      await writeEach(topic, 0, names('again', 3))
    },
    kind: 'recreated',
    says: /topic recreated was deleted and made again: it had the id [0-9a-f-]{36}, now it has [0-9a-f-]{36}/,
    behind: names('again', 3),
    gap: [null, null],
    verify: 2,
    stopsBoth: true,
  },
  'a batch that is damaged': {
    topic: 'damaged',
    unread: writeDamageable,
    stopped: (log) => damage(log, 12, (batch) => batch.writeUInt8((batch.at(-3) as number) ^ 1, batch.length - 3)),
    kind: 'corrupt',
    says: /3 offsets cannot be read, from 12 to 14: the checksum of the batch at offset 12 does not match its bytes/,
    before: names('unread', 2),
    behind: names('unread', 6).slice(5),
    gap: [12, 15],
    verify: 0,
  },
  'a batch whose head is damaged, so that nobody knows where it ends': {
    topic: 'beheaded',
    longOnly: true,
    unread: writeDamageable,
    stopped: (log) => damage(log, 12, (batch) => batch.writeInt32BE(1, 23)),
    kind: 'corrupt',
    says: /the records at offset 12 cannot be read, and it is not known where the next whole batch begins: the checksum/,
    before: names('unread', 2),
    behind: names('unread', 6).slice(5),
    gap: null,
    verify: 2,
  },
}).filter(([, { longOnly }]) => LONG || !longOnly)

const dir = mkdtempSync(join(tmpdir(), 'lost-records-'))
let kafka: Kafka
let topics: Topics

function names(what: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${what}-${i}`)
}

function event(type: string): string {
  return JSON.stringify({ id: 1, name: 'x', types: [{ slot: 1, type: { name: type } }] })
}

/** Each record in a batch of its own. */
async function writeEach(topic: string, partition: number, types: readonly string[]): Promise<void> {
  for (const type of types) await topics.write(topic, partition, event(type))
}

/** Three batches, of two, three and one record. */
async function writeDamageable(topic: string): Promise<void> {
  const [a, b, c, d, e, f] = names('unread', 6).map(event) as [string, string, string, string, string, string]
  await topics.write(topic, 0, a, b)
  await topics.write(topic, 0, c, d, e)
  await topics.write(topic, 0, f)
}

/** The place in a log file at which the batch with this base offset begins. */
function placeOf(log: string, offset: number): number {
  const bytes = readFileSync(log)
  let place = 0
  while (Number(bytes.readBigInt64BE(place)) !== offset) place += 12 + bytes.readInt32BE(place + 8)
  return place
}

function damage(log: string, offset: number, change: (batch: Buffer) => void): void {
  const bytes = readFileSync(log)
  const place = placeOf(log, offset)
  change(bytes.subarray(place, place + 12 + bytes.readInt32BE(place + 8)))
  writeFileSync(log, bytes)
}

/** The consumer of a topic, always with the same store. */
async function consume({ topic }: Loss, onDataLoss: 'stop' | 'continue'): Promise<ConsumerProcess> {
  mkdirSync(join(dir, topic), { recursive: true })
  const env = { KAFKA_GROUP_ID: topic, KAFKA_SESSION_TIMEOUT: '6s', ON_DATA_LOSS: onDataLoss }
  return await ConsumerProcess.start({ brokers: kafka.brokers, topic, dir: join(dir, topic), env })
}

async function consuming(t: TestContext, loss: Loss, onDataLoss: 'stop' | 'continue'): Promise<ConsumerProcess> {
  const consumer = await consume(loss, onDataLoss)
  t.after(() => consumer.end('SIGKILL'))
  return consumer
}

/** Waits for the line of its log that reports the loss. */
async function logged(consumer: ConsumerProcess, level: string): Promise<string> {
  for (const deadline = performance.now() + PATIENCE; ; ) {
    const line = consumer.log.find((each) => each.level === level && each.partition === 0)
    if (line !== undefined) return line.msg
    assert.ok(performance.now() < deadline, `nothing is said of partition 0 after ${PATIENCE} ms:\n${consumer.output}`)
    await sleep(20)
  }
}

async function gapsOf({ topic }: Loss): Promise<unknown[]> {
  const options = { groupId: topic, sourceMaxAge: 604_800_000, sourceMaxCount: 10_000 }
  const store = await openStore(`sqlite:${join(dir, topic, 'type-counts.db')}`, options)
  try {
    const partitions = (await store.snapshot()).filter(({ partition }) => partition === 0)
    return partitions.flatMap(({ gaps }) => gaps.map(({ kind, from, to }) => [kind, from, to]))
  } finally {
    await store.close()
  }
}

const once = (...types: readonly string[]) => Object.fromEntries(types.map((type) => [type, 1]))
const FIRST = [...names('first', COUNTED), ...names('other', COUNTED)]

before(async () => {
  kafka = await startKafka({ dir: join(dir, 'kafka') })
  topics = new Topics(kafka.brokers)
  const losses = LOSSES.map(([, loss]) => loss)
  await Promise.all(
    losses.map(async (loss) => {
      await topics.make(loss.topic, 2)
      await writeEach(loss.topic, 0, names('first', COUNTED))
      await writeEach(loss.topic, 1, names('other', COUNTED))
      const consumer = await consume(loss, 'stop')
      await assertPublished(consumer, once(...FIRST))
      await consumer.end('SIGTERM')
      await loss.unread?.(loss.topic)
    }),
  )
  await kafka.stop()
  for (const { topic, stopped } of losses) stopped?.(join(dir, 'kafka', 'log', `${topic}-0`, '00000000000000000000.log'))
  await kafka.restart()
  for (const { topic } of losses) await topics.untilThereIs(topic, 2)
  for (const { topic, afterwards } of losses) await afterwards?.(topic)
})
after(async () => {
  await topics.close()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

describe('nothing is skipped in silence:', { concurrency: true }, () => {
  for (const [name, loss] of LOSSES) {
    const { topic, kind, says, before: inFront = [], behind, gap, verify, stopsBoth } = loss
    test(name, async (t) => {
      // 1. `stop`, the default: only partition 0 stops.
      const stopping = await consuming(t, loss, 'stop')
      assert.match(await logged(stopping, 'error'), new RegExp(`^partition 0 is stopped: .*${says.source}`))
      const counted = [...FIRST, ...inFront]
      if (!stopsBoth) {
        await topics.write(topic, 1, event('meanwhile'))
        counted.push('meanwhile')
      }
      await assertPublished(stopping, once(...counted))
      assert.equal(await stopping.metric('poke_partition_stopped{partition="0"}'), 1)
      assert.equal(await stopping.metric('poke_partition_stopped{partition="1"}'), stopsBoth ? 1 : 0)
      assert.match((await stopping.reasons()).join('\n'), new RegExp(`^partitions: partition 0 is stopped: .*${says.source}`))
      assert.deepEqual(await gapsOf(loss), [])
      await stopping.end('SIGTERM')

      // 2. `continue`: the gap is recorded, and the records behind it are counted.
      const going = await consuming(t, loss, 'continue')
      if (gap === null) {
        // Not by itself, but after the action that the message advises.
        assert.match(
          await logged(going, 'error'),
          /ON_DATA_LOSS=continue cannot go on from here: remove the records up to an offset behind/,
        )
        await going.end('SIGTERM')
        await topics.removeBefore(topic, 0, 15)
        await going.restart()
        assert.match(await logged(going, 'warn'), /partition 0: retention removed 3 offsets before they were read: from 12 to 14/)
      } else {
        const said = await logged(going, 'warn')
        assert.match(said, new RegExp(`^partition 0: .*${says.source}.*The gap is recorded, and counting goes on`))
        assert.equal(await going.metric(`poke_gaps_total{kind="${kind}"}`), stopsBoth ? 2 : 1)
      }
      await topics.write(topic, 0, event('afterwards'))
      await assertPublished(going, once(...counted, ...behind, 'afterwards'))
      assert.deepEqual(await going.reasons(), [])
      const recorded = gap === null ? [['retention', 12, 15]] : [[kind, ...gap]]
      assert.deepEqual(await gapsOf(loss), recorded)
      const { exitCode, out, error } = await going.command('verify')
      assert.equal(exitCode, verify, `${out}${error}`)
      figure('lost records', `${name}: said with true amounts, partition 0 alone stopped, then went on behind the gap`)
    })
  }
})
