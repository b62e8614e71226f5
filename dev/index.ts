/** What tests and measurements use of this workspace. */
export { type Cluster, ensureKafka, type Kafka, type KafkaOptions, startCluster, startKafka } from './kafka.ts'
