/** Says in a sentence why Kafka did not take the events, and whether trying again can help. */
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
import { PublishError } from '../../errors.ts'

/** Characters of what others say. */
const MOST_DETAILS = 500

export interface Attempt {
  readonly brokers: readonly string[]
  readonly topic: string
  /** How many events were sent; 0: none, the topic was being prepared. */
  readonly events: number
  readonly clientOptions?: KafkaSecurity
  /** What broke a connection meanwhile: the library does not tell it to whoever waits for an answer. */
  readonly broken?: Error | null
  /** For how long a quota was to keep the broker silent, in ms. */
  readonly throttle?: number
}

/** @param operations that Kafka does not allow */
export function notAllowed(
  operations: readonly Operation[],
  { brokers, topic, clientOptions }: Omit<Attempt, 'events'>,
  options?: ErrorOptions,
): PublishError {
  const missing = [{ resource: 'topic' as const, name: topic, operations }]
  return new PublishError('not-authorised', missingRightsMessage(missing, brokers, clientOptions), options)
}

/** @param error what the Kafka client threw; a PublishError is given back as it is */
export function publishError(error: unknown, attempt: Attempt): PublishError {
  const cause = error as Error
  if (cause instanceof PublishError) return cause
  const kafka = `Kafka at ${attempt.brokers.join(', ')}`
  if (cause instanceof DeadlinePassed && attempt.throttle)
    return new PublishError('quota', `${quotaText(attempt.brokers, attempt.throttle)}; ${cause.message}; it is tried again`, { cause })
  if (cause instanceof DeadlinePassed)
    return new PublishError('deadline', `${kafka} did not answer in time: ${cause.message}; it is tried again`, { cause })
  const errors = [...errorsIn(cause)]
  if (attempt.broken && isLost(errors)) errors.push(...errorsIn(attempt.broken))
  const details = printable((errors.at(-1) ?? cause).message, MOST_DETAILS)
  const password = missingPassword(errors, kafka)
  if (password !== null) return new PublishError('no-password', password, { cause })
  const tls = kafkaTlsFailure(errors, kafka)
  if (tls !== null) return new PublishError('tls', tls, { cause })
  const isRefusedLogin = brokerErrors(errors).some(({ apiId }) => apiId.includes('SASL'))
  // The library calls a login failed too where the connection broke meanwhile.
  if (isRefusedLogin || (errors.some((e) => e instanceof AuthenticationError) && !isLost(errors))) {
    return new PublishError('not-authorised', `${kafka} refused the login (${details}): check user and password`, { cause })
  }
  if (errors.some((e) => e instanceof UnsupportedApiError)) {
    return new PublishError('unsupported-broker', `${kafka} is too old (${details}): use Kafka 3.1 or newer`, { cause })
  }
  const refused = brokerErrors(errors)[0]
  if (refused !== undefined) return refusal(refused, kafka, attempt, cause)
  if (!isLost(errors)) {
    // The library throws plain TypeErrors where an answer is not what it expects, as while a topic is being made.
    return new PublishError('refused', `the Kafka client failed (${details}); it is tried again`, { cause })
  }
  const named = namedAddress(errors, attempt.brokers)
  if (named !== null) return new PublishError('unreachable', unreachableListener(attempt.brokers.join(', '), named, details), { cause })
  return new PublishError('unreachable', `${kafka} cannot be reached (${details}); it is tried again`, { cause })
}

/** The broker's words where it refused the events because of a timestamp; null where it did not. */
export function refusedTimestamp(error: unknown): string | null {
  const errors = brokerErrors([...errorsIn(error)])
  if (!errors.some(({ apiId }) => apiId === 'INVALID_TIMESTAMP')) return null
  // One record's words are enough: there may be as many as records.
  return errors.at(-1)?.serverErrorMessage ?? ''
}

/**
 * What the brokers said, the reason first. Of a refused batch they also name single records, and the library takes the place of such a record
 * for an error code that it does not know: UNKNOWN_SERVER_ERROR.
 */
