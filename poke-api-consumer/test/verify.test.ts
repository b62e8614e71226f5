/** `verify` on the real SQLite store (rule V1): right counts are equal, wrong ones different, and records that the topic no longer has unknown. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import type { DataLoss, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { PartitionChange } from '../src/application/ports.ts'
import { replay } from '../src/application/replay.ts'
import { type Verdict, type VerifyProgress, verify } from '../src/application/verify.ts'
import { TypeCounter } from '../src/entities/tally.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'
import { OTHER_TOPIC_ID, partitionOf, TOPIC_ID } from './contract/store-harness.ts'
import { headerBytes } from './header-bytes.ts'
import { MockCursor, type MockEntry, type MockRecord } from './mock-kafka-consumer.ts'
import { MockTopicReader } from './mock-topic-reader.ts'

const SOURCE = '/poke-api-producer/test-run'
const EPOCH = 1

function pokemon(id: number, ...types: string[]): MockRecord {
  const list = types.map((name, i) => ({ slot: i + 1, type: { name } }))
  return { value: JSON.stringify({ id, name: `pokemon-${id}`, types: list }) }
}

/** An event with source and sequence. */
function event(sequence: number, ...types: string[]): MockRecord {
  return { ...pokemon(sequence, ...types), source: SOURCE, sequence }
}

async function newStore(t: TestContext): Promise<Store> {
  const dir = mkdtempSync(join(tmpdir(), 'verify-'))
  const store = await openStore(`sqlite:${join(dir, 'store.db')}`, { groupId: 'group' })
  t.after(async () => {
    await store.close()
    rmSync(dir, { recursive: true })
  })
  return store
}

/** Counts a log from the store's position to its end as the service does, or with the mistake `wrong`. */
async function count(
  store: Store,
  log: readonly MockEntry[],
  partition: TopicPartition = partitionOf(0),
  { wrong = (change: PartitionChange) => change, from = 0 } = {},
): Promise<void> {
  const state = await store.open(partition)
  const start = state.position.offset === 'log-start' ? from : state.position.offset
  const tally = new TypeCounter().tally(state.lastSequences)
  const { delta } = tally.count(new MockCursor(log, start, log.length, EPOCH), Number.POSITIVE_INFINITY)
  const to = { offset: log.length, leaderEpoch: EPOCH }
  const change = {
    ...delta,
    partition,
    token: state.token,
    from: state.position,
    to,
    firstOffset: start,
    newest: null,
    caughtUp: true,
  }
  assert.equal(await store.commit(wrong(change)), 'committed')
}

/** Records a gap at the store's position. */
async function lose(store: Store, loss: Omit<DataLoss, 'message'>, partition = partitionOf(0)): Promise<void> {
  const { token, position } = await store.open(partition)
  const gap = { partition, token, from: position, loss: { message: `${loss.kind} it is`, ...loss } }
  assert.equal(await store.recordGap(gap), 'committed')
}

/** @param meanwhile called at each wait for positions, in place of a running instance, with the time since the beginning, in ms */
function patient(meanwhile: (waited: number) => Promise<void> | void = () => {}) {
  let time = 0
  const now = () => time
  const wait = async (ms: number) => {
    time += ms
    await meanwhile(time)
  }
  return { now, wait }
}

function verdictOf(store: Store, reader: MockTopicReader, patience = patient()): Promise<Verdict> {
  return verify(store, reader, 'poke-topic', () => {}, patience)
}

/** Every kind of entry: a repeated type, a record of another producer, an event sent again, bytes that are no value, a foreign event, a missing offset. */
const LOG: MockEntry[] = [
  event(1, 'electric'),
  event(2, 'water', 'ice'),
  pokemon(3, 'water'),
  'hole',
  event(2, 'water', 'ice'),
  { value: 'OK' },
  { ...pokemon(4, 'fire'), eventType: 'foreign', headers: [['ce_type', 'pokemon.released.v1']] },
  event(5, 'fire'),
  { value: null, source: SOURCE, sequence: 6 },
  { value: null, source: SOURCE, sequence: 6 },
]

