/** Explains failures of the Kafka client before Kafka could answer a request: the connection, TLS, the login, the version. */
import { AuthenticationError, NetworkError, ProtocolError, UnsupportedApiError } from '@platformatic/kafka'
import { DeadlinePassed } from '@poke-api-pipeline/service-kit/deadline'
import { kafkaTlsFailure, missingPassword, namedAddress, rootMessage, type TlsRemedies, unreachableListener } from './kafka-connecting.ts'

export interface ConnectionFailure {
  /** A kind of error that both services have. Whether it is retried is a property of the kind. */
  readonly kind: 'deadline' | 'no-password' | 'tls' | 'not-authorised' | 'unsupported-broker' | 'unreachable'
  /** A sentence without its end. */
  readonly reason: string
}

/**
 * Explains an error of the Kafka client.
 * @param errors the error and all errors inside it: see `errorsIn`
 * @param brokers that the client was told to connect to
 * @param findsBrokers whether the client connects by itself to brokers that these name
 * @param remedies what to do about TLS, by the names of a service's settings
 * @returns null if a broker answered with an error code, or the error is not about the connection
 */
export function connectionFailure(
  errors: readonly Error[],
  brokers: readonly string[],
  findsBrokers: boolean,
  remedies?: TlsRemedies,
): ConnectionFailure | null {
  const kafka = `Kafka at ${brokers.join(', ')}`
  const [error] = errors
  if (error instanceof DeadlinePassed) return { kind: 'deadline', reason: `${kafka} did not answer in time: ${error.message}` }
  const password = missingPassword(errors, kafka)
  if (password !== null) return { kind: 'no-password', reason: password }
  const tls = kafkaTlsFailure(errors, kafka, remedies)
  if (tls !== null) return { kind: 'tls', reason: tls }
  const details = rootMessage(errors)
  const codes = errors.filter((e) => e instanceof ProtocolError).map(({ apiId }) => String(apiId))
  // The library also reports a failed login if the connection broke during it.
  if (codes.some((code) => code.includes('SASL')) || (errors.some((e) => e instanceof AuthenticationError) && !isLost(errors)))
    return { kind: 'not-authorised', reason: `${kafka} refused the login (${details}): check user and password` }
  if (codes.includes('UNSUPPORTED_VERSION') || errors.some((e) => e instanceof UnsupportedApiError))
    return { kind: 'unsupported-broker', reason: `${kafka} is too old (${details}): use Kafka 3.1 or newer` }
  if (codes.length > 0 || !isLost(errors)) return null
  const named = findsBrokers ? namedAddress(errors, brokers) : null
  const reason = named === null ? `${kafka} cannot be reached (${details})` : unreachableListener(brokers.join(', '), named, details)
  return { kind: 'unreachable', reason }
}

/** Whether a connection broke or could not be made, by an error of the library or of the system. */
export function isLost(errors: readonly Error[]): boolean {
  return errors.some((e) => (e as NodeJS.ErrnoException).code === NetworkError.code || (e as NodeJS.ErrnoException).syscall !== undefined)
}
