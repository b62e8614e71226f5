/** The group reader while brokers are killed, frozen or unreachable: it continues by itself, reads no record twice, and ends when it is asked to. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import type { Kafka } from '@poke-api-pipeline/dev'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { patience } from '../fault-run.ts'
import { Fetching } from '../fetching.ts'
import { startProxiedKafka } from '../proxied-kafka.ts'
import type { TcpProxy } from '../tcp-proxy.ts'
import { Topics } from '../topics.ts'

/** Within this time after a fault is over, records are read again, in ms. */
const RECOVERY = patience(30_000)
/** Within this time the reader ends, in ms. */
const ENDED = patience(6000)
/** In ms. The shorter one is for tests that wait until a session has ended. */
const [SESSION, SHORT_SESSION] = [6000, 3000]

const dir = mkdtempSync(join(tmpdir(), 'fetch-failures-'))
let kafka: Kafka
let proxy: TcpProxy
/** The broker's address through the proxy, and the direct one. */
let brokers: string
let direct: string
let topics: Topics
let count = 0

before(async () => {
  ;({ kafka, proxy, brokers, direct } = await startProxiedKafka(dir, { 'group.min.session.timeout.ms': SHORT_SESSION }))
  // The consumer connects through the proxy; the test has a listener of its own.
  topics = new Topics(direct)
})
after(async () => {
  await topics.close()
  await kafka.kill()
  await proxy.stop()
  rmSync(dir, { recursive: true })
})

async function reading(t: TestContext, sessionTimeout = SESSION): Promise<{ topic: string; fetching: Fetching; handler: FakeHandler }> {
  const topic = `failures-${++count}`
  await topics.make(topic, 3)
  const fetching = new Fetching({ brokers: [brokers], topic, groupId: topic, sessionTimeout })
  t.after(() => fetching.stop())
  await fetching.until(() => fetching.assigned.length === 3)
  await topics.write(topic, 0, 'before')
  await fetching.handler.until(() => fetching.handler.counted.length === 1)
  return { topic, fetching, handler: fetching.handler }
}

async function goesOn(topic: string, handler: FakeHandler, began: number): Promise<void> {
  await topics.write(topic, 0, 'after')
  await topics.write(topic, 2, 'after')
  await handler.until(() => handler.values(0).length === 2 && handler.values(2).length === 1)
  const took = performance.now() - began
  assert.ok(took < RECOVERY, `it took ${took} ms until records were read again`)
  assert.deepEqual([handler.values(0), handler.values(2)], [['before', 'after'], ['after']])
}

