/** The watch over the ends of the logs: every leader is asked, and none keeps the others from being heard. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { systemClock } from '@poke-api-pipeline/service-kit'
import type { Leader, LogBounds } from '../../src/brokers/cluster.ts'
import { LogWatch } from '../../src/brokers/log-watch.ts'

const BOUNDS: LogBounds = { start: 1, end: 9, stableEnd: 8 }

/** Partitions 0 and 1 of leader 1, partition 2 of leader 2, and partition 3 of nobody; each look waits until the test says so. */
function watch(t: TestContext, endsOf: (node: number, leaders: ReadonlyMap<number, Leader>) => Promise<ReadonlyMap<number, LogBounds>>) {
  const told: string[] = []
  const state = { refreshes: 0, topicId: 'a', next: () => {} }
  const stop = new AbortController()
  const leaders = [1, 1, 2, -1].map((node) => ({ node, leaderEpoch: 7 }))
  const logs = new LogWatch({
    cluster: { endsOf },
    topics: {
      get current() {
        return { topicId: state.topicId, partitions: leaders, compacted: false }
      },
      requestRefresh: () => void state.refreshes++,
    },
    topic: 'poke-topic',
    observer: {
      logEnds: ({ topicId }, partitions, ends) => {
        for (const [partition, log] of ends) told.push(`${topicId} ${partition}/${partitions}: ${log === null ? '?' : log.end}`)
      },
    },
    clock: {
      ...systemClock(),
      wait: (_, signal) =>
        new Promise((resolve) => {
          state.next = resolve
          signal.addEventListener('abort', () => resolve())
        }),
    },
  })
  const running = logs.run(stop.signal)
  t.after(async () => {
    stop.abort()
    await running
  })
  const look = async () => {
    told.length = 0
    state.next()
    await turns()
  }
  return { told, state, look }
}

const turns = async () => {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
}

describe('the watch over the ends of the logs', () => {
  test('asks each leader for its partitions, and says of which nothing is known', async (t) => {
    const asked: string[] = []
    const { told, state } = watch(t, async (node, leaders) => {
      asked.push(`${node}: ${[...leaders.keys()]}`)
      return new Map([...leaders.keys()].map((partition) => [partition, BOUNDS]))
    })
    await turns()
    assert.deepEqual(asked, ['1: 0,1', '2: 2'])
    assert.deepEqual(told.sort(), ['a 0/4: 9', 'a 1/4: 9', 'a 2/4: 9', 'a 3/4: ?'])
    assert.equal(state.refreshes, 1, 'nobody leads partition 3')
  })

  test('a leader that fails or refuses a partition is not known of, and the topic is looked at anew', async (t) => {
    const { told, state, look } = watch(t, async (node) => {
      if (node === 2) throw new Error('away')
      return new Map([[1, BOUNDS]])
    })
    await turns()
    assert.deepEqual(told.sort(), ['a 0/4: ?', 'a 1/4: 9', 'a 2/4: ?', 'a 3/4: ?'])
    assert.equal(state.refreshes, 3)
    await look()
    assert.equal(told.length, 4, 'they are asked again')
  })

  test('a leader that hangs is not asked twice, and the others are', async (t) => {
    const hanging = Promise.withResolvers<ReadonlyMap<number, LogBounds>>()
    let asked = 0
    const { told, look } = watch(t, async (node) => {
      if (node === 2) {
        asked++
        return await hanging.promise
      }
      return new Map([0, 1].map((partition) => [partition, BOUNDS]))
    })
    await turns()
    await look()
    assert.deepEqual(told.filter((one) => !one.endsWith('?')).sort(), ['a 0/4: 9', 'a 1/4: 9'])
    assert.equal(asked, 1)
    hanging.resolve(new Map([[2, BOUNDS]]))
    await turns()
    assert.ok(told.includes('a 2/4: 9'))
    await look()
    assert.equal(asked, 2)
  })

  test('what was asked of a topic that was made again meanwhile is not told', async (t) => {
    const answer = Promise.withResolvers<ReadonlyMap<number, LogBounds>>()
    const { told, state } = watch(t, () => answer.promise)
    await turns()
    told.length = 0
    state.topicId = 'b'
    answer.resolve(new Map())
    await turns()
    assert.deepEqual(told, [])
  })
})
