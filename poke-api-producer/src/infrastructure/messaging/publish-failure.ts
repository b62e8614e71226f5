/** Turns failures of the Kafka client into PublishErrors: why Kafka did not accept the events, and whether retrying can help. */
import { AuthenticationError, NetworkError, ProtocolError, UnsupportedApiError } from '@platformatic/kafka'
import {
  errorsIn,
  type KafkaSecurity,
  kafkaTlsFailure,
  missingPassword,
  missingRightsMessage,
  namedAddress,
  type Operation,
  quotaText,
  unreachableListener,
} from '@poke-api-pipeline/kafka-common'
import { DeadlinePassed, printable } from '@poke-api-pipeline/service-kit'
import { PublishError, type PublishErrorKind } from '../../errors.ts'

const TLS_REMEDIES = { encrypt: 'set KAFKA_SECURITY to tls', trust: 'set KAFKA_CA_FILE to the certificate of that authority' }
/** Most characters that are quoted from others. */
const MOST_DETAILS = 500

export interface Attempt {
  readonly brokers: readonly string[]
  readonly topic: string
  /** How many events were sent; 0: the topic was being prepared. */
  readonly events: number
  readonly clientOptions?: KafkaSecurity
  /** The error of a connection that broke meanwhile: the library does not pass it on to the caller that waits for an answer. */
  readonly broken?: Error | null
  /** For how many ms a quota delays the broker's answers. */
  readonly throttle?: number
}

/** @param operations that Kafka denies */
export function notAllowed(
  operations: readonly Operation[],
  { brokers, topic, clientOptions }: Omit<Attempt, 'events'>,
  options?: ErrorOptions,
): PublishError {
  const missing = [{ resource: 'topic' as const, name: topic, operations }]
  return new PublishError('not-authorised', missingRightsMessage(missing, brokers, clientOptions), options)
}

/** @param error thrown by the Kafka client; a PublishError is returned unchanged */
export function publishError(error: unknown, attempt: Attempt): PublishError {
  const cause = error as Error
  if (cause instanceof PublishError) return cause
  const failed = (kind: PublishErrorKind, message: string) => new PublishError(kind, message, { cause })
  const kafka = `Kafka at ${attempt.brokers.join(', ')}`
  if (cause instanceof DeadlinePassed && attempt.throttle)
    return failed('quota', `${quotaText(attempt.brokers, attempt.throttle)}; ${cause.message}; this is retried`)
  if (cause instanceof DeadlinePassed) return failed('deadline', `${kafka} did not answer in time: ${cause.message}; this is retried`)
  const errors = [...errorsIn(cause)]
  if (attempt.broken && isLost(errors)) errors.push(...errorsIn(attempt.broken))
  const details = printable((errors.at(-1) ?? cause).message, MOST_DETAILS)
  const password = missingPassword(errors, kafka)
  if (password !== null) return failed('no-password', `${password}; this is retried`)
  const tls = kafkaTlsFailure(errors, kafka, TLS_REMEDIES)
  if (tls !== null) return failed('tls', `${tls}; this is retried`)
  const isRefusedLogin = brokerErrors(errors).some(({ apiId }) => apiId.includes('SASL'))
  // The library reports a failed login also where the connection broke meanwhile.
  if (isRefusedLogin || (errors.some((e) => e instanceof AuthenticationError) && !isLost(errors))) {
    return failed('not-authorised', `${kafka} refused the login (${details}): check user and password`)
  }
  if (errors.some((e) => e instanceof UnsupportedApiError)) {
    return failed('unsupported-broker', `${kafka} is too old (${details}): use Kafka 3.1 or newer`)
  }
  const refused = brokerErrors(errors)[0]
  if (refused !== undefined) return refusal(refused, kafka, attempt, cause)
  if (!isLost(errors)) {
    // The library throws plain TypeErrors for unexpected answers, for example while a topic is being created.
    return failed('refused', `the Kafka client failed (${details}); this is retried`)
  }
  const named = namedAddress(errors, attempt.brokers)
  if (named !== null) {
    const listener = unreachableListener(attempt.brokers.join(', '), named, details)
    return failed('unreachable', `${listener}; this is retried`)
  }
  return failed('unreachable', `${kafka} cannot be reached (${details}); this is retried`)
}

