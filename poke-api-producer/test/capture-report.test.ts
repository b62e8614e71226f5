/** What of captures is said in the log, in readiness and in metrics. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createRegistry, Health, type Logger } from '@poke-api-pipeline/service-kit'
import type { Capture } from '../src/entities/pokemon.ts'
import { OutboxError, PokeApiError, PublishError } from '../src/errors.ts'
import { CaptureReport } from '../src/infrastructure/capture-report.ts'
import { ProducerMetrics } from '../src/infrastructure/metrics.ts'

const PIKACHU: Capture = {
  pokemon: { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] },
  time: '2026-01-01T00:00:00.000Z',
  origin: 'live',
}

function setUp() {
  const said: string[] = []
  const say = (level: string) => (details: unknown, message?: string) => said.push(`${level}: ${message ?? details}`)
  const logger = { info: say('info'), warn: say('warn'), error: say('error') } as unknown as Logger
  const health = new Health()
  const report = new CaptureReport({ logger, health, maxEvents: 100, clock: { now: () => 0 } })
  return { said, health, report }
}

suite('the report', () => {
  test('logs no single captures, but summaries', () => {
    const { said, report } = setUp()
    for (let n = 0; n < 5; n++) report.captured(PIKACHU)
    report.published(3)
    report.outboxDepth(2)
    assert.deepEqual(said, [])
    report.summarise()
    report.summarise()
    assert.deepEqual(said, ['info: captured 5, published 3, 2 wait for Kafka'], 'nothing happened since the first')
  })

  test('warns of a setting that has no effect on an existing topic, and says what to use instead', () => {
    const { said, report } = setUp()
    report.settingUnused('KAFKA_TOPIC_PARTITIONS', 12, 'poke-topic', 3)
    assert.deepEqual(said, [
      'warn: KAFKA_TOPIC_PARTITIONS=12 has no effect, because topic poke-topic exists already, with 3. To change the topic, use kafka-topics.sh --alter (partitions can only be added) or kafka-reassign-partitions.sh (replicas)',
    ])
  })

  test('is not ready while PokeAPI fails', () => {
    const { said, health, report } = setUp()
    assert.deepEqual(health.reasons(), [])
    report.captureFailed(new PokeApiError('unreachable', 'PokeAPI at https://a cannot be reached'))
    assert.deepEqual(health.reasons(), ['poke-api: PokeAPI at https://a cannot be reached'])
    report.missing(7)
    assert.deepEqual(health.reasons(), [], 'a 404 is an answer, too')
    assert.deepEqual(said, [
      'warn: PokeAPI at https://a cannot be reached',
      'info: PokeAPI answers again',
      'info: PokeAPI has no Pokémon 7 (404)',
    ])
  })

  test('is not ready while Kafka fails', () => {
    const { said, health, report } = setUp()
    report.publishFailed(new PublishError('unreachable', 'Kafka is away'))
    report.captured(PIKACHU)
    assert.deepEqual(health.reasons(), ['kafka: Kafka is away'])
    report.published(1)
    assert.deepEqual(health.reasons(), [])
    assert.deepEqual(said, ['warn: Kafka is away', 'info: Kafka accepts events again'])
  })

  test('is not ready while the outbox is full, and logs when capturing is paused and resumed', () => {
    const { said, health, report } = setUp()
    report.paused(true)
    assert.deepEqual(health.reasons(), ['outbox: the outbox is full: 100 events wait for Kafka (OUTBOX_MAX_EVENTS)'])
    report.paused(false)
    assert.deepEqual(health.reasons(), [])
    assert.deepEqual(said, [
      'warn: capturing is paused: the outbox is full: 100 events wait for Kafka (OUTBOX_MAX_EVENTS)',
      'info: capturing is resumed',
    ])
  })

  test('is not ready while the outbox cannot store, and says so when capturing is paused', () => {
    const { said, health, report } = setUp()
    report.storeFailed(new OutboxError('full', 'the disk is full'))
    report.paused(true)
    assert.deepEqual(health.reasons(), ['outbox: the disk is full'])
    assert.equal(said.at(-1), 'warn: capturing is paused: the disk is full')
    report.outboxDepth(1)
    report.paused(false)
    assert.deepEqual(health.reasons(), [])
  })

  test('logs the beginning or continuation of a sweep, and its end', () => {
    const { said, report } = setUp()
    report.sweepProgress(10, 1351)
    report.sweepProgress(11, 1351)
    assert.equal(report.finishedSweep, null)
    report.sweepFinished({ ids: '', done: '', captured: 1351, types: { electric: 1000, fire: 1116 } })
    assert.deepEqual(said, [
      'info: the sweep continues: 10 of 1351 Pokémon are done',
      'info: the sweep is finished: 1351 Pokémon with 2116 types are in the topic',
    ])
    assert.deepEqual(report.finishedSweep, {
      type: 'sweep-finished',
      captured: 1351,
      types: { electric: 1000, fire: 1116 },
      leftOut: { count: 0, lines: [] },
    })
  })

  test('logs a Pokémon that is left out at once, and all of them with their reasons at the end', () => {
    const { said, health, report } = setUp()
    const error = new PokeApiError('not-a-pokemon', 'PokeAPI at a/7/ returned no Pokémon', { reason: 'types is empty' })
    report.captureFailed(error)
    report.leftOut(7, error)
    assert.deepEqual(health.reasons(), [], 'PokeAPI answers for others')
    assert.equal(said.at(-1), 'warn: Pokémon 7 is left out of this sweep: PokeAPI at a/7/ returned no Pokémon')
    const leftOut = { ids: '7,9', reasons: { 7: 'types is empty', 9: 'answered with status 500' } }
    report.sweepFinished({ ids: '1-9', done: '', captured: 7, types: {}, leftOut })
    assert.equal(
      said.at(-1),
      'warn: the sweep is not complete: PokeAPI did not return 2 Pokémon. The next sweep requests them again: #7: types is empty; #9: answered with status 500',
    )
    report.sweepFinished({ ids: '1-99', done: '', captured: 0, types: {}, leftOut: { ids: '1-99', reasons: {} } })
    assert.match(said.at(-1) ?? '', /^warn: the sweep is not complete: PokeAPI did not return 99 .*; #20: the log says why; and 79 more$/)
    assert.equal(report.finishedSweep?.leftOut.count, 99)
  })
})

test('metrics count every event', async () => {
  const registry = createRegistry()
  const metrics = new ProducerMetrics(registry)
  metrics.captured(PIKACHU)
  metrics.missing()
  metrics.captureFailed(new PokeApiError('status', 'a'))
  metrics.captureFailed(new TypeError('b'))
  metrics.requested('hit')
  metrics.attempted(0.02, null)
  metrics.attempted(0.02, 'deadline')
  metrics.published(7, 0.005)
  metrics.publishFailed(new PublishError('no-leader', 'c'))
  metrics.storeFailed(new OutboxError('io', 'd'))
  metrics.outboxDepth(3, 17)
  metrics.paused(true)
  metrics.sweepProgress(4, 9, 2)
  const text = await registry.metrics()
  for (const line of [
    'poke_captures_total{origin="live"} 1',
    'poke_captures_total{origin="bundled"} 0',
    'poke_captures_missing_total 1',
    'poke_capture_failures_total{kind="status"} 1',
    'poke_capture_failures_total{kind="unexpected"} 1',
    'poke_api_requests_total{outcome="hit"} 1',
    'poke_api_requests_total{outcome="fetched"} 0',
    'poke_api_request_seconds_count 2',
    'poke_api_failures_total{kind="deadline"} 1',
    'poke_published_events_total 7',
    'poke_publish_seconds_sum 0.005',
    'poke_publish_failures_total{kind="no-leader"} 1',
    'poke_outbox_failures_total{kind="io"} 1',
    'poke_outbox_depth_events 3',
    'poke_outbox_captured_events 17',
    'poke_outbox_paused 1',
    'poke_sweep_done_pokemon 4',
    'poke_sweep_total_pokemon 9',
    'poke_sweep_left_out_pokemon 2',
  ])
    assert.ok(text.includes(`\n${line}\n`), `${line} is missing in:\n${text}`)
})
