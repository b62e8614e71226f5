/** Codes that brokers return for a moment after a topic was created, or while its leaders are elected (https://kafka.apache.org/protocol#protocol_error_codes). */
export const UNSETTLED_TOPIC = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'UNKNOWN_LEADER_EPOCH',
  'FENCED_LEADER_EPOCH',
] as const
