/** Says in a sentence why Kafka did not answer as asked, and whether trying again can help. */
import { ProtocolError, protocolErrorsCodesById } from '@platformatic/kafka'
import { connectionFailure } from '@poke-api-pipeline/kafka-common/connection-failure'
import { errorsIn, rootMessage } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { KAFKA_ERRORS, KafkaError } from '../errors.ts'

export interface Attempt {
  readonly brokers: readonly string[]
  readonly topic: string
  /** Whether the client library finds other brokers by itself, from these. */
  readonly findsBrokers?: boolean
}

/** Error codes that something is decided on here (https://kafka.apache.org/protocol#protocol_error_codes). */
export const CODE = {
  none: 0,
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopicOrPartition: 3,
  offsetMetadataTooLarge: 12,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  unsupportedVersion: 35,
  groupIdNotFound: 69,
} as const

/** @param error what the Kafka client threw; a KafkaError is given back as it is */
export function kafkaError(error: unknown, { brokers, topic, findsBrokers = false }: Attempt): KafkaError {
  const cause = error as Error
  if (cause instanceof KafkaError) return cause
  const errors = [...errorsIn(cause)]
  const failure = connectionFailure(errors, brokers, findsBrokers)
  if (failure !== null) return new KafkaError(failure.kind, failure.reason, { cause, retried: KAFKA_ERRORS[failure.kind].retriable })
  const code = errors.find((e) => e instanceof ProtocolError)?.apiId
  if (code !== undefined) return refusal(String(code), { brokers, topic }, cause)
  if (errors.some((e) => e.message.startsWith('Unknown topic '))) return refusal('UNKNOWN_TOPIC_OR_PARTITION', { brokers, topic }, cause)
  const details = rootMessage(errors)
  if (errors.some((e) => e instanceof RangeError))
    return new KafkaError('bad-response', `the response of Kafka at ${brokers.join(', ')} cannot be read (${details})`, {
      cause,
      retried: true,
    })
  return new KafkaError('refused', `the Kafka client failed (${details})`, { cause, retried: true })
}

/** The error of a code within an answer. */
export function refusedBy(code: number, attempt: Attempt): KafkaError {
  // The library cannot make an error of a code that is newer than itself.
  return refusal((protocolErrorsCodesById as Record<number, string>)[code] ?? `error ${code}`, attempt, undefined)
}

function refusal(code: string, { brokers, topic }: Attempt, cause: Error | undefined): KafkaError {
  const kafka = `Kafka at ${brokers.join(', ')}`
  const options = { retried: true, brokerCode: code, ...(cause && { cause }) }
  if (/AUTHORIZATION_FAILED$/.test(code)) {
    return new KafkaError(
      'not-authorised',
      `${kafka} does not allow topic ${topic} or the group to this user (${code}): grant Read and DescribeConfigs on the topic and Read on the group; restart the service to see which rights are missing`,
      { brokerCode: code, ...(cause && { cause }) },
    )
  }
  if (code === 'INCONSISTENT_GROUP_PROTOCOL') {
    return new KafkaError('group-protocol', 'another program uses the group with another protocol', options)
  }
  if (code === 'LEADER_NOT_AVAILABLE') {
    return new KafkaError('no-leader', `a partition of topic ${topic} has no leader: start the broker that has its replica`, options)
  }
  if (code === 'UNKNOWN_TOPIC_OR_PARTITION') return new KafkaError('no-topic', `${kafka} does not know topic ${topic}`, options)
  const setUp = SET_UP[code]
  if (setUp !== undefined) return new KafkaError('refused', `${kafka} ${setUp} (${code})`, options)
  return new KafkaError('refused', `${kafka} refused a request (${code})`, options)
}

/** Refusals that have their reason in how the brokers are set up: what is wrong, and what to do. */
const SET_UP: Readonly<Record<string, string>> = {
  INVALID_SESSION_TIMEOUT:
    'does not take the session time-out of this service: set one between group.min.session.timeout.ms and group.max.session.timeout.ms of the brokers',
  GROUP_MAX_SIZE_REACHED: 'lets no more members into the group: end one of them, or raise group.max.size of the brokers',
  INVALID_GROUP_ID: 'does not take the name of the group: correct it',
  COORDINATOR_NOT_AVAILABLE:
    'has no coordinator for the group: its topic __consumer_offsets has no leader, or could not be made because offsets.topic.replication.factor is larger than the number of brokers: start the brokers that are missing, or lower it',
  KAFKA_STORAGE_ERROR: 'cannot use the disk of a partition: see to the disk of the broker, whose log names the folder',
}
