/** Reads a response to its end and keeps all records. */

import type { EventIdentity } from '../src/ports.ts'
import { AbortedTransactions, NONE_ABORTED } from '../src/records/aborted-transactions.ts'
import { Decompressor } from '../src/records/decompress.ts'
import { IdentityHeaders } from '../src/records/identity-headers.ts'
import { BatchCursor } from '../src/records/record-batch.ts'
import { copyHeaders } from '../src/records/record-headers.ts'
import { TEST_IDENTITY } from '../testing/batch-builder.ts'

export interface SeenRecord {
  readonly offset: number
  readonly leaderEpoch: number
  readonly timestamp: number
  /** The exact timestamp, in decimal digits. */
  readonly time: string
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
  readonly eventType: 'expected' | 'absent' | 'foreign'
  readonly source: string | null
  readonly sequence: number
}

export interface Walk {
  readonly records: SeenRecord[]
  readonly nextOffset: number
  readonly lastLeaderEpoch: number
  readonly corrupt: string | null
}

export interface WalkOptions {
  readonly fetchOffset?: number
  readonly aborted?: readonly { readonly producerId: bigint; readonly firstOffset: number }[]
  readonly maxBatchBytes?: number
}

export const nothingAborted = NONE_ABORTED

/** Skips offsets that have no record. */
export function newCursor(
  maxBatchBytes = 1 << 20,
  workBetweenPauses?: number,
  onHole: OnHole | null = () => {},
  identity: EventIdentity | null = TEST_IDENTITY,
): BatchCursor {
  return new BatchCursor(new Decompressor(maxBatchBytes), new IdentityHeaders(identity), workBetweenPauses, onHole)
}

type OnHole = (from: number, to: number) => void

/** Reads batches that have other bytes before and behind them, through every pause. */
export function walk(bytes: Buffer, options: WalkOptions = {}, cursor = newCursor(options.maxBatchBytes)): Walk {
  const response = Buffer.concat([Buffer.alloc(7, 0xff), bytes, Buffer.alloc(5, 0xff)])
  const aborted = new AbortedTransactions(
    (options.aborted ?? []).map(({ producerId, firstOffset }) => ({
      producerHigh: Number(BigInt.asIntN(32, producerId >> 32n)),
      producerLow: Number(BigInt.asIntN(32, producerId)),
      firstOffset,
    })),
  )
  cursor.reset(response, 7, 7 + bytes.length, options.fetchOffset ?? 0, aborted)
  const records: SeenRecord[] = []
  for (;;) {
    if (!cursor.next()) {
      if (cursor.paused) continue
      break
    }
    const part = (start: number, end: number) => (start < 0 ? null : cursor.bytes.toString('latin1', start, end))
    records.push({
      offset: cursor.offset,
      leaderEpoch: cursor.leaderEpoch,
      timestamp: cursor.timestamp,
      time: String(cursor.exactTimestamp()),
      key: part(cursor.keyStart, cursor.keyEnd),
      value: part(cursor.valueStart, cursor.valueEnd),
      headers: copyHeaders(cursor.bytes.subarray(cursor.headersStart, cursor.headersEnd), Number.POSITIVE_INFINITY).map(
        ([name, value]) => [name.toString('latin1'), value?.toString('latin1') ?? null] as const,
      ),
      eventType: cursor.eventType,
      source: cursor.source?.name ?? null,
      sequence: cursor.sequence,
    })
  }
  return { records, nextOffset: cursor.nextOffset, lastLeaderEpoch: cursor.lastLeaderEpoch, corrupt: cursor.corrupt }
}
