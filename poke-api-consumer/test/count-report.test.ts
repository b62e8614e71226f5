/** The reports about counting in the log, in readiness and in metrics. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type DataLoss, KafkaError, type TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { createRegistry, fanOut, Health, type Logger } from '@poke-api-pipeline/service-kit'
import type { CountObserver } from '../src/application/ports.ts'
import { OutputFileError, StoreError } from '../src/errors.ts'
import { CountReport } from '../src/infrastructure/count-report.ts'
import { GroupProgress } from '../src/infrastructure/group-progress.ts'
import { ConsumerMetrics } from '../src/infrastructure/metrics.ts'
import { countedResponse } from './counted-response.ts'

const P0: TopicPartition = { topic: 'poke-topic', topicId: 'a', partition: 0 }
const P1: TopicPartition = { topic: 'poke-topic', topicId: 'a', partition: 1 }
const LOSS: DataLoss = { kind: 'retention', message: '7 records are gone', from: 3, to: 10 }
const START = { offset: 'log-start', leaderEpoch: -1 } as const

function setUp() {
  const said: string[] = []
  const say = (level: string) => (details: unknown, message?: string) => said.push(`${level}: ${message ?? details}`)
  const logger = { info: say('info'), warn: say('warn'), error: say('error') } as unknown as Logger
  const health = new Health()
  const clock = { ms: 0 }
  const progress = new GroupProgress(() => clock.ms)
  const report = new CountReport({ logger, health, topic: 'poke-topic', progress, now: () => clock.ms })
  report.rebalanced([0, 1])
  said.length = 0
  const all = fanOut<CountObserver>([progress, report])
  /** The end of the log of partition 0. */
  const ends = (end: number | null, stableEnd = end) => {
    progress.logEnds(P0, 2, new Map([[0, end === null || stableEnd === null ? null : { start: 0, end, stableEnd }]]))
    report.logEnds()
  }
  const counts = (position: number) => all.counted(P0, countedResponse({ counted: 1, position }))
  return { said, health, clock, report, all, ends, counts }
}

suite('sources with anomalies', () => {
  const MINUTE = 60_000
  const anomaly = (part: object) => {
    const one = { source: '/run', last: 135, sequence: 100, leaps: 0, late: 0, newDuplicates: 0, ...part }
    return countedResponse({ anomalies: { leaps: one.leaps, late: one.late, sources: [one] } })
  }

  test('a leap is logged once, and is in readiness for ten minutes', async () => {
    const { said, health, clock, report } = setUp()
    const leap = anomaly({ sequence: Number.MAX_SAFE_INTEGER, leaps: 1 })
    report.counted(P0, leap)
    report.counted(P0, leap)
    const says =
      /partition 0: a record claims the sequence 9007199254740991 of source .run, whose last one is 135\. No producer leaps by more than 1,000,000,000,000/
    assert.equal(said.length, 1)
    assert.match(said[0] ?? '', says)
    assert.match(reasonsOf(health), says)
    assert.equal(report.anomalousSources, 1)
    clock.ms += 10 * MINUTE + 1
    assert.equal(reasonsOf(health), '')
    assert.equal(report.anomalousSources, 0)
  })

  test('a record that was left out and never read is reported at once, with what to do', () => {
    const { said, report } = setUp()
    report.counted(P0, anomaly({ late: 3, newDuplicates: 3 }))
    assert.match(
      said.join(),
      /left out as duplicates though they were never read, because sequence 100 came after 135\. .*Restart that producer/,
    )
  })

  test('new duplicates of a source are reported after five minutes in which none of its records was counted, and not before', () => {
    const { said, clock, report } = setUp()
    for (const newDuplicates of [1, 2, 3, 4, 5]) {
      report.counted(P0, anomaly({ newDuplicates, sequence: 100 + newDuplicates }))
      clock.ms += MINUTE
    }
    assert.deepEqual(said, [])
    // One of its records was counted, so the five minutes begin again.
    report.counted(P0, anomaly({ newDuplicates: 6, last: 140 }))
    clock.ms += 4 * MINUTE
    report.counted(P0, anomaly({ newDuplicates: 7, last: 140 }))
    assert.deepEqual(said, [])
    clock.ms += MINUTE
    report.counted(P0, anomaly({ newDuplicates: 8, last: 140, sequence: 130 }))
    assert.match(
      said.join(),
      /all records of source .run have been left out as duplicates for more than 5 minutes, 8 different ones, because their sequences .now 130. are not above 140/,
    )
  })

  test('a burst that is sent again, and another one later, are not reported', () => {
    const { said, clock, report } = setUp()
    report.counted(P0, anomaly({ newDuplicates: 500 }))
    clock.ms += 6 * MINUTE
    report.counted(P0, anomaly({ newDuplicates: 9, last: 200 }))
    assert.deepEqual(said, [])
  })

  test('a thousand sources are remembered and three are named; those of a partition are forgotten when it is closed', () => {
    const { said, health, report } = setUp()
    for (let i = 0; i < 1500; i++) report.counted(i % 2 === 0 ? P0 : P1, anomaly({ source: `/${i}\u001b[2J`, leaps: 1 }))
    assert.equal(report.anomalousSources, 1000)
    assert.match(reasonsOf(health), /; and 997 more sources$/)
    assert.ok(said.every((line) => !line.includes('\u001b')))
    report.closed(P0)
    assert.equal(report.anomalousSources, 500)
  })
})

