/** Says in a sentence why Kafka did not answer as asked, and whether trying again can help. */
import { AuthenticationError, NetworkError, ProtocolError, UnsupportedApiError } from '@platformatic/kafka'
import { KafkaError } from '../../errors.ts'
import { DeadlinePassed } from './deadline.ts'

export interface Attempt {
  readonly brokers: readonly string[]
  readonly topic: string
}

/** @param error what the Kafka client threw; a KafkaError is given back as it is */
export function kafkaError(error: unknown, { brokers, topic }: Attempt): KafkaError {
  const cause = error as Error
  if (cause instanceof KafkaError) return cause
  const kafka = `Kafka at ${brokers.join(', ')}`
  if (cause instanceof DeadlinePassed)
    return new KafkaError('deadline', `${kafka} did not answer in time: ${cause.message}; it is tried again`, { cause })
  const errors = [...chain(cause)]
  const details = (errors.at(-1) ?? cause).message
  if (errors.some((e) => e instanceof AuthenticationError)) {
    return new KafkaError('not-authorised', `${kafka} refused the login (${details}): check user and password`, { cause })
  }
  if (errors.some((e) => e instanceof UnsupportedApiError)) {
    return new KafkaError('unsupported-broker', `${kafka} is too old (${details}): use Kafka 3.1 or newer`, { cause })
  }
  const refused = errors.find((e) => e instanceof ProtocolError) as (Error & { readonly apiId?: string }) | undefined
  if (refused !== undefined) {
    const code = refused.apiId ?? refused.message
    if (/AUTHORIZATION_FAILED$/.test(code)) {
      return new KafkaError(
        'not-authorised',
        `${kafka} does not allow topic ${topic} or the group to this user (${code}): grant Read on both`,
        { cause },
      )
    }
    if (code === 'LEADER_NOT_AVAILABLE') {
      return new KafkaError('no-leader', `a partition of topic ${topic} has no leader: start the broker that keeps it; it is tried again`, {
        cause,
      })
    }
    if (code === 'UNSUPPORTED_VERSION')
      return new KafkaError('unsupported-broker', `${kafka} is too old (${code}): use Kafka 3.1 or newer`, { cause })
    return new KafkaError('refused', `${kafka} refused a request (${code}); it is tried again`, { cause })
  }
  if (/requires TLS|supports TLS/.test(details)) {
    return new KafkaError('tls', `${kafka} and this service disagree about TLS (${details}): check the settings for TLS`, { cause })
  }
  if (!errors.some((e) => (e as { code?: unknown }).code === NetworkError.code)) {
    return new KafkaError('refused', `the Kafka client failed (${details}); it is tried again`, { cause })
  }
  return new KafkaError('unreachable', `${kafka} cannot be reached (${details}); it is tried again`, { cause })
}

/** The error and everything inside it, the root cause last. */
function* chain(error: unknown): Generator<Error> {
  if (!(error instanceof Error)) return
  yield error
  if (error instanceof AggregateError) for (const inner of error.errors) yield* chain(inner)
  yield* chain(error.cause)
}
