/** A cursor over record batches that a test has built, as a session gets it with a response. */
import type { EventIdentity, RecordCursor } from '../src/ports.ts'
import { NONE_ABORTED } from '../src/records/aborted-transactions.ts'
import { Decompressor } from '../src/records/decompress.ts'
import { IdentityHeaders } from '../src/records/identity-headers.ts'
import { BatchCursor } from '../src/records/record-batch.ts'

/**
 * @param batches the bytes of batches, the first of which contains `fetchOffset`
 * @param identity null: no record has an identity
 */
export function cursorOver(batches: Buffer, identity: EventIdentity | null = null, fetchOffset = 0): RecordCursor {
  const cursor = new BatchCursor(new Decompressor(1 << 20), new IdentityHeaders(identity))
  return cursor.reset(batches, 0, batches.length, fetchOffset, NONE_ABORTED)
}
