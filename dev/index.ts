/** What tests and measurements use of this workspace. */
export { type Cluster, ensureKafka, KAFKA_VERSION, type Kafka, type KafkaOptions, startCluster, startKafka } from './kafka.ts'
