/** Reading the group's store: once a second, but less often if that is slow. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PartitionSummary } from '../../src/application/ports.ts'
import { GroupProgress } from '../../src/infrastructure/group-progress.ts'
import { watchGroup } from '../../src/infrastructure/web/group-watch.ts'
import { LiveState } from '../../src/infrastructure/web/live-state.ts'
import { partitionOf } from '../contract/store-harness.ts'

test('counting dead letters by reason takes at most a twentieth of the time, however fast they arrive', async () => {
  const clock = { now: 0 }
  const times: number[] = []
  const stopping = new AbortController()
  const progress = new GroupProgress(() => clock.now)
  const state = new LiveState({ instance: 'me', progress, monotonic: () => clock.now, timeOfDay: () => clock.now })
  const store = {
    partitions: async (): Promise<PartitionSummary[]> => [
      { ...partitionOf(0), position: { offset: 1, leaderEpoch: 0 }, counted: 0, duplicates: 0, deadLetters: clock.now, owner: null },
    ],
    deadLetterReasons: async () => {
      times.push(clock.now)
      clock.now += 300
      return new Map([['not-json', clock.now]])
    },
    deadLetters: async () => [],
  }
  await watchGroup(
    store,
    progress,
    state,
    stopping.signal,
    async (ms) => {
      clock.now += ms
      if (clock.now > 60_000) stopping.abort()
    },
    () => clock.now,
  )
  const gaps = times.slice(1).map((at, i) => at - (times[i] as number))
  assert.ok(times.length >= 8, String(times))
  assert.ok(Math.min(...gaps) >= 20 * 300, String(gaps))
})
