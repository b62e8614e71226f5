/** A lasting failure is logged when it begins, when it changes, once a minute, and when it ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Logger } from '../src/index.ts'
import { OutageLog } from '../src/outage-log.ts'
import { ServiceError } from '../src/service-error.ts'

function setUp() {
  const said: string[] = []
  const say = (level: string) => (details: { times?: number; seconds?: number }, message: string) =>
    said.push(`${level}: ${message}${details.times === undefined ? '' : ` (${details.times} times, ${details.seconds} s)`}`)
  const logger = { warn: say('warn'), info: say('info') } as unknown as Logger
  const clock = { ms: 0 }
  const stopping = new AbortController()
  const outage = new OutageLog({ logger, over: 'Kafka is back', now: () => clock.ms, stopping: stopping.signal })
  return { said, clock, stopping, outage }
}

const away = (port: number) => new ServiceError(`Kafka at ${port} is away`, { code: 'kafka/unreachable', exitCode: 75, retriable: true })

test('a repeated failure is logged once, and its end with the duration', () => {
  const { said, clock, outage } = setUp()
  assert.equal(outage.reason, null)
  outage.failed(away(1))
  clock.ms = 5000
  outage.failed(away(2))
  assert.equal(outage.reason, 'Kafka at 2 is away', 'readiness has the newest words')
  clock.ms = 12_000
  outage.worked()
  assert.equal(outage.reason, null)
  outage.worked()
  assert.deepEqual(said, ['warn: Kafka at 1 is away', 'info: Kafka is back (2 times, 12 s)'])
})

test('no end is logged while the service stops, because abandoned work has not succeeded', () => {
  const { said, outage, stopping } = setUp()
  outage.failed(away(1))
  stopping.abort()
  outage.worked()
  assert.equal(outage.reason, null)
  assert.deepEqual(said, ['warn: Kafka at 1 is away'])
})

test('a different failure during an outage is logged, too', () => {
  const { said, outage } = setUp()
  outage.failed(away(1))
  outage.failed(new Error('something else'))
  outage.failed(away(1))
  outage.failed(new Error('something else'))
  assert.deepEqual(said, ['warn: Kafka at 1 is away', 'warn: something else (2 times, 0 s)'], 'each once, also when they take turns')
})

test('a lasting outage is logged again once a minute', () => {
  const { said, clock, outage } = setUp()
  for (let second = 0; second <= 130; second++) {
    clock.ms = second * 1000
    outage.failed(away(1))
  }
  assert.deepEqual(said, [
    'warn: Kafka at 1 is away',
    'warn: Kafka at 1 is away (61 times, 60 s)',
    'warn: Kafka at 1 is away (121 times, 120 s)',
  ])
})

test('a new failure after the end is logged again', () => {
  const { said, clock, outage } = setUp()
  outage.failed(away(1))
  outage.worked()
  clock.ms = 10_000
  outage.failed(away(1))
  outage.worked()
  assert.deepEqual(said, [
    'warn: Kafka at 1 is away',
    'info: Kafka is back (1 times, 0 s)',
    'warn: Kafka at 1 is away',
    'info: Kafka is back (1 times, 0 s)',
  ])
})

test('a failure that comes and goes is logged once, and again when it lasts', () => {
  const { said, clock, outage } = setUp()
  for (let second = 0; second < 20; second++) {
    clock.ms = second * 1000
    if (second % 2 === 0) outage.failed(away(1))
    else outage.worked()
  }
  assert.deepEqual(said, ['warn: Kafka at 1 is away', 'info: Kafka is back (1 times, 1 s)'])
  for (let second = 20; second <= 30; second++) {
    clock.ms = second * 1000
    outage.failed(away(1))
  }
  outage.worked()
  assert.deepEqual(said.slice(2), ['warn: Kafka at 1 is away (11 times, 10 s)', 'info: Kafka is back (11 times, 10 s)'])
})
