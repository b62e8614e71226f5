/** Turns failures of the Kafka client into PublishErrors: why Kafka did not accept the events, and whether retrying can help. */
import { ProtocolError } from '@platformatic/kafka'
import {
  connectionFailure,
  errorsIn,
  isLost,
  type KafkaSecurity,
  missingRightsMessage,
  type Operation,
  quotaText,
  rootMessage,
} from '@poke-api-pipeline/kafka-common'
import { DeadlinePassed, printable } from '@poke-api-pipeline/service-kit'
import { PUBLISH_ERRORS, PublishError, type PublishErrorKind } from '../../errors.ts'

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
  const failed = (kind: PublishErrorKind, reason: string) =>
    new PublishError(kind, PUBLISH_ERRORS[kind].retriable ? `${reason}; this is retried` : reason, { cause })
  if (cause instanceof DeadlinePassed && attempt.throttle)
    return failed('quota', `${quotaText(attempt.brokers, attempt.throttle)}; ${cause.message}`)
  const errors = [...errorsIn(cause)]
  if (attempt.broken && isLost(errors)) errors.push(...errorsIn(attempt.broken))
  const failure = connectionFailure(errors, attempt.brokers, true, TLS_REMEDIES)
  if (failure !== null) return failed(failure.kind, failure.reason)
  const refused = brokerErrors(errors)[0]
  if (refused !== undefined) return refusal(refused, attempt, cause)
  // The library throws plain TypeErrors for unexpected answers, for example while a topic is being created.
  return failed('refused', `the Kafka client failed (${rootMessage(errors)})`)
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
function refusal(broker: BrokerError, attempt: Attempt, cause: Error): PublishError {
  const { brokers, topic, events } = attempt
  const kafka = `Kafka at ${brokers.join(', ')}`
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
