/** The producer is killed at each of its crash points, on a real broker: each Pokémon of its sweep is counted once. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CRASH_POINTS } from '@poke-api-pipeline/poke-api-producer/testing/crash-points'
import { countedIds } from '@poke-api-pipeline/poke-api-producer/testing/mock-kafka-producer'
import { HEADER } from '@poke-api-pipeline/pokemon-event'
import { serversOfFile } from '../servers.ts'
import { readTopic } from './read-topic.ts'
import type { SweepOrders } from './sweep-process.ts'

const LAST = 60
const eachOnce = (last: number) => Array.from({ length: last }, (_, i) => i + 1)
/** For a sweep that each start of the process takes a part further: captures that finish together are stored in one transaction. */
const LAST_OF_LONG = 400
const servers = serversOfFile('producer-crash')
const { dir } = servers

for (const [index, at] of CRASH_POINTS.entries()) {
  test(`a producer killed at "${at}" goes on, and each Pokémon is counted once`, async () => {
    const orders = { dir: join(dir, `outbox-${index}`), brokers: servers.kafka.brokers, topic: `crash-${index}`, last: LAST }
    const nth = at === 'named' || at === 'obtained' ? LAST / 2 : 1
    assert.equal(await sweep({ ...orders, kill: { at, nth } }), 'SIGKILL')
    assert.equal(await sweep(orders), 0)
    assert.deepEqual(await counted(orders.topic), eachOnce(LAST))
  })
}

test('a producer killed again and again in the middle of its sweep finishes it, and each Pokémon is counted once', async () => {
  const orders = { dir: join(dir, 'outbox-again'), brokers: servers.kafka.brokers, topic: 'crash-again', last: LAST_OF_LONG }
  let kills = 0
  // After something was stored: a start that stores nothing would be repeated for ever.
  while ((await sweep({ ...orders, kill: { at: 'obtained', nth: 15, after: 'stored' } })) === 'SIGKILL') kills++
  assert.ok(kills >= 3, `only ${kills} kills hit`)
  assert.deepEqual(await counted(orders.topic), eachOnce(LAST_OF_LONG))
})

/** Runs the process of a sweep to its end. @returns its exit code, or the signal that ended it */
async function sweep(orders: SweepOrders): Promise<number | NodeJS.Signals> {
  const program = fileURLToPath(new URL('./sweep-process.ts', import.meta.url))
  const child = spawn(process.execPath, [program, JSON.stringify(orders)], { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code, signal] = await once(child, 'exit')
  return signal ?? code
}

/** The ids that a consumer counts in the topic, by rule C2. */
async function counted(topic: string): Promise<number[]> {
  const logs = await readTopic(servers.kafka.brokers, topic)
  return countedIds(
    logs.map((log) =>
      log.map(({ key, headers }) => ({
        source: headers.get(HEADER.source) ?? '',
        sequence: Number(headers.get(HEADER.sequence)),
        key: String(key),
      })),
    ),
  )
}
