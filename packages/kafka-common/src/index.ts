/** How every program here connects to Kafka: settings, client, failures, topics. */

// Settings.

export { KAFKA_SETTINGS, kafkaSecurity } from './connection-settings.ts'
export type { KafkaSecurity } from './kafka-security.ts'

// The client library. Modules that must not load it have exports of their own: `/connection-settings`, and `/deferred-schemas`, which makes it load faster.

export { closeByForce } from './close-by-force.ts'
export { ConnectionWatch } from './connection-watch.ts'
export { ReplaceableProducer } from './replaceable-producer.ts'

// Messages about failed connections, missing rights and quotas.

export { connectionFailure, isLost } from './connection-failure.ts'
export { errorsIn, NOTABLE_THROTTLE, quotaText, rootMessage } from './kafka-connecting.ts'
export { missingRightsMessage, type Operation } from './rights.ts'

// Topics.

export { createTopic, findTopic, missingOn, type TopicSettings } from './topic.ts'