function reasonsOf(health: Health): string {
  return health.reasons().join('\n')
}

suite('the report', () => {
  test('logs a summary, and nothing for a single response', () => {
    const { said, report } = setUp()
    report.opened(P0)
    report.counted(P0, countedResponse({ counted: 5, position: 5, highWatermark: 9, lastStableOffset: 8 }))
    report.counted(
      P0,
      countedResponse({ counted: 1, duplicates: 1, deadLetters: new Map([['not-json', 1]]), position: 8, lastStableOffset: 8 }),
    )
    assert.deepEqual(said, [])
    report.summarise()
    report.summarise()
    assert.deepEqual(said, ['info: counted 6 records, 1 duplicates, 1 dead letters'], 'nothing happened since the first')
  })

  test('warns once of another topic that the group has counted', () => {
    const { said, report } = setUp()
    const position = { offset: 7, leaderEpoch: 0 }
    const summary = (topic: string, counted: number) => ({
      topic,
      topicId: topic,
      partition: 0,
      position,
      counted,
      duplicates: 0,
      deadLetters: 0,
    })
    report.partitionsSeen([summary('poke-topic', 3), summary('empty', 0)])
    assert.deepEqual(said, [])
    for (let i = 0; i < 2; i++) report.partitionsSeen([summary('poke-topic', 3), summary('old-topic', 7)])
    assert.equal(said.length, 1)
    assert.match(said.join(), /^warn: this group has counted topic old-topic too, .*KAFKA_GROUP_ID/)
  })

  test('has the lag in its summary', () => {
    const { said, report, all, ends, counts } = setUp()
    all.opened(P0, { offset: 4, leaderEpoch: 0 })
    counts(5)
    ends(9)
    report.summarise()
    counts(6)
    ends(9, 7)
    report.summarise()
    assert.deepEqual(said, [
      'info: counted 1 records, 4 behind',
      'info: counted 1 records, 3 behind, 2 of them held back by open transactions',
    ])
  })

  test('a store that fails is not ready, until it works again', () => {
    const { said, health, report } = setUp()
    report.storeFailed(new StoreError('unreachable', 'the database is away'))
    assert.deepEqual(health.reasons(), ['store: the database is away'])
    report.storeWorked()
    assert.deepEqual(health.reasons(), [])
    assert.deepEqual(said, ['warn: the database is away', 'info: the store works again'])
  })

  test('a file that cannot be written is not ready', () => {
    const { health, report } = setUp()
    report.fileFailed(new OutputFileError('not-writable', 'out/type-counts.json: read-only'))
    assert.deepEqual(health.reasons(), ['output-file: out/type-counts.json: read-only'])
    report.fileWritten()
    assert.deepEqual(health.reasons(), [])
  })

  test('dead letters that cannot be published are not ready, until none is left', () => {
    const { said, health, report } = setUp()
    report.deadLetterPublishingFailed(new KafkaError('refused', 'topic poke-topic.dead-letters takes nothing'))
    assert.deepEqual(health.reasons(), ['dead-letters: topic poke-topic.dead-letters takes nothing'])
    report.deadLetterPublishingWorked()
    assert.deepEqual(health.reasons(), [])
    assert.deepEqual(said, ['warn: topic poke-topic.dead-letters takes nothing', 'info: dead letters are published again'])
  })

  test('a stopped partition is not ready, as long as this instance has it', () => {
    const { said, health, report } = setUp()
    report.opened(P0)
    report.opened(P1)
    report.stopped(P1, LOSS)
    assert.deepEqual(health.reasons(), ['partitions: partition 1 is stopped: 7 records are gone'])
    assert.equal(said.length, 1)
    assert.match(said[0] as string, /^error: partition 1 is stopped: 7 records are gone\. .*ON_DATA_LOSS=continue/)
    report.closed(P1)
    assert.deepEqual(health.reasons(), [])
  })

  test('a loss for lack of memory names the setting to raise', () => {
    const { said, report } = setUp()
    report.stopped(P1, { kind: 'batch-too-large', message: 'it is large', from: 7, to: 8 })
    report.stopped(P1, { kind: 'batch-too-large', message: 'it is large', from: 7, to: null })
    report.stopped(P1, { kind: 'too-many-types', message: 'it has a new one', from: 7, to: null })
    assert.match(said[0] as string, /Raise BATCH_MAX_BYTES, .* memory.*ON_DATA_LOSS=continue records the gap/)
    assert.match(said[1] as string, /Raise BATCH_MAX_BYTES, .* goes on from here$/)
    assert.match(said[2] as string, /Raise TYPE_MAX_COUNT, .* goes on from here$/)
  })

  test('a message does not advise ON_DATA_LOSS=continue where that cannot go on', () => {
    const { said, report } = setUp()
    report.stopped(P1, { kind: 'corrupt', message: 'what is at offset 7 cannot be read', from: 7, to: null })
    report.stopped(P1, { kind: 'truncated', message: 'the log is another one', from: null, to: null })
    report.stopped(P1, { kind: 'compacted', message: 'the topic is compacted', from: null, to: null })
    report.stopped(P1, { kind: 'recreated', message: 'the topic was made again', from: null, to: null })
    assert.match(said[0] as string, /cannot go on from here: remove the records up to an offset behind the damage/)
    assert.match(said[1] as string, /cannot go on from here: poke-api-consumer reset --from-beginning/)
    assert.match(said[2] as string, /ON_DATA_LOSS=continue does not count it either/)
    assert.match(said[3] as string, /ON_DATA_LOSS=continue records the gap and goes on/)
  })

  test('a partition that is stopped before it was opened is reported in the same way', () => {
    const { health, report } = setUp()
    report.stopped(P1, LOSS)
    assert.deepEqual(health.reasons(), ['partitions: partition 1 is stopped: 7 records are gone'])
  })

  test('being behind without progress for half a minute is not ready, whatever keeps it from counting', () => {
    const { health, clock, all, ends, counts } = setUp()
    all.opened(P0, { offset: 5, leaderEpoch: 0 })
    ends(5)
    clock.ms = 100_000
    ends(5)
    assert.deepEqual(health.reasons(), [], 'there is nothing to count')
    // From now on there is no commit, so observers hear of no response.
    for (; clock.ms < 130_000; clock.ms += 1000) ends(9)
    assert.deepEqual(health.reasons(), [])
    clock.ms = 131_000
    assert.deepEqual(health.reasons(), ['progress: partition 0 is 4 records behind and has not moved for 31 s'])
    counts(6)
    ends(9)
    assert.deepEqual(health.reasons(), [])
  })

  test('a leader that does not answer for long is named, unless a failure of Kafka is reported already', () => {
    const { health, clock, report, all, ends } = setUp()
    all.opened(P0, { offset: 5, leaderEpoch: 0 })
    ends(9)
    clock.ms = 30_000
    assert.deepEqual(health.reasons(), [])
    clock.ms = 50_000
    assert.deepEqual(health.reasons(), ['progress: the leader of partition 0 has not told for 50 s where its log ends'])
    report.brokerAway(new Error('nobody there'))
    assert.deepEqual(health.reasons(), ['kafka: nobody there'])
  })

  test('being behind is not ready, too, when a quota leaves the lag unknown every other second, and the quota is named', () => {
    const { health, clock, report, all, ends } = setUp()
    all.opened(P0, { offset: 5, leaderEpoch: 0 })
    report.throttled(new Error('a quota'))
    for (; clock.ms <= 62_000; clock.ms += 1000) {
      if (clock.ms % 2000 === 0) ends(9)
      else ends(null)
    }
    assert.deepEqual(health.reasons(), ['progress: partition 0 is 4 records behind and has not moved for 32 s; a quota'])
  })

  test('records that an open transaction holds back are no lack of progress for two minutes', () => {
    const { health, clock, all, ends, counts } = setUp()
    all.opened(P0, { offset: 5, leaderEpoch: 0 })
    ends(9, 5)
    clock.ms = 100_000
    ends(9, 5)
    assert.deepEqual(health.reasons(), [])
    clock.ms = 130_000
    ends(12, 5)
    assert.deepEqual(health.reasons(), [
      "progress: partition 0: a producer's open transaction has held back 7 records from offset 5 on for 130 s: let it end, or abort it (kafka-transactions.sh find-hanging)",
    ])
    // The next transaction.
    counts(12)
    ends(14, 12)
    assert.deepEqual(health.reasons(), [])
    clock.ms = 300_000
    counts(14)
    ends(14)
    assert.deepEqual(health.reasons(), [])
  })

  test('a fenced commit and a recorded gap are logged', () => {
    const { said, report } = setUp()
    report.fenced(P0)
    report.skipped(P1, LOSS)
    assert.match(said[0] as string, /^info: another instance opened partition 0, or it was reset/)
    assert.equal(said[1], 'warn: partition 1: 7 records are gone. The gap is recorded, and counting goes on')
  })
})

