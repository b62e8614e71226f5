/** What every service says of Kafka connections: of the brokers' addresses, TLS, the password's file, and quotas. */
import { EXIT, retried, ServiceError } from '@poke-api-pipeline/service-kit/service-error'
import { tlsFailure } from '@poke-api-pipeline/service-kit/tls-failure'

/** The error and everything inside it, the root cause last. */
export function* errorsIn(error: unknown): Generator<Error> {
  if (!(error instanceof Error)) return
  yield error
  if (error instanceof AggregateError) for (const inner of error.errors) yield* errorsIn(inner)
  yield* errorsIn(error.cause)
}

/** The kind of error that both services have of it. */
export const KAFKA_TLS_ERROR = {
  ...retried(
    'TLS with a broker failed, for the reason in the message.',
    'Do what the message says. The service notices a correction at the broker by itself; after a correction of its own settings it has to be restarted.',
  ),
  exitCode: EXIT.config,
}

/**
 * What of TLS went wrong between this service and Kafka.
 * @param kafka a name for the broker, which begins the sentence
 * @returns null where it was not TLS
 */
export function kafkaTlsFailure(errors: readonly Error[], kafka: string): string | null {
  // The client library's word for a first answer that is TLS.
  if (errors.some(({ message }) => message === 'Broker requires TLS.'))
    return `${kafka} wants TLS on this port, and this service connects without: set KAFKA_SECURITY to tls, or name a port without TLS`
  const failure = tlsFailure(errors, 'set KAFKA_CA_FILE to the certificate of that authority')
  return failure && `${kafka} ${failure}`
}

/** The file of the password is not to be had; null where that was not the reason. */
export function missingPassword(errors: readonly Error[], kafka: string): string | null {
  const secret = errors.find((error) => error instanceof ServiceError && error.code === 'config/secret-unreadable')
  return secret === undefined ? null : `logging in to ${kafka} needs a password, and ${secret.message}`
}

/**
 * The address that could not be connected to, where it is none of those that were asked for: brokers have named it.
 * @param errors of a client of the Kafka library, whose words are looked at
 */
export function namedAddress(errors: readonly Error[], brokers: readonly string[]): string | null {
  for (const { message } of errors) {
    const address = /^Connection to (\S+:\d+) (?:failed|timed out)\.$/.exec(message)?.[1]
    if (address !== undefined) return brokers.includes(address) ? null : address
  }
  return null
}

/** A broker answered and named an address at which none can be reached. @param details the system's words */
export function unreachableListener(answered: string, named: string, details: string): string {
  return `Kafka at ${answered} answers, and names ${named} as the address of a broker, which cannot be reached from here (${details}): start that broker; where it runs, correct its advertised.listeners to an address that this machine reaches`
}

/**
 * Brokers that enforce quotas delay clients a little all the time; a delay from so many ms on is reported. A quota on the time of requests never
 * delays for longer than `quota.window.size.seconds`, 1 s by default, although a client may get no answer at all because of it.
 */
export const NOTABLE_THROTTLE = 500

/** Brokers enforce a quota on this client. @param ms for which they answer nothing more */
export function quotaText(brokers: readonly string[], ms: number): string {
  return `Kafka at ${brokers.join(', ')} enforces a quota on this service and makes it wait ${(ms / 1000).toFixed(1)} s: raise the quota of its user or client id (kafka-configs.sh --describe --entity-type users --entity-type clients shows it), or leave it: nothing is lost`
}
