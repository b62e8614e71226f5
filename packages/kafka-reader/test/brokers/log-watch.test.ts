/** The watch over the ends of the logs asks every leader, and a slow one does not delay the others. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { systemClock } from '@poke-api-pipeline/service-kit'
import type { Leader, LogBounds } from '../../src/brokers/cluster.ts'
import { LogWatch } from '../../src/brokers/log-watch.ts'

const BOUNDS: LogBounds = { start: 1, end: 9, stableEnd: 8 }

/** Broker 1 leads partitions 0 and 1, broker 2 leads partition 2, partition 3 has no leader. Each poll waits until the test says so. */
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
  test('asks each leader for its partitions, and reports partitions without a leader as unknown', async (t) => {
    const asked: string[] = []
    const { told, state } = watch(t, async (node, leaders) => {
      asked.push(`${node}: ${[...leaders.keys()]}`)
      return new Map([...leaders.keys()].map((partition) => [partition, BOUNDS]))
    })
    await turns()
    assert.deepEqual(asked, ['1: 0,1', '2: 2'])
    assert.deepEqual(told.sort(), ['a 0/4: 9', 'a 1/4: 9', 'a 2/4: 9', 'a 3/4: ?'])
    assert.equal(state.refreshes, 1, 'partition 3 has no leader')
  })

  test('reports a partition as unknown if its leader fails or refuses it, and requests a refresh of the metadata', async (t) => {
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

  test('does not ask a leader again while it has not answered, but asks the others', async (t) => {
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

  test('drops an answer about a topic that was created again meanwhile', async (t) => {
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
