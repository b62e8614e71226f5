/** The promise itself, as every test of a fault ends by it: what was sent is counted, once, and the topic counted anew agrees. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConsumerProcess } from './consumer-process.ts'

/** Within this time what was sent is counted, in ms: a member that died is missed after its session alone. */
const PATIENCE = 60_000

/** What counts add up to. */
export function total(counts: Readonly<Record<string, number>> | null): number {
  return Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0)
}

/** Waits until the consumer's file shows as many types as there are, and checks that it never goes beyond, and that each is right. */
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

/** Counts the topic anew by the consumer's own command. */
export async function assertVerified(consumer: ConsumerProcess): Promise<void> {
  const { exitCode, out, error } = await consumer.command('verify')
  assert.deepEqual([exitCode, out.split('.')[0]], [0, 'verify: equal'], `${out}${error}`)
}
