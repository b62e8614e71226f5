/** Reads a Kafka topic from positions that are kept elsewhere, for instance in one's own database. */

// Reading with records as objects. `BatchHandler` is what `readTopic` runs: it serves a `GroupReader` with options of its own, too.

export {
  BatchHandler,
  type BatchOptions,
  DataLostError,
  type ReadTopicOptions,
  readTopic,
  type SavedPosition,
  type TopicBatch,
} from './read-topic.ts'
export { recordsOf, TopicRecord } from './records/topic-record.ts'

// Reading with a cursor over the received bytes. `copyHeaders` decodes the headers of its record: at most `MAX_HEADERS` should be decoded.

export type { LogBounds } from './brokers/cluster.ts'
export type { FetchLimits } from './brokers/fetch-response.ts'
export type { LogWatchObserver } from './brokers/log-watch.ts'
export type { GroupMembersObserver, GroupView } from './group/group-members.ts'
export type { MembershipObserver } from './group/membership.ts'
export type { OffsetMirrorObserver } from './group/offset-mirror.ts'
export { GroupReader, type GroupReaderOptions, type ReaderObserver } from './group-reader.ts'
export type {
  DataLoss,
  EventIdentity,
  EventSource,
  FetchedRecords,
  FetchPosition,
  PartitionHandler,
  PartitionSession,
  ReadOutcome,
  RecordCursor,
  RecordReader,
  RecordView,
  TopicPartition,
  UnreadableKind,
} from './ports.ts'
export { copyHeaders, countHeaders, MAX_HEADERS } from './records/record-headers.ts'

// The time and randomness of a reader, which tests replace.

export { type Clock, systemClock } from '@poke-api-pipeline/service-kit/clock'

// Reading a range of a partition outside of any group.

export type { TopicDescription } from './ports.ts'
export { TopicReader, type TopicReaderOptions } from './topic-reader.ts'

// Which store a group uses: its committed offsets name the store in their metadata (rule S5). A command changes it through a `Cluster`.

export { Cluster, type ClusterOptions, nobodyOf, type Positions } from './brokers/cluster.ts'
export { claimMetadata, type GroupOffset, type StoreClaim, type StoreIdentity, storeOfGroup } from './group/store-claim.ts'

// Failures. A program that writes to Kafka, too, makes a `KafkaError` of the client's errors, and asks which rights it lacks.

export { kafkaError } from './brokers/kafka-failure.ts'
export { missingToWrite } from './brokers/rights.ts'
export { KAFKA_ERRORS, KafkaError, type KafkaErrorKind } from './errors.ts'
