/** The promise itself, with which every test of a fault ends: each event that was sent is counted once, and `verify` agrees. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConsumerProcess } from './consumer-process.ts'
import { patience } from './fault-run.ts'

/** Within this time all events that were sent are counted, in ms: the group notices a killed member only after its session time-out. */
const PATIENCE = patience(60_000)

/** The sum of counts. */
export function total(counts: Readonly<Record<string, number>> | null): number {
  return Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0)
}

/** Waits until the consumer's file has all counts, and checks that they are never too high, and right at the end. */
export async function assertPublished(consumer: ConsumerProcess, expected: Readonly<Record<string, number>>): Promise<void> {
  const sum = total(expected)
  for (const deadline = performance.now() + PATIENCE; ; ) {
    const published = await consumer.published()
    const counted = total(published)
    assert.ok(counted <= sum, `${counted} types were counted where ${sum} were sent`)
    if (counted === sum) return assert.deepEqual(published ?? {}, expected)
    const late = performance.now() > deadline
    assert.ok(!late, `after ${PATIENCE} ms ${counted} of ${sum} types are counted; the consumer says:\n${consumer.output.slice(-20_000)}`)
    await sleep(10)
  }
}

/** Counts the topic again with the consumer's command `verify`. */
export async function assertVerified(consumer: ConsumerProcess): Promise<void> {
  const { exitCode, out, error } = await consumer.command('verify')
  assert.deepEqual([exitCode, out.split('.')[0]], [0, 'verify: equal'], `${out}${error}`)
}