suite('the report of the way to Kafka', () => {
  test('an instance is not ready before the group has assigned partitions', () => {
    const health = new Health()
    const said: string[] = []
    const logger = { info: (_: unknown, message: string) => said.push(message) } as unknown as Logger
    const report = new CountReport({ logger, health, topic: 'poke-topic', progress: new GroupProgress(() => 0), now: () => 0 })
    assert.deepEqual(health.reasons(), ['kafka: has not joined the group yet'])
    report.waitingForTopic('poke-topic')
    assert.deepEqual(health.reasons(), ['kafka: waits for topic poke-topic, which does not exist yet: the producer creates it'])
    report.rebalanced([0, 2])
    assert.deepEqual(health.reasons(), [])
    report.rebalanced([])
    assert.deepEqual(health.reasons(), [], 'more instances than partitions: this one is spare')
    assert.deepEqual(said.slice(1), [
      'the group has assigned partitions 0, 2 to this instance',
      'the group has assigned no partition to this instance',
    ])
  })

  test('a broker that is away is not ready, until it answers again', () => {
    const { health, report, said } = setUp()
    report.brokerAway(new KafkaError('unreachable', 'Kafka is away'))
    assert.deepEqual(health.reasons(), ['kafka: Kafka is away'])
    report.brokerBack()
    assert.deepEqual(health.reasons(), [])
    assert.deepEqual(said, ['warn: Kafka is away', 'info: Kafka answers again'])
  })

  test('a lost membership is not ready, until this instance is a member again', () => {
    const { health, report } = setUp()
    report.membershipLost(new KafkaError('membership', 'no heartbeat was answered'))
    assert.deepEqual(health.reasons(), ['kafka: no heartbeat was answered'])
    report.rebalanced([1])
    assert.deepEqual(health.reasons(), [])
  })

  test('warns of a group whose offset is ahead of the store (rule S5)', () => {
    const { report, said } = setUp()
    report.mirrorDiffers(1, 600, 20)
    assert.match(
      said[0] as string,
      /^warn: partition 1: the group's offset 600 is ahead of the store's position 20: .*counting goes on from the store$/,
    )
  })

  test('warns of a group whose offset another program has set back, with the command that counts again', () => {
    const { report, said } = setUp()
    report.mirrorDiffers(1, 0, 20)
    assert.match(
      said[0] as string,
      /^warn: partition 1: the group's offset 0 is behind the store's position 20, .*reset --from-beginning .*counting goes on from the store$/,
    )
  })

  test('warns of forgotten producers', () => {
    const { report, said } = setUp()
    report.tooManySources(P1, 3)
    assert.match(said[0] as string, /^warn: partition 1: the 3 producers that were silent for longest are forgotten/)
  })
})

