/** The embedded Kafka, for tests and measurements. */
export { type Cluster, ensureKafka, KAFKA_VERSION, type Kafka, type KafkaOptions, onFreePorts, startCluster, startKafka } from './kafka.ts'
