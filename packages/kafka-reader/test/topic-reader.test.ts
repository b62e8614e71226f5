/** The reader without a group, with a scripted broker whose bytes are damaged once or always (rule F5). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Writer } from '@platformatic/kafka'
import { systemClock } from '@poke-api-pipeline/service-kit'
import { TopicReader } from '../src/topic-reader.ts'
import { batchOf } from '../testing/batch-builder.ts'
import { fetchBody } from './fake-broker.ts'
import { METADATA, metadata, ScriptedBroker } from './scripted-broker.ts'

const FETCH = 1
const TOPIC_ID = '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d'

const RECORDS = batchOf({ records: [{ value: 'one' }, { value: 'two' }] })
const DAMAGED = Buffer.from(RECORDS)
DAMAGED.writeUInt8(DAMAGED.readUInt8(DAMAGED.length - 2) ^ 1, DAMAGED.length - 2)

for (const { what, answers, why, offsets } of [
  { what: 'that were damaged once are fetched again and read', answers: [DAMAGED, RECORDS], why: null, offsets: [0, 1] },
  {
    what: 'that are damaged both times are reported as unreadable',
    answers: [DAMAGED, DAMAGED],
    why: /^the bytes at offset 0 cannot be read: /,
    offsets: [],
  },
]) {
  test(`bytes ${what}`, async (t) => {
    const broker = await ScriptedBroker.start()
    t.after(() => broker.stop())
    broker.answers.set(METADATA, () => metadata('poke-topic', TOPIC_ID, [{ node: 1, port: broker.port }], [{ leader: 1, leaderEpoch: 7 }]))
    const left = [...answers]
    broker.answers.set(FETCH, () => {
      const records = left.shift()
      return records === undefined ? null : Writer.create().append(fetchBody(TOPIC_ID, [{ partition: 0, records, highWatermark: 2 }]))
    })
    const reader = new TopicReader({
      brokers: [broker.name],
      topic: 'poke-topic',
      clientId: 'test',
      limits: { maxBytes: 1 << 20, maxWait: 200 },
      clock: systemClock(),
    })
    t.after(() => reader.close())
    const read: number[] = []
    const answer = await reader.read(
      0,
      0,
      2,
      ({ offset }) => read.push(offset),
      () => {},
    )
    if (why === null) assert.equal(answer, null)
    else assert.match(answer ?? '', why)
    assert.deepEqual(read, offsets)
    assert.deepEqual(left, [])
  })
}