test('every event moves its metric', async () => {
  const registry = createRegistry()
  const progress = new GroupProgress(() => 0)
  const metrics = new ConsumerMetrics({ registry, progress, timeOfDay: () => 10_000, anomalousSources: () => 0 })
  progress.opened(P0, { offset: 12, leaderEpoch: 0 })
  progress.logEnds(P0, 2, new Map([[0, { start: 0, end: 20, stableEnd: 15 }]]))
  metrics.opened(P0, START)
  metrics.opened(P1, { offset: 40, leaderEpoch: 1 })
  metrics.counted(
    P0,
    countedResponse({
      counted: 7,
      duplicates: 2,
      deadLetters: new Map([['not-json', 3]]),
      bytes: 900,
      position: 12,
      highWatermark: 20,
      lastStableOffset: 15,
      newestTimestamp: 9500,
    }),
  )
  metrics.counted(P0, countedResponse({ position: 12, newestTimestamp: 99_999 }))
  metrics.committed(P0, 0.002)
  metrics.fenced()
  metrics.stopped(P1)
  metrics.skipped(P1, LOSS)
  metrics.storeFailed()
  metrics.fileWritten()
  metrics.fileFailed()
  metrics.rebalanced()
  metrics.sourcesForgotten('silent', 4)
  const text = await registry.metrics()
  for (const line of [
    'poke_records_counted_total 7',
    'poke_records_duplicate_total 2',
    'poke_dead_letters_total{reason="not-json"} 3',
    'poke_fetched_bytes_total 900',
    'poke_position_offset{partition="0"} 12',
    'poke_position_offset{partition="1"} 40',
    'poke_lag_records{partition="0"} 8',
    'poke_held_back_records{partition="0"} 5',
    'poke_event_to_count_seconds_sum 0.5',
    'poke_event_to_count_seconds_count 2',
    'poke_commits_total 1',
    'poke_commit_seconds_sum 0.002',
    'poke_fences_total 1',
    'poke_partitions_owned 2',
    'poke_partition_stopped{partition="0"} 0',
    'poke_partition_stopped{partition="1"} 1',
    'poke_gaps_total{kind="retention"} 1',
    'poke_gaps_total{kind="batch-too-large"} 0',
    'poke_gaps_total{kind="missing"} 0',
    'poke_store_failures_total 1',
    'poke_file_writes_total 1',
    'poke_file_failures_total 1',
    'poke_rebalances_total 1',
    'poke_sources_forgotten_total{why="silent"} 4',
    'poke_sources_forgotten_total{why="too-many"} 0',
  ])
    assert.ok(text.includes(`\n${line}\n`), `${line} is missing in:\n${text}`)
})