/** The broker's message where it refused the events because of a timestamp; else null. */
export function refusedTimestamp(error: unknown): string | null {
  const errors = brokerErrors([...errorsIn(error)])
  if (!errors.some(({ apiId }) => apiId === 'INVALID_TIMESTAMP')) return null
  // One message is enough: there may be one for each record.
  return errors.at(-1)?.serverErrorMessage ?? ''
}

/**
 * The brokers' errors, the reason first. For a refused batch brokers also report single records. The library mistakes the index of such a record for
 * an error code that it does not know, UNKNOWN_SERVER_ERROR.
 */
function brokerErrors(errors: readonly Error[]): BrokerError[] {
  const all = errors.filter((e) => e instanceof ProtocolError) as unknown as BrokerError[]
  return all.toSorted((a, b) => Number(a.apiId === 'UNKNOWN_SERVER_ERROR') - Number(b.apiId === 'UNKNOWN_SERVER_ERROR'))
}

/** Properties of the library's ProtocolError that it does not declare. */
interface BrokerError extends Error {
  readonly apiId: string
  readonly serverErrorMessage: string | null
}

/** By the broker's error code: https://kafka.apache.org/protocol#protocol_error_codes */
function refusal(broker: BrokerError, kafka: string, attempt: Attempt, cause: Error): PublishError {
  const { topic, events } = attempt
  const details = broker.serverErrorMessage ? `${broker.apiId}: ${printable(broker.serverErrorMessage, MOST_DETAILS)}` : broker.apiId
  const failed = (kind: PublishErrorKind, message: string) => new PublishError(kind, message, { cause })
  switch (broker.apiId) {
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return notAllowed([events === 0 ? 'Create' : 'Write'], attempt, { cause })
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
      if (events > 1) return failed('too-large', `topic ${topic} does not accept ${events} events at once (${details}); fewer are sent`)
      return failed('event-refused', `an event is larger than topic ${topic} accepts (${details}): raise the topic's max.message.bytes`)
    case 'INVALID_TIMESTAMP':
      return failed(
        'timestamp-refused',
        `topic ${topic} does not accept the times of these ${events} events as timestamps (${refusedTimestamp(cause)}; its message.timestamp.before.max.ms and message.timestamp.after.max.ms): the refused events are sent again with the time of sending, and ce_time keeps the time of the capture`,
      )
    case 'INVALID_RECORD':
      return failed('event-refused', `topic ${topic} does not accept the events of this service (${details}): check the topic's settings`)
    case 'INVALID_TOPIC_EXCEPTION':
    case 'INVALID_PARTITIONS':
    case 'INVALID_CONFIG':
    case 'POLICY_VIOLATION':
      return failed(
        'topic-refused',
        `${kafka} does not create topic ${topic} (${details}): correct KAFKA_TOPIC or KAFKA_TOPIC_PARTITIONS, or create the topic by hand`,
      )
    case 'UNSUPPORTED_VERSION':
      return failed('unsupported-broker', `${kafka} is too old (${details}): use Kafka 3.1 or newer`)
    case 'THROTTLING_QUOTA_EXCEEDED':
      return failed('quota', `${kafka} enforces a quota on creating topics (${details}); this is retried`)
    case 'INVALID_REPLICATION_FACTOR':
      return failed(
        'not-enough-brokers',
        `${kafka} cannot create topic ${topic} (${details}): start more brokers, or lower KAFKA_TOPIC_REPLICATION; this is retried`,
      )
    case 'NOT_ENOUGH_REPLICAS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
      return failed('not-enough-brokers', `topic ${topic} has too few replicas in sync (${details}): start more brokers; this is retried`)
    case 'LEADER_NOT_AVAILABLE':
      return failed('no-leader', `a partition of topic ${topic} has no leader: start the broker that has its replica; this is retried`)
    case 'NOT_LEADER_OR_FOLLOWER':
    case 'FENCED_LEADER_EPOCH':
    case 'UNKNOWN_LEADER_EPOCH':
      return failed('no-leader', `the leaders of topic ${topic} are changing (${details}); this is retried`)
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return failed('no-topic', `topic ${topic} was deleted from ${kafka} (${details}); it is created again`)
    default:
      return failed('refused', `${kafka} rejected ${events} events for topic ${topic} (${details}); this is retried`)
  }
}

/** Whether the connection was lost, or could not be made. */
function isLost(errors: readonly Error[]): boolean {
  return errors.some((e) => (e as { code?: unknown }).code === NetworkError.code)
}
