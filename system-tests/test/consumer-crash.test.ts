/** The consumer is killed at each of its crash points, on a real broker and on both stores: each record is counted once. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { CRASH_POINTS, type CrashPoint } from '@poke-api-pipeline/poke-api-consumer/testing/crash-points'
import { consumerCommand } from '../cli.ts'
import { ConsumerProcess } from '../consumer-process.ts'
import { removeDeadMembers } from '../dead-members.ts'
import { EventFeed } from '../event-feed.ts'
import { PROCESS_ENV } from '../process-env.ts'
import { serversOfFile } from '../servers.ts'
import type { Death } from './crashing-consumer.ts'

const EVENTS = 1000
const GARBAGE = 3
/** How often it passes a crash point before it is killed there, if not once: so that it is killed in the middle of the topic. */
const NTH: Partial<Record<CrashPoint, number>> = { fetched: 3, walked: 3, committing: 3, committed: 3, exported: 2 }
/** What differs between the two stores. */
const AT_THE_STORE: readonly CrashPoint[] = ['opened', 'committing', 'committed']
/** Tests at the same time: each starts several processes, one after the other. */
const AT_ONCE = 4
const servers = serversOfFile('consumer-crash', { postgres: true })
const { dir } = servers

describe('a consumer killed', { concurrency: AT_ONCE }, () => {
  for (const store of ['sqlite', 'postgres'] as const) {
    for (const at of store === 'sqlite' ? CRASH_POINTS : AT_THE_STORE) {
      test(`at "${at}" goes on, and each record is counted once (${store})`, async () => {
        const topic = `crash-${store}-${at}`
        const folder = join(dir, topic)
        mkdirSync(folder)
        const url = store === 'sqlite' ? `sqlite:${join(folder, 'type-counts.db')}` : await servers.postgres.createDatabase()
        const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: 2 })
        for (let sent = 0; sent < EVENTS; sent += 50) await feed.send(50)
        for (let i = 0; i < GARBAGE; i++) await feed.sendGarbage(`garbage ${i}`)
        const env = {
          KAFKA_GROUP_ID: topic,
          KAFKA_SESSION_TIMEOUT: '6s',
          STORE_URL: url,
          // So small that each partition takes several fetches.
          FETCH_MAX_BYTES: '64KiB',
          LOG_LEVEL: 'warn',
        }
        const options = { brokers: servers.kafka.brokers, topic, dir: folder, env }

        assert.equal(await runUntilDeath(options, { at, nth: NTH[at] ?? 1 }), 'SIGKILL')
        await removeDeadMembers(options.brokers, topic)
        const consumer = await ConsumerProcess.start(options)
        try {
          await published(consumer, feed.counts)
          const { exitCode, out } = await consumerCommand({ ...env, KAFKA_BROKERS: servers.kafka.brokers, KAFKA_TOPIC: topic }, 'verify')
          assert.deepEqual([exitCode, out.split('.')[0]], [0, 'verify: equal'], out)
          // Dead letters are published a moment after the commit.
          while ((await letterStates(url, topic)).some((state) => state !== 'published')) await sleep(50)
        } finally {
          await consumer.end('SIGTERM')
          await feed.close()
        }
        assert.deepEqual(
          await letterStates(url, topic),
          Array.from({ length: GARBAGE }, () => 'published'),
        )
      })
    }
  }
})

/** The states of the dead letters; all of them are in the first partition. */
async function letterStates(url: string, groupId: string): Promise<string[]> {
  const store = await openStore(url, { groupId })
  try {
    const [partition] = await store.snapshot()
    return [...(partition?.deadLetterList ?? [])].map(({ state }) => state)
  } finally {
    await store.close()
  }
}

/** Waits until the file has all counts, and fails if it ever has more or other ones. */
async function published(consumer: ConsumerProcess, expected: Readonly<Record<string, number>>): Promise<void> {
  for (;;) {
    const counts = (await consumer.published()) ?? {}
    assert.ok(sum(counts) <= sum(expected), `${sum(counts)} types were counted where ${sum(expected)} were sent`)
    if (sum(counts) === sum(expected)) return assert.deepEqual(counts, expected)
    await sleep(50)
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}

/** Runs the consumer to its end. @returns its exit code, or the signal that ended it */
async function runUntilDeath(
  { brokers, topic, dir: folder, env }: { brokers: string; topic: string; dir: string; env: Readonly<Record<string, string>> },
  death: Death,
): Promise<number | NodeJS.Signals> {
  const program = fileURLToPath(new URL('./crashing-consumer.ts', import.meta.url))
  const child = spawn(process.execPath, [program, JSON.stringify(death)], {
    env: {
      ...PROCESS_ENV,
      KAFKA_BROKERS: brokers,
      KAFKA_TOPIC: topic,
      OUTPUT_FILE: join(folder, 'type-counts.json'),
      HTTP_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code, signal] = await once(child, 'exit')
  return signal ?? code
}
