/** A store that the first version has written, with dead letters, and what the present version must do with it. */
import assert from 'node:assert/strict'
import { replay } from '../../src/application/replay.ts'
import type { Store } from '../../src/infrastructure/storage/store.ts'
import { at, changeOf, deadLetterOf, partitionOf, TOPIC_ID } from './store-harness.ts'

const GHOST = '{"id":92,"name":"gastly","types":[{"slot":1,"type":{"name":"ghost"}}]}'
const P0 = partitionOf(0)

/**
 * Rows of a group `group`: partition 0 at offset 4, with one record counted and three dead letters.
 * @param time a point in time, and how bytes are written, in the database's SQL
 */
export function rowsOfFirstVersion(time: string, bytes: (hex: string) => string): string {
  const value = bytes(Buffer.from(GHOST).toString('hex'))
  const headers = bytes('00')
  return `
    INSERT INTO topics (group_id, topic_id, topic, accepted) VALUES ('group', '${TOPIC_ID}', 'poke-topic', 1);
    INSERT INTO partitions (group_id, topic, topic_id, partition, token, owner, opened_at, position, leader_epoch, first_offset, revision,
      counted, duplicates, dead_letters, committed_at)
    VALUES ('group', 'poke-topic', '${TOPIC_ID}', 0, 1, 'host', ${time}, 4, 1, 0, 1, 1, 0, 3, ${time});
    INSERT INTO counts (partition_id, type, count) SELECT id, 'ghost', 1 FROM partitions;
    INSERT INTO dead_letters (partition_id, record_offset, leader_epoch, record_timestamp, reason, state, kept_at, key, headers, value)
    SELECT id, 1, 1, -9000000000000000000, 'not-json', 'kept', ${time}, ${bytes('6b')}, ${headers}, ${bytes('4f4b')} FROM partitions
    UNION ALL SELECT id, 2, 1, 1700000000000, 'bad-type-name', 'published', ${time}, NULL, ${headers}, ${value} FROM partitions
    UNION ALL SELECT id, 3, 1, 0, 'null-value', 'kept', ${time}, NULL, ${headers}, NULL FROM partitions;`
}

/** Uses every operation on dead letters, on such a store that the present version has opened. */
export async function assertBroughtUpToDate(store: Store): Promise<void> {
  const deadLetters = await store.deadLetters(null, 10)
  assert.deepEqual(
    deadLetters.map(({ offset, timestamp, state, cut }) => [offset, timestamp, state, cut]),
    [
      [3, 0n, 'kept', {}],
      [2, 1_700_000_000_000n, 'published', {}],
      [1, -9_000_000_000_000_000_000n, 'kept', {}],
    ],
  )
  const unpublished = await store.unpublished(P0, 10, 1 << 30)
  assert.deepEqual(
    unpublished.map(({ offset }) => offset),
    [1, 3],
  )
  await store.markPublished(unpublished.map(({ id }) => id))
  const { counted, cut } = await replay(store, () => {})
  assert.deepEqual([counted, cut], [1, 0])
  // Counting continues, and stores a dead letter that is cut.
  const state = await store.open(P0)
  assert.deepEqual(state.position, at(4, 1))
  const whole = { bytes: 1_048_577, sha256: 'ab'.repeat(32) }
  const more = [deadLetterOf(4, { reason: 'too-large', value: Buffer.alloc(65_536, 'x'), cut: { value: whole }, leaderEpoch: 1 })]
  assert.equal(await store.commit(changeOf(P0, state, 5, { deadLetters: more, leaderEpoch: 1 })), 'committed')
  assert.deepEqual((await store.deadLetters(null, 1))[0]?.cut, { value: whole })
}
