/** Why records cannot be read any more, in sentences with offsets (rules F1, F5 and S6). */
import type { DataLoss } from './ports.ts'

export function compacted(topic: string): DataLoss {
  return {
    kind: 'compacted',
    message: `topic ${topic} is compacted: Kafka removes each record that has a newer one of the same key, so a position in it does not say what was read. Set its cleanup.policy to delete. What was removed by then cannot come back and is reported as missing: read a new topic to which the records are sent again, or skip the gaps`,
    from: null,
    to: null,
  }
}

/** @param start the first offset that the log still has */
export function retention(position: number, start: number): DataLoss {
  return {
    kind: 'retention',
    message: `retention removed ${start - position} offsets before they were read: from ${position} to ${start - 1}`,
    from: position,
    to: start,
  }
}

/** @param end where the log ends now, below the position */
export function truncation(position: number, end: number): DataLoss {
  return {
    kind: 'truncated',
    message: `the log ends at offset ${end}, below the position ${position}: ${position - end} offsets that were read are gone`,
    from: end,
    to: end,
  }
}

/** @param common where the part of the log ends that the broker has as it was read, and the leader epoch there */
export function divergence(position: number, common: { readonly leaderEpoch: number; readonly endOffset: number }): DataLoss {
  const from = Math.min(common.endOffset, position)
  return {
    kind: 'truncated',
    message: `the log was cut below the position ${position}, and may have been refilled: the ${position - from} offsets from ${from} on that were read are not what is there now (the last leader epoch in common is ${common.leaderEpoch})`,
    from,
    to: from,
  }
}

/** KIP-320: brokers answer so where the epoch is higher than any of theirs. */
export function unknownEpoch(position: number, epoch: number): DataLoss {
  return {
    kind: 'truncated',
    message: `the log is another one: what was read below the position ${position} was written under leader epoch ${epoch}, which the broker has never heard of`,
    from: null,
    to: null,
  }
}

/** The broker itself reports that its log is damaged. */
export function damagedLog(offset: number): DataLoss {
  return { kind: 'corrupt', message: `the broker says that its log is damaged at offset ${offset}, twice`, from: offset, to: null }
}
