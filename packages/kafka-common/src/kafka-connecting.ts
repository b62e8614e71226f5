/** Messages about connections to Kafka that every service shares: addresses of brokers, TLS, the password's file, quotas. */
import { printable } from '@poke-api-pipeline/service-kit/foreign-text'
import { EXIT, retried, ServiceError } from '@poke-api-pipeline/service-kit/service-error'
import { tlsFailure } from '@poke-api-pipeline/service-kit/tls-failure'

/** The error and all errors inside it, the root cause last. */
export function* errorsIn(error: unknown): Generator<Error> {
  if (!(error instanceof Error)) return
  yield error
  if (error instanceof AggregateError) for (const inner of error.errors) yield* errorsIn(inner)
  yield* errorsIn(error.cause)
}

/** Characters of a foreign message that are quoted. */
const MOST_DETAILS = 500

/** The message of the innermost error that has one, short and printable. @param errors of `errorsIn` */
export function rootMessage(errors: Iterable<Error>): string {
  const all = [...errors]
  return printable(all.findLast(({ message }) => message !== '')?.message ?? String(all[0]), MOST_DETAILS)
}

/** Both services' kind of error for TLS that failed. */
export const KAFKA_TLS_ERROR = {
  ...retried(
    'TLS with a broker failed, for the reason in the message.',
    'Do what the message says. The service notices a correction at the broker by itself; after a correction of its own settings it has to be restarted.',
  ),
  exitCode: EXIT.config,
}

/** What to do if a broker wants TLS, and if the authority of its certificate is not known: a service names its settings. */
export interface TlsRemedies {
  readonly encrypt: string
  readonly trust: string
}

const IN_GENERAL: TlsRemedies = { encrypt: 'turn TLS on', trust: 'give this service the certificate of that authority' }

/**
 * Explains why TLS between this service and Kafka failed.
 * @param kafka the name of the broker, which begins the sentence
 * @returns null if TLS is not the reason
 */
export function kafkaTlsFailure(errors: readonly Error[], kafka: string, { encrypt, trust } = IN_GENERAL): string | null {
  // The client library's message if the broker's first answer is TLS.
  if (errors.some(({ message }) => message === 'Broker requires TLS.'))
    return `${kafka} wants TLS on this port, and this service connects without: ${encrypt}, or name a port without TLS`
  const failure = tlsFailure(errors, trust)
  return failure && `${kafka} ${failure}`
}

/** Explains that the file of the password cannot be read. @returns null if that is not the reason */
export function missingPassword(errors: readonly Error[], kafka: string): string | null {
  const secret = errors.find((error) => error instanceof ServiceError && error.code === 'config/secret-unreadable')
  return secret === undefined ? null : `logging in to ${kafka} needs a password, and ${secret.message}`
}

/**
 * The address that could not be connected to, if it is none of the configured ones, so that a broker must have named it.
 * @param errors of a client of the Kafka library; their messages are parsed
 */
export function namedAddress(errors: readonly Error[], brokers: readonly string[]): string | null {
  for (const { message } of errors) {
    const address = /^Connection to (\S+:\d+) (?:failed|timed out)\.$/.exec(message)?.[1]
    if (address !== undefined) return brokers.includes(address) ? null : address
  }
  return null
}

/** Explains that a broker answered, but named an address that cannot be reached. @param details the system's error message */
export function unreachableListener(answered: string, named: string, details: string): string {
  return `Kafka at ${answered} answers, and names ${named} as the address of a broker, which cannot be reached from here (${details}): start that broker; where it runs, correct its advertised.listeners to an address that this machine reaches`
}

/**
 * The shortest delay of a quota that is reported, in ms: brokers that enforce quotas delay clients a little all the time. A quota on the time of
 * requests never delays for longer than `quota.window.size.seconds`, 1 s by default, although a client may get no answer at all because of it.
 */
export const NOTABLE_THROTTLE = 500

/** Explains that brokers enforce a quota on this client. @param ms the delay of the next answer */
export function quotaText(brokers: readonly string[], ms: number): string {
  return `Kafka at ${brokers.join(', ')} enforces a quota on this service and makes it wait ${(ms / 1000).toFixed(1)} s: raise the quota of its user or client id (kafka-configs.sh --describe --entity-type users --entity-type clients shows it), or leave it: nothing is lost`
}
