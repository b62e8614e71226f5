/** What brokers answer of a topic that was just made, or whose leaders are being chosen: it passes within a moment (https://kafka.apache.org/protocol#protocol_error_codes). */
export const UNSETTLED_TOPIC = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'UNKNOWN_LEADER_EPOCH',
  'FENCED_LEADER_EPOCH',
] as const