describe('equal', () => {
  test('counts, duplicates and dead letters of several partitions, up to the store’s positions', async (t) => {
    const store = await newStore(t)
    const other = [pokemon(7, 'water'), { value: '{' }]
    await count(store, LOG)
    await count(store, other, partitionOf(1))
    const reader = new MockTopicReader(TOPIC_ID, [LOG, other, []])
    const seen: VerifyProgress[] = []
    const verdict = await verify(store, reader, 'poke-topic', (p) => seen.push(p), patient())
    assert.deepEqual(verdict, {
      outcome: 'equal',
      types: [
        { type: 'electric', store: 1, recount: 1 },
        { type: 'fire', store: 1, recount: 1 },
        { type: 'ice', store: 1, recount: 1 },
        { type: 'water', store: 3, recount: 3 },
      ],
      records: 11,
      remarks: [],
    })
    assert.ok(seen.every(({ total }) => total === 12))
    assert.ok(seen.every(({ done }, i) => i === 0 || done >= (seen[i - 1]?.done ?? 0)))
    assert.equal(seen.at(-1)?.done, 12)
  })

  test('records that are counted after the snapshot are left out', async (t) => {
    const store = await newStore(t)
    const log = LOG.slice()
    await count(store, log)
    const reader = new MockTopicReader(TOPIC_ID, [log])
    const describe = reader.describe.bind(reader)
    t.mock.method(reader, 'describe', async () => {
      const description = await describe()
      log.push(event(7, 'water'))
      await count(store, log)
      return description
    })
    const { outcome, records, remarks } = await verdictOf(store, reader)
    assert.deepEqual({ outcome, records, remarks }, { outcome: 'equal', records: LOG.length - 1, remarks: [] })
  })

  test('an empty topic of which nothing was counted', async (t) => {
    const reader = new MockTopicReader(TOPIC_ID, [LOG, []])
    reader.logStarts[0] = LOG.length
    const verdict = await verdictOf(await newStore(t), reader)
    assert.deepEqual(verdict, { outcome: 'equal', types: [], records: 0, remarks: [] })
  })

  test('another topic of the same group is left out, and named in a remark', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    await count(store, [pokemon(1, 'dark')], partitionOf(0, OTHER_TOPIC_ID, 'other-topic'))
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
    assert.equal(verdict.outcome, 'equal')
    assert.deepEqual(verdict.remarks, [
      'the group has counted 1 of topic other-topic too, which were not verified: set KAFKA_TOPIC=other-topic to do so',
    ])
  })

  test('dead letters that were published, purged, or counted by a replay', async (t) => {
    const store = await newStore(t)
    // The last one was a dead letter for a version that did not know the type fairy.
    const log = [...LOG, pokemon(9, 'fairy')]
    const noFairies = (change: PartitionChange): PartitionChange => ({
      ...change,
      counts: new Map([...change.counts].filter(([type]) => type !== 'fairy')),
      counted: change.counted - 1,
      deadLetters: [
        ...change.deadLetters,
        {
          offset: log.length - 1,
          leaderEpoch: EPOCH,
          timestamp: 0n,
          reason: 'bad-type-name',
          key: null,
          value: Buffer.from(pokemon(9, 'fairy').value as string),
          headers: headerBytes(),
          cut: {},
        },
      ],
    })
    await count(store, log, partitionOf(0), { wrong: noFairies })
    const reader = new MockTopicReader(TOPIC_ID, [log])
    const before = await verdictOf(store, reader)
    assert.equal(before.outcome, 'different')
    assert.match(
      before.remarks[0] ?? '',
      /^partition 0, offset 10: can be counted, but is among the dead letters \(bad-type-name\); dead-letters replay counts it$/,
    )
    const deadLetters = await store.deadLetters(null, 10)
    await store.markPublished(deadLetters.slice(0, 2).map(({ id }) => id))
    assert.equal((await replay(store, () => {})).counted, 1)
    assert.deepEqual((await verdictOf(store, reader)).remarks, [])
    assert.equal(await store.purge(['kept', 'published', 'counted'], Number.MAX_SAFE_INTEGER), deadLetters.length)
    const after = await verdictOf(store, reader)
    assert.deepEqual([after.outcome, after.remarks], ['equal', []])
  })

  test('a dead letter whose length and hash in the store are those of the record', async (t) => {
    const store = await newStore(t)
    const large = 'x'.repeat(1_048_577)
    await count(store, [{ value: large }, { value: 'OK' }])
    assert.deepEqual((await verdictOf(store, new MockTopicReader(TOPIC_ID, [[{ value: large }, { value: 'OK' }]]))).remarks, [])
    for (const other of [`${large}x`, `${large.slice(1)}y`]) {
      const { outcome, remarks } = await verdictOf(store, new MockTopicReader(TOPIC_ID, [[{ value: other }, { value: 'OK' }]]))
      assert.equal(outcome, 'different')
      const says = `^partition 0, offset 0: has a value of ${other.length} bytes, which is not that of its dead letter .1048577 bytes, SHA-256 [0-9a-f]{64}.$`
      assert.match(remarks.join('\n'), new RegExp(says))
    }
  })

  test('a log whose beginning was removed before it was first read, and recorded gaps', async (t) => {
    const store = await newStore(t)
    const later = LOG.map((entry) =>
      typeof entry === 'object' && 'sequence' in entry ? { ...entry, sequence: (entry.sequence ?? 0) + 100 } : entry,
    )
    const log = [...LOG, ...later]
    await count(store, log.slice(0, 6), partitionOf(0), { from: 2 })
    await lose(store, { kind: 'retention', from: 6, to: 8 })
    await count(store, log.slice(0, 12))
    await lose(store, { kind: 'corrupt', from: 12, to: 15 })
    await count(store, log)
    const reader = new MockTopicReader(TOPIC_ID, [log])
    reader.logStarts[0] = 2
    const verdict = await verdictOf(store, reader)
    assert.deepEqual(verdict.remarks, [])
    assert.equal(verdict.outcome, 'equal')
  })

  test('a log from within which records were removed is not called equal, whether that was before or after it was counted', async (t) => {
    const log: MockEntry[] = [event(1, 'grass'), 'hole', 'hole', event(4, 'fire'), event(5, 'water')]
    const reader = new MockTopicReader(TOPIC_ID, [log])
    reader.removed.push([0, 1, 3])
    // Without a recorded gap.
    const silent = await newStore(t)
    await count(silent, log)
    const without = await verdictOf(silent, reader)
    assert.equal(without.outcome, 'unknown')
    assert.match(
      without.remarks.join(),
      /^partition 0: 2 counted offsets have no record any more .the first: 1 to 2., and no gap is recorded there/,
    )
    // With a recorded gap, everything else is compared.
    const store = await newStore(t)
    await count(store, log.slice(0, 1))
    await lose(store, { kind: 'missing', from: 1, to: 3 })
    await count(store, log)
    const recorded = await verdictOf(store, reader)
    assert.deepEqual([recorded.outcome, recorded.records], ['unknown', 3])
    assert.match(recorded.remarks.join(), /^partition 0: 2 offsets had no record when they were to be counted, and are recorded as gaps/)
    assert.equal((await verdictOf(store, new MockTopicReader(TOPIC_ID, [[...log.slice(0, 4), event(5, 'ghost')]]))).outcome, 'different')
    // More records were removed since.
    reader.removed.push([0, 3, 4])
    const more = await verdictOf(store, reader)
    assert.match(more.remarks.join(), /^partition 0: 1 counted offset has no record any more .the first: 3., and/)
  })

  test('a record whose sequence leaps counts each time, and so do the records after it', async (t) => {
    const leap = { ...pokemon(7, 'ghost'), source: SOURCE, sequence: Number.MAX_SAFE_INTEGER }
    const log: MockEntry[] = [leap, event(1, 'grass'), leap, event(2, 'fire'), event(2, 'fire'), leap]
    const store = await newStore(t)
    await count(store, log.slice(0, 3))
    await count(store, log)
    const { outcome, remarks, records } = await verdictOf(store, new MockTopicReader(TOPIC_ID, [log]))
    assert.deepEqual([outcome, remarks, records], ['equal', [], 6])
  })

  test('a gap before the first record that was read', async (t) => {
    const store = await newStore(t)
    await lose(store, { kind: 'corrupt', from: 0, to: 4 })
    await count(store, LOG)
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
    assert.deepEqual([verdict.outcome, verdict.remarks], ['equal', []])
  })

  test('a topic that was created again before any record of the old one was counted', async (t) => {
    const store = await newStore(t)
    await store.open(partitionOf(0, OTHER_TOPIC_ID))
    await lose(store, { kind: 'recreated', from: null, to: null })
    await count(store, LOG)
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
    assert.deepEqual([verdict.outcome, verdict.remarks], ['equal', []])
  })
})