test('lag is exported for every partition of the topic, whoever reads it, and left out if it is not known', async () => {
  const registry = createRegistry()
  const clock = { ms: 0 }
  const progress = new GroupProgress(() => clock.ms)
  new ConsumerMetrics({ registry, progress, timeOfDay: () => 0, anomalousSources: () => 0 })
  const lags = async () => (await registry.metrics()).split('\n').filter((line) => /^poke_(lag|held_back)_records\{/.test(line))
  progress.logEnds(P0, 2, new Map([0, 1].map((partition) => [partition, { start: 3, end: 20, stableEnd: 18 }])))
  assert.deepEqual(await lags(), [], 'the store was not read')
  progress.readingStore()
  progress.storeRead([{ ...P0, position: { offset: 10, leaderEpoch: 0 }, counted: 1, duplicates: 0, deadLetters: 0, owner: 'another' }])
  assert.deepEqual(await lags(), [
    'poke_lag_records{partition="0"} 10',
    'poke_lag_records{partition="1"} 17',
    'poke_held_back_records{partition="0"} 2',
    'poke_held_back_records{partition="1"} 2',
  ])
  progress.logEnds(P0, 2, new Map([[1, null]]))
  assert.deepEqual(await lags(), ['poke_lag_records{partition="0"} 10', 'poke_held_back_records{partition="0"} 2'])
  clock.ms = 10_000
  assert.deepEqual(await lags(), [])
})

test('metrics of a partition end when another instance reads it', async () => {
  const registry = createRegistry()
  const metrics = new ConsumerMetrics({ registry, progress: new GroupProgress(() => 0), timeOfDay: () => 0, anomalousSources: () => 0 })
  metrics.opened(P1, { offset: 40, leaderEpoch: 1 })
  metrics.counted(P1, countedResponse({ position: 41, highWatermark: 50, lastStableOffset: 50 }))
  metrics.closed(P1)
  const text = await registry.metrics()
  assert.doesNotMatch(text, /partition="1"/)
  assert.match(text, /^poke_partitions_owned 0$/m)
})
