/**
 * Four consumers of one group on six partitions, on both stores, that leave (SIGTERM), are killed (SIGKILL), are frozen for longer than
 * their session (SIGSTOP) and come back, at random moments and at a steady rate of records.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { assertPublished, assertVerified, total } from '../exactly-once.ts'
import { figure, LONG, patience, SEED, seeded } from '../fault-run.ts'
import { serversOfFile } from '../servers.ts'

const MEMBERS = 4
const PARTITIONS = 6
/** Events a second. */
const RATE = LONG ? 2000 : 500
/** For how long new faults begin, in ms; each kind occurs at least once. */
const DURATION = LONG ? 5 * 60_000 : 0
/** In ms. */
const SESSION = 6000
/** How many members are killed, frozen or gone at the same time, at most. */
const MOST_AWAY = 2
/** At the end every member's file is right within this time after the first one, in ms: a second, and some more for a busy machine. */
const MOST_SPREAD = patience(5000)
const PATIENCE = patience(60_000)

const FAULTS = ['frozen', 'killed', 'left'] as const
type Fault = (typeof FAULTS)[number]

const servers = serversOfFile('members', { postgres: true })
const { dir } = servers

/** Four consumers of one group with one topic and one store, each with a file of its own. */
async function startMembers(t: TestContext, topic: string, storeUrl: string): Promise<ConsumerProcess[]> {
  return await Promise.all(
    Array.from({ length: MEMBERS }, async (_, i) => {
      const own = join(dir, topic, String(i))
      mkdirSync(own, { recursive: true })
      const env = { STORE_URL: storeUrl, KAFKA_GROUP_ID: topic, KAFKA_SESSION_TIMEOUT: `${SESSION}ms` }
      const member = await ConsumerProcess.start({ brokers: servers.kafka.brokers, topic, dir: own, env })
      t.after(() => member.end('SIGKILL'))
      return member
    }),
  )
}

async function befall(member: ConsumerProcess, fault: Fault, random: () => number): Promise<void> {
  if (fault === 'frozen') {
    member.signal('SIGSTOP')
    await sleep(SESSION + (LONG ? 2000 + random() * 4000 : 1000 + random() * 1000))
    member.signal('SIGCONT')
    return
  }
  await member.end(fault === 'killed' ? 'SIGKILL' : 'SIGTERM')
  await sleep(random() * 4000)
  await member.restart()
}

/** Random faults to random members, one after the other; each kind occurs before one is repeated. */
async function befallAll(members: readonly ConsumerProcess[], random: () => number): Promise<Record<Fault, number>> {
  const happened = { frozen: 0, killed: 0, left: 0 }
  const away = new Map<ConsumerProcess, Promise<void>>()
  const end = performance.now() + DURATION
  do {
    for (const fault of FAULTS.map((each) => [random(), each] as const).sort(([a], [b]) => a - b)) {
      await sleep(500 + random() * 2000)
      while (away.size >= MOST_AWAY) await Promise.race(away.values())
      const present = members.filter((member) => !away.has(member))
      const member = present[Math.floor(random() * present.length)] as ConsumerProcess
      happened[fault[1]]++
      away.set(
        member,
        befall(member, fault[1], random).finally(() => away.delete(member)),
      )
    }
  } while (performance.now() < end)
  await Promise.all(away.values())
  return happened
}

/** Checks all the time that no count in any file is too high or goes back. @returns the longest time in which none of them changed, in ms */
async function watch(members: readonly ConsumerProcess[], sent: () => number, signal: AbortSignal): Promise<number> {
  let [highest, movedAt, longest] = [0, performance.now(), 0]
  while (!signal.aborted) {
    const most = Math.max(...(await Promise.all(members.map(async (member) => total(await member.published())))))
    assert.ok(most <= sent(), `${most} types were counted where ${sent()} were sent`)
    if (most > highest) {
      longest = Math.max(longest, performance.now() - movedAt)
      movedAt = performance.now()
      highest = most
    }
    await sleep(100, undefined, { signal }).catch(() => {})
  }
  return Math.round(Math.max(longest, performance.now() - movedAt))
}

/** Reads the log of a member, which reports a fence once for each time that a partition was handed to it. @returns how often it was fenced */
function fences(member: ConsumerProcess): number {
  let count = 0
  const reported = new Set<number>()
  for (const { msg, partition = -1 } of member.log) {
    if (/the group has assigned|^counts /.test(msg)) reported.clear()
    if (!/^another instance opened partition/.test(msg)) continue
    assert.ok(
      !reported.has(partition),
      `reported twice that partition ${partition} was opened by another instance:\n${member.output.slice(-20_000)}`,
    )
    reported.add(partition)
    count++
  }
  return count
}

/** Waits until every partition has one owner, and every member owns some. */
async function assertShared(members: readonly ConsumerProcess[]): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; ; ) {
    const owned = await Promise.all(members.map((member) => member.metric('poke_partitions_owned')))
    if (owned.reduce<number>((sum, each) => sum + (each ?? 0), 0) === PARTITIONS && owned.every((each) => each !== null && each > 0)) return
    assert.ok(performance.now() < deadline, `the ${MEMBERS} members have ${owned.join(', ')} partitions`)
    await sleep(100)
  }
}

function testOn(store: string, storeUrl: () => Promise<string>): void {
  test(`${MEMBERS} members on ${store} that leave, are killed and freeze count every event once`, async (t) => {
    const topic = `members-${store}`
    const feed = await EventFeed.create({ brokers: servers.kafka.brokers, topic, partitions: PARTITIONS })
    t.after(() => feed.close())
    const members = await startMembers(t, topic, await storeUrl())
    const stop = new AbortController()
    t.after(() => stop.abort())
    const began = performance.now()
    const flowing = feed.steady(stop.signal, RATE)
    // Events that are not acknowledged yet may be counted already.
    const watching = watch(members, () => total(feed.counts) + 2 * RATE, stop.signal)
    const happened = await befallAll(members, seeded(topic))
    stop.abort()
    await flowing
    const rate = Math.round(feed.sent / ((performance.now() - began) / 1000))
    const stall = await watching
    const right = await Promise.all(members.map((member) => assertPublished(member, feed.counts).then(() => performance.now())))
    const spread = Math.round(Math.max(...right) - Math.min(...right))
    assert.ok(spread < MOST_SPREAD, `the last file was right ${spread} ms after the first one`)
    await assertShared(members)
    await assertVerified(members[0] as ConsumerProcess)
    const fenced = members.map(fences).reduce((sum, each) => sum + each, 0)
    figure(
      `${MEMBERS} members, ${PARTITIONS} partitions, ${store}`,
      `${feed.sent} events at ${rate} a second counted exactly once; ${happened.frozen} times frozen, ${happened.killed} killed, ` +
        `${happened.left} left; ${fenced} commits fenced; nothing counted for ${stall} ms at most; all files right within ${spread} ms`,
    )
  })
}

// At the same time in small runs: most of the time passes until sessions end.
describe(`a group whose members leave, are killed and freeze (SEED=${SEED})`, { concurrency: !LONG }, () => {
  testOn('SQLite', async () => `sqlite:${join(dir, 'type-counts.db')}`)
  testOn('PostgreSQL', () => servers.postgres.createDatabase())
})
