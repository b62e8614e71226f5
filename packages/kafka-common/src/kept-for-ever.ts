/**
 * Settings of the topics that these services make: every record is kept for ever, whatever the brokers do by default. A default of
 * `log.cleanup.policy=compact` or `log.retention.bytes` would remove records otherwise.
 */
export const KEPT_FOR_EVER = [
  { name: 'cleanup.policy', value: 'delete' },
  { name: 'retention.ms', value: '-1' },
  { name: 'retention.bytes', value: '-1' },
]
