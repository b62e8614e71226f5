/**
 * What members of a classic group say when they join, and what the leader hands them (`ConsumerProtocolSubscription` and
 * `ConsumerProtocolAssignment`, https://kafka.apache.org/protocol). Other programs wrote these bytes: they may be anything.
 */
import {
  decodeConsumerProtocolAssignment,
  decodeConsumerProtocolSubscription,
  encodeConsumerProtocolSubscription,
} from '@platformatic/kafka'

const NOTHING_SUBSCRIBED = encodeConsumerProtocolSubscription({ version: 0, topics: [] })
const NOTHING_HANDED_OUT = Buffer.alloc(0)

/** @returns what a member says of itself beyond its topics; null where there is nothing, or the bytes are of another protocol */
export function userDataOf(metadata: Buffer): Buffer | null {
  const said = read(metadata, decodeConsumerProtocolSubscription)?.userData ?? null
  return said === null || said.length === 0 ? null : Buffer.from(said)
}

/** @returns the partitions of a topic that were handed out; null where the bytes are of another protocol */
export function partitionsOf(assignment: Buffer, topic: string): number[] | null {
  const handedOut = read(assignment, decodeConsumerProtocolAssignment)?.assignedPartitions ?? null
  return handedOut?.flatMap((each) => (each.topic === topic ? each.partitions : [])) ?? null
}

/** @returns the same bytes where they can be read, or else those of a member that subscribes to nothing */
export function readableSubscription(metadata: Buffer): Buffer {
  return read(metadata, decodeConsumerProtocolSubscription) === null ? NOTHING_SUBSCRIBED : metadata
}

/** @returns the same bytes where they can be read, or else those of a leader that hands out nothing */
export function readableAssignment(assignment: Buffer): Buffer {
  return read(assignment, decodeConsumerProtocolAssignment) === null ? NOTHING_HANDED_OUT : assignment
}

function read<T>(bytes: Buffer, decode: (bytes: Buffer) => T): T | null {
  try {
    return decode(bytes)
  } catch {
    // The library fails with errors of many kinds on bytes that are not of this protocol.
    return null
  }
}
