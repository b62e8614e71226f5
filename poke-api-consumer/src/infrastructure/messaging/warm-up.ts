/**
 * Counts made-up records for nobody, before the first real ones come: V8 interprets code at first, and only what has run tens of thousands of times is
 * compiled to run five times as fast. A member that takes partitions over is as fast as the one before it from its first record on.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createRecordsBatch } from '@platformatic/kafka'
import { encodeHeaders, encodeKey, encodeValue } from 'pokemon-event'
import { Counter } from '../../entities/tally.ts'
import { NONE_ABORTED } from './aborted-transactions.ts'
import { Decompressor, LARGEST_BATCH } from './decompress.ts'
import { BatchCursor } from './record-batch.ts'
import { SourceTable } from './source-table.ts'

const RECORDS = 200
/** With these, all that runs for each record is compiled by the last compiler. It takes a tenth of a second. */
const RESPONSES = 200
/** Counted without a turn of the event loop between them: a few ms. */
const AT_ONCE = 10

/** @returns how many records were counted, and how many could not be: none */
export async function warmUp(signal: AbortSignal): Promise<{ counted: number; refused: number }> {
  // Two buffers take turns, as in a connection.
  const responses = [madeUpBatch(), madeUpBatch()]
  const cursor = new BatchCursor(new Decompressor(LARGEST_BATCH), new SourceTable())
  const counter = new Counter()
  let counted = 0
  let refused = 0
  for (let i = 0; i < RESPONSES && !signal.aborted; i++) {
    const response = responses[i % 2] as Buffer
    const tally = counter.tally(new Map())
    cursor.reset(response, 0, response.length, 0, NONE_ABORTED)
    while (cursor.next()) tally.add(cursor)
    tally.summary()
    const delta = tally.take()
    counted += delta.counted
    refused += delta.deadLetters.length
    if (i % AT_ONCE === 0) await nextTurn()
  }
  return { counted, refused }
}

/** As a producer writes it. */
function madeUpBatch(): Buffer {
  const types = ['normal', 'fire', 'water', 'grass', 'poison']
  const messages = Array.from({ length: RECORDS }, (_, index) => {
    const names = [types[index % 5] as string, types[(index + 1) % 5] as string].slice(index % 2)
    const event = { id: index + 1, name: `made-up-${index}`, types: names.map((name, slot) => ({ slot: slot + 1, type: { name } })) }
    const headers = encodeHeaders({ source: '/warm-up', sequence: index + 1, time: new Date(index).toISOString(), origin: 'live' })
    return {
      topic: '',
      key: Buffer.from(encodeKey(event)),
      value: encodeValue(event),
      timestamp: BigInt(Date.now()),
      headers: new Map(headers.map(([name, value]) => [Buffer.from(name), Buffer.from(value)])),
    }
  })
  return Buffer.from(createRecordsBatch(messages, { producerId: -1n, producerEpoch: -1 }).buffer)
}
