/** The figures that are read from the services: metrics over restarts, positions, problems, and the file of counts. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { parseMetrics, sumOf } from '../prometheus-text.ts'
import { positionsOf, Readings, readCounts } from '../readings.ts'

describe("Prometheus' text format", () => {
  const metrics = parseMetrics(
    [
      '# HELP poke_lag_records Offsets between position and high watermark.',
      '# TYPE poke_lag_records gauge',
      'poke_lag_records{partition="0"} 3',
      'poke_lag_records{partition="1"} 4.5e2 1700000000000',
      'poke_outbox_depth_events 7',
      'poke_commit_seconds_bucket{le="+Inf"} +Inf',
      'poke_note{text="a \\"quoted\\" } and\\nnew line \\\\"} 1',
      '',
      'no sample',
    ].join('\n'),
  )

  test('is parsed into samples with labels and values', () => {
    assert.deepEqual(metrics.get('poke_lag_records'), [
      { labels: { partition: '0' }, value: 3 },
      { labels: { partition: '1' }, value: 450 },
    ])
    assert.equal(metrics.get('poke_commit_seconds_bucket')?.[0]?.value, Number.POSITIVE_INFINITY)
    assert.equal(metrics.get('poke_note')?.[0]?.labels.text, 'a "quoted" } and\nnew line \\')
    assert.equal(metrics.get('no'), undefined)
  })

  test('is summed over labels, and a missing metric is unknown', () => {
    assert.deepEqual([sumOf(metrics, 'poke_lag_records'), sumOf(metrics, 'poke_outbox_depth_events')], [453, 7])
    assert.equal(sumOf(metrics, 'poke_captures_total'), null)
  })
})

describe('the services', () => {
  test('are asked for metrics and readiness, and the file for counts', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'readings-'))
    t.after(() => rm(folder, { recursive: true }))
    const file = join(folder, 'type-counts.json')
    await writeFile(file, '{"types":{"water":2}}')
    const producer = await serve(
      t,
      'poke_outbox_captured_events 10\npoke_outbox_depth_events 1\npoke_sweep_done_pokemon 4\npoke_sweep_total_pokemon 9\npoke_sweep_left_out_pokemon 2\n',
      ['poke-api: slow'],
    )
    const consumer = await serve(
      t,
      'poke_records_counted_total 2\npoke_position_offset{partition="0"} 17\npoke_position_offset{partition="1"} 4\npoke_partition_stopped{partition="1"} 1\n',
      [],
      { counted: 5, duplicates: 0, deadLetters: 3, lag: 1, heldBack: 1 },
    )
    const readings = new Readings({ name: 'producer', url: producer }, { name: 'consumer', url: consumer }, file)
    assert.deepEqual(await readings.read(), {
      captured: 10,
      counted: 5,
      duplicates: 0,
      deadLetters: 3,
      waiting: 1,
      lag: 1,
      heldBack: 1,
      sweep: { done: 4, total: 9, leftOut: 2 },
      problems: ['producer: poke-api: slow'],
      counts: new Map([['water', 2]]),
    })
    assert.deepEqual(
      await positionsOf({ name: 'consumer', url: consumer }),
      new Map<number, number | null>([
        [0, 17],
        [1, null],
      ]),
    )
  })

  test('that do not answer result in dashes and no error', async () => {
    const away = { name: 'producer', url: 'http://127.0.0.1:1' }
    const readings = new Readings(away, { name: 'consumer', url: null }, join(tmpdir(), 'there-is-no-such-file'))
    const { captured, lag, problems, counts } = await readings.read()
    assert.deepEqual({ captured, lag, problems, counts }, { captured: null, lag: null, problems: [], counts: new Map() })
  })

  test('counts stay while the consumer does not answer, and unknown figures are not shown', async (t) => {
    const producer: Mutable = { name: 'producer', url: await serve(t, 'poke_outbox_captured_events 10\npoke_outbox_depth_events 1\n', []) }
    const group = { counted: 5, duplicates: 1, deadLetters: 0, lag: 3, heldBack: 0 }
    const consumer: Mutable = { name: 'consumer', url: await serve(t, '', [], group) }
    const readings = new Readings(producer, consumer, join(tmpdir(), 'there-is-no-such-file'))
    const take = async () => {
      const { captured, waiting, lag, counted, duplicates } = await readings.read()
      return { captured, waiting, lag, counted, duplicates }
    }
    assert.deepEqual(await take(), { captured: 10, waiting: 1, lag: 3, counted: 5, duplicates: 1 })
    producer.url = null
    consumer.url = null
    const away = { captured: null, waiting: null, lag: null, counted: 5, duplicates: 1 }
    assert.deepEqual(await take(), away)
    // They are back: the consumer has not read its store yet.
    consumer.url = await serve(t, '', [], null)
    assert.deepEqual(await take(), away)
    // A reset is no mistake of the reading.
    consumer.url = await serve(t, '', [], { ...group, counted: 0, lag: 8 })
    assert.deepEqual(await take(), { ...away, counted: 0, lag: 8 })
  })

  test('counts are read before captures, because an event can be counted between the two reads', async (t) => {
    const asked: string[] = []
    const hear = (name: string) => (url: string) => asked.push(`${name} ${url}`)
    const producer = { name: 'producer', url: await serve(t, '', [], null, hear('producer')) }
    const consumer = { name: 'consumer', url: await serve(t, '', [], null, hear('consumer')) }
    await new Readings(producer, consumer, join(tmpdir(), 'there-is-no-such-file')).read()
    assert.ok(asked.indexOf('consumer /api/partitions') >= 0)
    assert.ok(asked.indexOf('consumer /api/partitions') < asked.indexOf('producer /metrics'), asked.join(', '))
  })

  test('a file that contains no counts is an error', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'readings-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'type-counts.json'), '{"types":')
    await assert.rejects(readCounts(join(folder, 'type-counts.json')), SyntaxError)
  })
})

interface Mutable {
  readonly name: string
  url: string | null
}

/** A fake service. @param group null: the store was not read yet */
async function serve(
  t: TestContext,
  metrics: string,
  reasons: string[],
  group: object | null = null,
  heard: (url: string) => void = () => {},
): Promise<string> {
  const server = createServer((request, response) => {
    heard(request.url ?? '')
    if (request.url === '/metrics') response.end(metrics)
    else if (request.url === '/health/ready') response.end(JSON.stringify({ status: reasons.length > 0 ? 'not-ready' : 'ready', reasons }))
    else if (group === null) response.writeHead(503).end('{"statusCode":503,"error":"Service Unavailable","message":"not read yet"}')
    else response.end(JSON.stringify({ instance: 'me', group, partitions: [] }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