function brokerErrors(errors: readonly Error[]): BrokerError[] {
  const all = errors.filter((e) => e instanceof ProtocolError) as unknown as BrokerError[]
  return all.toSorted((a, b) => Number(a.apiId === 'UNKNOWN_SERVER_ERROR') - Number(b.apiId === 'UNKNOWN_SERVER_ERROR'))
}

/** What the library's ProtocolError carries and does not declare. */
interface BrokerError extends Error {
  readonly apiId: string
  readonly serverErrorMessage: string | null
}

/** By the broker's error code: https://kafka.apache.org/protocol#protocol_error_codes */
function refusal(broker: BrokerError, kafka: string, attempt: Attempt, cause: Error): PublishError {
  const { topic, events } = attempt
  const details = broker.serverErrorMessage ? `${broker.apiId}: ${printable(broker.serverErrorMessage, MOST_DETAILS)}` : broker.apiId
  switch (broker.apiId) {
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return notAllowed([events === 0 ? 'Create' : 'Write'], attempt, { cause })
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
      if (events > 1)
        return new PublishError('too-large', `${events} events at once are more than topic ${topic} takes (${details}); fewer are sent`, {
          cause,
        })
      return new PublishError(
        'event-refused',
        `an event is larger than topic ${topic} takes (${details}): raise the topic's max.message.bytes`,
        { cause },
      )
    case 'INVALID_TIMESTAMP':
      return new PublishError(
        'timestamp-refused',
        `topic ${topic} does not take the times of these ${events} events as timestamps (${refusedTimestamp(cause)}; its message.timestamp.before.max.ms and message.timestamp.after.max.ms): those outside are sent again with the time of sending, and ce_time keeps the time of the capture`,
        { cause },
      )
    case 'INVALID_RECORD':
      return new PublishError(
        'event-refused',
        `topic ${topic} does not take the events of this service (${details}): check the topic's settings`,
        { cause },
      )
    case 'INVALID_TOPIC_EXCEPTION':
    case 'INVALID_PARTITIONS':
    case 'INVALID_CONFIG':
    case 'POLICY_VIOLATION':
      return new PublishError(
        'topic-refused',
        `${kafka} does not make topic ${topic} (${details}): correct KAFKA_TOPIC or KAFKA_TOPIC_PARTITIONS, or make the topic by hand`,
        { cause },
      )
    case 'UNSUPPORTED_VERSION':
      return new PublishError('unsupported-broker', `${kafka} is too old (${details}): use Kafka 3.1 or newer`, { cause })
    case 'THROTTLING_QUOTA_EXCEEDED':
      return new PublishError('quota', `${kafka} enforces a quota on making topics (${details}); it is tried again`, { cause })
    case 'INVALID_REPLICATION_FACTOR':
      return new PublishError(
        'not-enough-brokers',
        `${kafka} cannot make topic ${topic} (${details}): start more brokers, or lower KAFKA_TOPIC_REPLICATION; it is tried again`,
        { cause },
      )
    case 'NOT_ENOUGH_REPLICAS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
      return new PublishError(
        'not-enough-brokers',
        `topic ${topic} has too few replicas in sync (${details}): start more brokers; it is tried again`,
        { cause },
      )
    case 'LEADER_NOT_AVAILABLE':
      return new PublishError(
        'no-leader',
        `a partition of topic ${topic} has no leader: start the broker that keeps it; it is tried again`,
        {
          cause,
        },
      )
    case 'NOT_LEADER_OR_FOLLOWER':
    case 'FENCED_LEADER_EPOCH':
    case 'UNKNOWN_LEADER_EPOCH':
      return new PublishError('no-leader', `the leaders of topic ${topic} are changing (${details}); it is tried again`, { cause })
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return new PublishError('no-topic', `${kafka} does not know topic ${topic} any more (${details}); it is made again`, { cause })
    default:
      return new PublishError('refused', `${kafka} did not take ${events} events for topic ${topic} (${details}); it is tried again`, {
        cause,
      })
  }
}

/** Whether the connection was lost, or not to be had. */
function isLost(errors: readonly Error[]): boolean {
  return errors.some((e) => (e as { code?: unknown }).code === NetworkError.code)
}
