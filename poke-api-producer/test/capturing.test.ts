/** Captures at random keep their pace by waits that are always ahead, however the clock moves between two looks at it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { BackOff } from '@poke-api-pipeline/service-kit'
import { Capturing } from '../src/application/capturing.ts'
import { Notifier } from '../src/application/notifier.ts'
import type { OutboxWriter } from '../src/application/outbox-writer.ts'
import { PokeApiError } from '../src/errors.ts'
import { capture } from './pokemon.ts'
import { RecordingObserver } from './recording-observer.ts'

/** Captures until so many waits were asked for. @returns them, in ms */
async function waitsOf(interval: number, step: () => number, failing: () => boolean): Promise<number[]> {
  let now = 0
  const waits: number[] = []
  const stop = new AbortController()
  const capturing = new Capturing({
    api: {
      list: async () => [1, 2, 3],
      confirm: async () => {},
      capture: async (id) => {
        if (failing()) throw new PokeApiError('unreachable', 'away')
        return capture(id)
      },
    },
    writer: { depth: 0, failing: false, captured: () => {} } as unknown as OutboxWriter,
    observer: new RecordingObserver(),
    notifier: new Notifier(),
    backoff: new BackOff({ first: 100, longest: 1000, clock: { random: () => 0.5 } }),
    crashPoint: () => {},
    concurrency: 4,
    maxAttempts: 5,
    maxEvents: 1000,
    clock: {
      wait: async (ms) => {
        waits.push(ms)
        if (waits.length >= 50) stop.abort()
        await nextTurn()
        // Timers fire a little early, or late.
        now += ms - 0.5
      },
      now: () => {
        now += step()
        return now
      },
      random: () => 0,
    },
  })
  await capturing.atRandom(interval, stop.signal)
  return waits
}

/** One of them after the other, for ever. */
function inTurns<T>(...values: readonly T[]): () => T {
  let at = 0
  return () => values[at++ % values.length] as T
}

for (const interval of [1, 500, 60_000]) {
  for (const steps of [
    [0, 0.3],
    [0.001, 0.001, 0.7],
    [0.4, 0, 7],
  ]) {
    for (const failures of [[false], [true, false, false, true, true]]) {
      test(`no wait is negative: ${interval} ms, a clock that goes on by ${steps} ms between looks, failures ${failures}`, async () => {
        const waits = await waitsOf(interval, inTurns(...steps), inTurns(...failures))
        assert.deepEqual(
          waits.filter((ms) => ms <= 0),
          [],
        )
      })
    }
  }
}
