/** How every program here connects to Kafka: settings, security, rights, topics. */
export { closeByForce } from './close-by-force.ts'
export { CONNECTION_RULES, connectionWarnings, KAFKA_SETTINGS, kafkaSecurity } from './connection-settings.ts'
export { ConnectionWatch } from './connection-watch.ts'
export { deferSchemas } from './deferred-schemas.ts'
export {
  errorsIn,
  kafkaTlsFailure,
  missingPassword,
  NOTABLE_THROTTLE,
  namedAddress,
  quotaText,
  unreachableListener,
} from './kafka-connecting.ts'
export type { KafkaSecurity } from './kafka-security.ts'
export { KEPT_FOR_EVER } from './kept-for-ever.ts'
export { ReplaceableProducer } from './replaceable-producer.ts'
export { missingRightsMessage, type Operation } from './rights.ts'
export { createTopic, findTopic, missingOn } from './topic.ts'
export { UNSETTLED_TOPIC } from './unsettled-topic.ts'