describe('unread', () => {
  test('unread records of a partition, and a partition that was never read', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    const reader = new MockTopicReader(TOPIC_ID, [
      [...LOG, event(8, 'bug')],
      [pokemon(9, 'rock'), pokemon(10, 'rock')],
    ])
    reader.logStarts[1] = 1
    const patience = patient()
    const { outcome, records, remarks } = await verdictOf(store, reader, patience)
    const why = 'no instance of this group has read further while verify waited: the readiness of a running instance says why'
    assert.deepEqual([outcome, records], ['unread', LOG.length - 1])
    assert.deepEqual(remarks, [
      `partition 0: offsets 10 to 10 were in the topic when verify began and are unread, and ${why}`,
      `partition 1: offsets 1 to 1 were in the topic when verify began and are unread, and ${why}`,
    ])
    assert.ok(patience.now() < 6000)
  })

  test('verify waits for the ends that the logs had at its beginning, while a running instance reads on', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    const log = [...LOG, event(8, 'bug'), event(9, 'bug')]
    const reader = new MockTopicReader(TOPIC_ID, [log])
    const end = log.length
    const { outcome, remarks } = await verdictOf(
      store,
      reader,
      patient(async () => {
        log.push(event(log.length, 'rock'), event(log.length + 1, 'rock'))
        const { position } = await store.open(partitionOf(0))
        await count(store, log.slice(0, Number(position.offset) + 1))
      }),
    )
    assert.deepEqual([outcome, remarks], ['equal', []])
    assert.ok(end < log.length)
  })

  test('a backlog that is still being read after half a minute is reported', async (t) => {
    const store = await newStore(t)
    await count(store, LOG.slice(0, 1))
    const log = Array.from({ length: 1000 }, (_, i) => LOG[i] ?? pokemon(i, 'bug'))
    const patience = patient(async (waited) => {
      if (waited % 4000 === 0) await count(store, log.slice(0, 1 + waited / 4000))
    })
    const { outcome, remarks } = await verdictOf(store, new MockTopicReader(TOPIC_ID, [log]), patience)
    assert.equal(outcome, 'unread')
    assert.deepEqual(remarks, [
      'partition 0: offsets 8 to 999 were in the topic when verify began and are unread, but it is being read: run verify again when the group has caught up',
    ])
  })

  test('a partition that no instance reads, beside another one that is read', async (t) => {
    const store = await newStore(t)
    const logs = [LOG, LOG.map((_, i) => pokemon(i, 'bug'))]
    const reader = new MockTopicReader(TOPIC_ID, logs)
    const { outcome, remarks } = await verdictOf(
      store,
      reader,
      patient(async (waited) => {
        if (waited % 1000 === 0 && waited / 1000 <= LOG.length) await count(store, LOG.slice(0, waited / 1000))
      }),
    )
    assert.deepEqual([outcome, remarks.length], ['unread', 1])
    assert.match(remarks[0] ?? '', /^partition 1: offsets 0 to 9 were .* no instance of this group has read further/)
  })

  test('verify does not wait for records that an open transaction holds back', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    const reader = new MockTopicReader(TOPIC_ID, [[...LOG, event(8, 'bug')]])
    reader.readableEnds[0] = LOG.length
    assert.equal((await verdictOf(store, reader)).outcome, 'equal')
  })

  test('a difference in an unread partition makes the outcome different', async (t) => {
    const store = await newStore(t)
    await count(store, LOG, partitionOf(0), { wrong: (change) => ({ ...change, counted: change.counted + 1 }) })
    assert.equal((await verdictOf(store, new MockTopicReader(TOPIC_ID, [[...LOG, event(8, 'bug')]]))).outcome, 'different')
  })
})

