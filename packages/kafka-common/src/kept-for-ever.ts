/**
 * Settings of the topics that these services create: the brokers keep every record for ever. Without them, a broker's default of
 * `log.cleanup.policy=compact` or `log.retention.bytes` would remove records.
 */
export const KEPT_FOR_EVER = [
  { name: 'cleanup.policy', value: 'delete' },
  { name: 'retention.ms', value: '-1' },
  { name: 'retention.bytes', value: '-1' },
]
