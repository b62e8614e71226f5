/** How every program here connects to Kafka: settings, client, failures, topics. */

// Settings.

export { KAFKA_SETTINGS, kafkaSecurity } from './connection-settings.ts'
export type { KafkaSecurity } from './kafka-security.ts'

// The client library. Modules that must not load it have exports of their own: `/connection-settings`, and `/deferred-schemas`, which makes it load faster.

export { closeByForce } from './close-by-force.ts'
export { ConnectionWatch } from './connection-watch.ts'
export { ReplaceableProducer } from './replaceable-producer.ts'

// Messages about failed connections, missing rights and quotas.

export {
  errorsIn,
  kafkaTlsFailure,
  missingPassword,
  NOTABLE_THROTTLE,
  namedAddress,
  quotaText,
  unreachableListener,
} from './kafka-connecting.ts'
export { missingRightsMessage, type Operation } from './rights.ts'

// Topics. `UNSETTLED_TOPIC` lists the codes that brokers return for a moment after a topic was created.

export { KEPT_FOR_EVER } from './kept-for-ever.ts'
export { createTopic, findTopic, missingOn } from './topic.ts'
export { UNSETTLED_TOPIC } from './unsettled-topic.ts'