describe('different', () => {
  interface Mistake {
    readonly name: string
    readonly wrong: (change: PartitionChange) => PartitionChange
    /** Types whose counts differ. */
    readonly types: readonly string[]
    readonly remarks: readonly RegExp[]
  }
  const added = (change: PartitionChange, type: string, by: number) => new Map(change.counts).set(type, (change.counts.get(type) ?? 0) + by)
  const AMOUNTS =
    /^partition 0: the store has \d+ counted, \d+ duplicates, \d+ dead letters; the topic has 4 counted, 2 duplicates, 3 dead letters$/
  const mistakes: Mistake[] = [
    { name: 'a count that is one too high', wrong: (c) => ({ ...c, counts: added(c, 'fire', 1) }), types: ['fire'], remarks: [] },
    { name: 'a count that is one too low', wrong: (c) => ({ ...c, counts: added(c, 'fire', -1) }), types: ['fire'], remarks: [] },
    { name: 'a type that no record has', wrong: (c) => ({ ...c, counts: added(c, 'dark', 1) }), types: ['dark'], remarks: [] },
    {
      name: 'a dead letter that is missing',
      wrong: (c) => ({ ...c, deadLetters: c.deadLetters.filter(({ offset }) => offset !== 5) }),
      types: [],
      remarks: [/^partition 0, offset 5: cannot be counted \(not-json\), but is not among the dead letters$/, AMOUNTS],
    },
    {
      name: 'a dead letter of no record',
      wrong: (c) => ({ ...c, deadLetters: [...c.deadLetters, { ...(c.deadLetters[0] as never as object), offset: 3 } as never] }),
      types: [],
      remarks: [/^partition 0, offset 3: is among the dead letters \(not-json\), but there is no such record$/, AMOUNTS],
    },
    {
      name: 'a duplicate that is a dead letter',
      wrong: (c) => ({
        ...c,
        duplicates: c.duplicates - 1,
        deadLetters: [...c.deadLetters, { ...(c.deadLetters[0] as never as object), offset: 4 } as never],
      }),
      types: [],
      remarks: [/^partition 0, offset 4: is a duplicate, but is among the dead letters \(not-json\)$/, AMOUNTS],
    },
    {
      name: 'a record that was lost',
      wrong: (c) => ({ ...c, counts: added(c, 'electric', -1), counted: c.counted - 1 }),
      types: ['electric'],
      remarks: [AMOUNTS],
    },
    {
      name: 'a duplicate that was counted',
      wrong: (c) => ({
        ...c,
        counts: new Map(added(c, 'water', 1)).set('ice', 2),
        counted: c.counted + 1,
        duplicates: c.duplicates - 1,
      }),
      types: ['ice', 'water'],
      remarks: [AMOUNTS],
    },
    {
      name: 'a distinct event that was dropped as a duplicate',
      wrong: (c) => ({ ...c, counts: added(c, 'fire', -1), counted: c.counted - 1, duplicates: c.duplicates + 1 }),
      types: ['fire'],
      remarks: [AMOUNTS],
    },
  ]
  for (const { name, wrong, types, remarks } of mistakes) {
    test(name, async (t) => {
      const store = await newStore(t)
      await count(store, LOG, partitionOf(0), { wrong })
      const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
      assert.equal(verdict.outcome, 'different')
      const differing = verdict.types.filter((row) => row.store !== row.recount).map(({ type }) => type)
      assert.deepEqual(differing, types)
      assert.equal(verdict.remarks.length, remarks.length, verdict.remarks.join('\n'))
      for (const [i, remark] of remarks.entries()) assert.match(verdict.remarks[i] ?? '', remark)
    })
  }

  test('late events that were dropped as duplicates', async (t) => {
    const store = await newStore(t)
    const log = [event(1, 'bug'), event(3, 'bug'), event(2, 'rock')]
    await count(store, log)
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [log]))
    assert.equal(verdict.outcome, 'different')
    assert.deepEqual(verdict.types, [
      { type: 'bug', store: 2, recount: 2 },
      { type: 'rock', store: 0, recount: 1 },
    ])
  })

  test('two events with the same sequence, of which the second was dropped', async (t) => {
    const store = await newStore(t)
    const log = [event(1, 'bug'), { ...event(1, 'rock') }]
    await count(store, log)
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [log]))
    assert.equal(verdict.outcome, 'different')
    assert.equal(verdict.remarks[0], `partition 0, offset 1: ${SOURCE} used its sequence 1 before, for another event`)
  })

  test('an event in two partitions that was counted in both', async (t) => {
    const store = await newStore(t)
    const logs = [[event(1, 'bug')], [event(1, 'bug')]]
    await count(store, logs[0] ?? [])
    await count(store, logs[1] ?? [], partitionOf(1))
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, logs))
    assert.deepEqual([verdict.outcome, verdict.types], ['different', [{ type: 'bug', store: 2, recount: 1 }]])
  })

  test('a replay that counted a dead letter that cannot be counted', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    const [deadLetter] = await store.deadLetters(null, 1)
    assert.ok(await store.replay(deadLetter?.id ?? -1, new Map([['fire', 1]])))
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
    assert.equal(verdict.outcome, 'different')
    assert.equal(verdict.remarks[0], 'partition 0, offset 8: was counted by a replay, but cannot be counted (null-value)')
  })

  test('the beginning of a log that was never read', async (t) => {
    const store = await newStore(t)
    await count(store, LOG, partitionOf(0), { from: 2 })
    const verdict = await verdictOf(store, new MockTopicReader(TOPIC_ID, [LOG]))
    assert.equal(verdict.outcome, 'different')
    assert.equal(verdict.remarks[0], 'partition 0: offsets 0 to 1 were never read')
    assert.deepEqual(verdict.types[0], { type: 'electric', store: 0, recount: 1 })
  })

  test('at most a hundred remarks are shown', async (t) => {
    const store = await newStore(t)
    const log = Array.from({ length: 1000 }, () => ({ value: 'OK' }))
    await count(store, log, partitionOf(0), { wrong: (change) => ({ ...change, deadLetters: [] }) })
    const { remarks } = await verdictOf(store, new MockTopicReader(TOPIC_ID, [log]))
    assert.deepEqual([remarks.length, remarks.at(-1)], [101, 'and so on'])
  })
})