describe('the group reader goes on', () => {
  test('after a killed broker was started again', async (t) => {
    const { topic, fetching, handler } = await reading(t, SHORT_SESSION)
    await kafka.kill()
    await fetching.until(() => fetching.reports.some((event) => event.startsWith('membership lost')))
    await kafka.restart()
    const began = performance.now()
    await topics.untilThereIs(topic, 3)
    await goesOn(topic, handler, began)
    await fetching.until(() => fetching.reports.includes('back'))
  })

  test('after a broker was frozen for longer than the session', async (t) => {
    const { topic, fetching, handler } = await reading(t, SHORT_SESSION)
    await kafka.kill('SIGSTOP')
    t.after(() => kafka.kill('SIGCONT'))
    await fetching.until(() => fetching.reports.some((event) => event.startsWith('membership lost')))
    assert.deepEqual(fetching.assigned, [])
    await handler.until(() => handler.events.filter((event) => event.startsWith('close')).length === 3)
    await kafka.kill('SIGCONT')
    await goesOn(topic, handler, performance.now())
  })

  test('after a network that dropped every packet works again', async (t) => {
    const { topic, fetching, handler } = await reading(t)
    proxy.swallow()
    t.after(() => proxy.pass())
    await fetching.until(() => fetching.reports.some((event) => event.startsWith('membership lost')))
    await fetching.until(() => fetching.reports.some((event) => /nothing came for/.test(event)))
    proxy.pass()
    await goesOn(topic, handler, performance.now())
  })

  test('after connections were reset again and again, without losing its position', async (t) => {
    const { topic, fetching, handler } = await reading(t)
    for (let i = 0; i < 10; i++) {
      proxy.cut()
      await topics.write(topic, 1, `between ${i}`)
      await handler.until(() => handler.values(1).length > i)
    }
    await goesOn(topic, handler, performance.now())
    assert.deepEqual(
      handler.values(1),
      Array.from({ length: 10 }, (_, i) => `between ${i}`),
    )
    assert.deepEqual(
      fetching.reports.filter((event) => event.startsWith('membership lost')),
      [],
    )
  })

  test('once Kafka, which was down at the start, is up', async (t) => {
    const topic = `failures-${++count}`
    await topics.make(topic, 3)
    await topics.write(topic, 0, 'before')
    await kafka.stop()
    const fetching = new Fetching({ brokers: [brokers], topic, groupId: topic, sessionTimeout: SESSION })
    t.after(() => fetching.stop())
    await fetching.until(() => fetching.reports.length > 2)
    assert.match(fetching.reports.join('\n'), /away: Kafka at .* cannot be reached/)
    await kafka.restart()
    const began = performance.now()
    await topics.untilThereIs(topic, 3)
    await fetching.handler.until(() => fetching.handler.counted.length === 1)
    await goesOn(topic, fetching.handler, began)
  })
})

describe('the group reader ends', () => {
  for (const [how, begin, end] of [
    ['is down', () => kafka.stop(), () => kafka.restart()],
    ['is frozen', () => kafka.kill('SIGSTOP'), () => kafka.kill('SIGCONT')],
    ['cannot be heard', async () => proxy.swallow(), async () => proxy.pass()],
  ] as const) {
    test(`within seconds, while Kafka ${how}`, async (t) => {
      const { fetching, handler } = await reading(t)
      t.after(end)
      await begin()
      const began = performance.now()
      await fetching.stop()
      const took = performance.now() - began
      assert.ok(took < ENDED, `it took ${took} ms`)
      assert.equal(handler.events.filter((event) => event.startsWith('close')).length, 3)
    })
  }
})

describe('rule F1: a log that was truncated while its broker was stopped', () => {
  const truncated = [
    { topic: 'truncated', refilled: 0, handler: new FakeHandler() },
    { topic: 'truncated-and-refilled', refilled: 20, handler: new FakeHandler() },
  ]
  before(async () => {
    for (const { topic, handler } of truncated) {
      await topics.make(topic)
      // Each record is a batch of its own, of equal size.
      for (let i = 0; i < 10; i++) await topics.write(topic, 0, `old ${i}`)
      const first = new Fetching({ brokers: [brokers], topic, groupId: topic, sessionTimeout: SESSION }, handler)
      await handler.until(() => handler.counted.length === 10)
      await first.stop()
    }
    await kafka.stop()
    for (const { topic } of truncated) {
      const segment = join(dir, 'log', `${topic}-0`, '00000000000000000000.log')
      truncateSync(segment, Math.floor((statSync(segment).size / 10) * 6))
    }
    await kafka.restart()
    for (const { topic } of truncated) await topics.untilThereIs(topic, 1)
  })

  for (const { topic, refilled, handler } of truncated) {
    test(
      refilled === 0 ? 'ends below the position' : 'and refilled: what is at the position now is not what followed what was counted',
      async (t) => {
        for (let i = 0; i < refilled; i++) await topics.write(topic, 0, `new ${i}`)
        const second = new Fetching({ brokers: [brokers], topic, groupId: topic, sessionTimeout: SESSION }, handler)
        t.after(() => second.stop())
        await handler.until(() => handler.losses.length > 0)
        const loss = handler.losses[0]?.loss
        assert.deepEqual([loss?.kind, loss?.from, loss?.to, handler.counted.length], ['truncated', 6, 6, 10])
      },
    )
  }
})
