/** `readTopic`: the batches that `save` is called with, and the effects of its answers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DataLoss, FetchedRecords } from '../src/ports.ts'
import { BatchHandler, type BatchOptions, DataLostError, type SavedPosition, type TopicBatch } from '../src/read-topic.ts'
import { type BuiltRecord, batchOf } from '../testing/batch-builder.ts'
import { cursorOver } from '../testing/cursor-over.ts'

const P0 = { topic: 'orders', topicId: 'an id', partition: 0 }
const GONE: DataLoss = { kind: 'retention', message: 'retention removed 5 offsets', from: 0, to: 5 }

/** A database in memory that accepts only batches that begin at its position. */
class Database {
  position: SavedPosition | null = null
  readonly batches: TopicBatch[] = []

  load = () => this.position
  save = (batch: TopicBatch) => {
    if (batch.from?.offset !== this.position?.offset) return false
    this.position = batch.to
    this.batches.push(batch)
    return true
  }
}

async function opened(options: BatchOptions) {
  return await new BatchHandler(options).open(P0)
}

function fetched(baseOffset: number, records: readonly BuiltRecord[], damage: (bytes: Buffer) => void = () => {}): FetchedRecords {
  const bytes = records.length === 0 ? Buffer.alloc(0) : batchOf({ baseOffset, leaderEpoch: 3, records, baseTimestamp: 1000 })
  damage(bytes)
  const end = baseOffset + records.length
  const cursor = cursorOver(bytes, null, baseOffset)
  return { fetchOffset: baseOffset, cursor, bytes: bytes.length, highWatermark: end, lastStableOffset: end }
}

test('save is called with records as objects, and with the positions before and after them', async () => {
  const database = new Database()
  const session = await opened(database)
  assert.deepEqual(session.position, { offset: 'log-start', leaderEpoch: -1 })
  const headers = [['trace', 'a'] as const, ['trace', null] as const]
  const records = [
    { key: 'ash', value: 'tea', headers, timestampDelta: 5 },
    { key: null, value: null },
  ]
  assert.equal(await session.process(fetched(0, records)), 'next')
  assert.equal(await session.process(fetched(2, [{ key: 'misty', value: 'salt' }])), 'next')
  const [first, second] = database.batches as [TopicBatch, TopicBatch]
  const { records: _, ...positions } = first
  assert.deepEqual(positions, { ...P0, from: null, to: { offset: 2, leaderEpoch: 3 } })
  assert.deepEqual([second.from, second.to], [first.to, { offset: 3, leaderEpoch: 3 }])
  assert.deepEqual(session.position, second.to)
  const [full, empty] = first.records
  assert.deepEqual([full?.offset, String(full?.key), String(full?.value), full?.time], [0, 'ash', 'tea', new Date(1005)])
  assert.deepEqual(full?.headers, [
    ['trace', Buffer.from('a')],
    ['trace', null],
  ])
  assert.deepEqual([empty?.offset, empty?.key, empty?.value, empty?.headers], [1, null, null, []])
})

test('an empty response saves nothing', async () => {
  const database = new Database()
  const session = await opened(database)
  assert.equal(await session.process(fetched(0, [])), 'next')
  assert.deepEqual(database.batches, [])
})

test('a process that lost the partition to another one stores nothing, and loads the position again', async () => {
  const database = new Database()
  const [frozen, other] = [await opened(database), await opened(database)]
  assert.equal(await other.process(fetched(0, [{ value: 'a' }, { value: 'b' }])), 'next')
  assert.equal(await frozen.process(fetched(0, [{ value: 'a' }])), 'reopen')
  assert.equal(frozen.state, 'stale')
  assert.equal(await frozen.process(fetched(0, [{ value: 'a' }])), 'reopen', 'a session that has ended saves nothing more')
  assert.equal(database.batches.length, 1)
  assert.deepEqual((await opened(database)).position, { offset: 2, leaderEpoch: 3 })
})

test('a response that does not begin at the saved position is not saved', async () => {
  const database = new Database()
  database.position = { offset: 7, leaderEpoch: 1 }
  assert.equal(await (await opened(database)).process(fetched(9, [{ value: 'a' }])), 'reopen')
  assert.deepEqual(database.batches, [])
})

test('bytes that cannot be read are fetched once more, and are lost if they cannot be read again', async () => {
  const database = new Database()
  const losses: DataLoss[] = []
  const dataLost = (_: unknown, loss: DataLoss) => {
    losses.push(loss)
    return 'stop' as const
  }
  const handler = new BatchHandler({ load: database.load, save: database.save, dataLost })
  const damaged = () => fetched(0, [{ value: 'a' }], (bytes) => bytes.fill(0xff, bytes.length - 1))
  assert.equal(await (await handler.open(P0)).process(damaged()), 'reopen')
  assert.equal(losses.length, 0)
  const second = await handler.open(P0)
  assert.deepEqual([await second.process(damaged()), second.state], ['stop', 'stopped'])
  assert.deepEqual([losses[0]?.kind, losses[0]?.from, losses[0]?.to], ['corrupt', 0, 1])
  assert.deepEqual(database.batches, [])
})

test('lost records end the reading with an error, unless the program decides otherwise', async () => {
  const database = new Database()
  const session = await opened(database)
  await assert.rejects(session.dataLost(GONE), (error) => error instanceof DataLostError && error.loss === GONE)
  database.position = { offset: 2, leaderEpoch: 7 }
  const skip = (_: unknown, { to }: DataLoss, from: SavedPosition | null) => {
    assert.deepEqual(from, { offset: 2, leaderEpoch: 7 }, 'what the position is to be moved from')
    database.position = { offset: to as number, leaderEpoch: -1 }
    return 'reopen' as const
  }
  const options = { load: database.load, save: database.save, dataLost: skip }
  const skipping = await opened(options)
  assert.deepEqual([await skipping.dataLost(GONE), skipping.state], ['reopen', 'stale'])
  assert.deepEqual((await opened(options)).position, { offset: 5, leaderEpoch: -1 })
})

test('closing waits for the batch that is being saved, and saves nothing more, whether that one is saved or not', async () => {
  for (const isSaved of [true, false]) {
    const saved = Promise.withResolvers<boolean>()
    const session = await opened({ load: () => null, save: () => saved.promise })
    const processing = session.process(fetched(0, [{ value: 'a' }]))
    let closed = false
    const closing = session.close().then(() => {
      closed = true
    })
    await new Promise(setImmediate)
    assert.equal(closed, false)
    saved.resolve(isSaved)
    await closing
    assert.deepEqual([await processing, await session.process(fetched(1, [{ value: 'b' }])), session.state], ['stop', 'stop', 'stopped'])
  }
})

test('an error of the database rejects the call', async () => {
  const save = () => {
    throw new Error('the disk is full')
  }
  await assert.rejects((await opened({ load: () => null, save })).process(fetched(0, [{ value: 'a' }])), /the disk is full/)
})