describe('unknown', () => {
  interface Case {
    readonly name: string
    readonly change: (reader: MockTopicReader, store: Store) => Promise<void> | void
    readonly remark: RegExp
  }
  const cases: Case[] = [
    {
      name: 'retention removed the beginning',
      change(reader) {
        reader.logStarts[0] = 4
      },
      remark: /^partition 0: retention removed its beginning: counted from offset 0, readable from 4$/,
    },
    {
      name: 'the log was truncated',
      change: (reader) => void reader.logs[0]?.splice(7),
      remark: /^partition 0: the log was truncated: it ends at offset 7, but was counted up to 10$/,
    },
    {
      name: 'the log was truncated and written again',
      change(reader) {
        reader.leaderEpoch = 2
      },
      remark:
        /^partition 0: the log was truncated and written again: the record at offset 0 has leader epoch 2 now, but the counted records had epochs up to 1$/,
    },
    {
      name: 'the log was truncated, a gap was recorded, and counting went on',
      async change(reader, store) {
        await lose(store, { kind: 'truncated', from: 8, to: 8 })
        await count(store, reader.logs[0] ?? [])
      },
      remark: /^partition 0: truncated it is$/,
    },
    {
      name: 'the topic was created again',
      change(reader) {
        reader.topicId = OTHER_TOPIC_ID
      },
      remark: new RegExp(`^partition 0: the counted topic \\(id ${TOPIC_ID}\\) was deleted; .* the id ${OTHER_TOPIC_ID}$`),
    },
    {
      name: 'the topic is compacted',
      change(reader) {
        reader.compacted = true
      },
      remark: /^partition 0: the topic is compacted/,
    },
    {
      name: 'the topic has fewer partitions',
      change: (reader) => void reader.logs.pop(),
      remark: /^partition 0: the topic no longer has this partition$/,
    },
    {
      name: 'bytes without a known end could not be read',
      change: (_, store) => lose(store, { kind: 'corrupt', from: 10, to: null }),
      remark: /^partition 0: corrupt it is$/,
    },
    {
      name: 'records cannot be read any more',
      change: (reader) => void reader.unreadable.set(0, 'the checksum of the batch at offset 4 does not match its bytes'),
      remark: /^partition 0: the checksum of the batch at offset 4 does not match its bytes$/,
    },
  ]
  for (const { name, change, remark } of cases) {
    test(name, async (t) => {
      const store = await newStore(t)
      await count(store, LOG)
      const reader = new MockTopicReader(TOPIC_ID, [[...LOG]])
      await change(reader, store)
      const verdict = await verdictOf(store, reader)
      assert.equal(verdict.outcome, 'unknown')
      assert.deepEqual([verdict.types, verdict.records, verdict.remarks.length], [[], 0, 1])
      assert.match(verdict.remarks[0] ?? '', remark)
    })
  }

  test('the other partitions are counted again nevertheless, and a difference in one of them makes the outcome different', async (t) => {
    const store = await newStore(t)
    await count(store, LOG)
    await count(store, [pokemon(1, 'bug')], partitionOf(1))
    const reader = new MockTopicReader(TOPIC_ID, [LOG, [pokemon(1, 'bug')]])
    reader.logStarts[0] = 1
    const verdict = await verdictOf(store, reader)
    assert.deepEqual([verdict.outcome, verdict.types], ['unknown', [{ type: 'bug', store: 1, recount: 1 }]])
    reader.logs[1] = [pokemon(1, 'rock')]
    assert.equal((await verdictOf(store, reader)).outcome, 'different')
  })
})
