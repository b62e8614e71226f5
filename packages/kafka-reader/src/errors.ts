/** The kinds of failures of Kafka. */
import { KAFKA_TLS_ERROR } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { type ErrorKind, EXIT, final, retried, ServiceError } from '@poke-api-pipeline/service-kit/service-error'

/** Reading records failed, or membership of the group. */
export const KAFKA_ERRORS = {
  unreachable: retried(
    'No broker can be reached, or not the broker that is needed.',
    'Start Kafka, or correct the addresses of its brokers. If the message says so, correct `advertised.listeners` of the broker. Reading resumes by itself.',
  ),
  deadline: retried('Kafka did not answer in time.', 'Nothing has to be done: the service retries through a new connection.'),
  quota: retried(
    'Kafka throttles this service because of a quota.',
    'Raise the quota of its user or client id, or accept the delay: nothing is lost.',
  ),
  'no-password': retried('The file with the password for Kafka cannot be read any more.', 'Restore the file, which the message names.'),
  'no-topic': retried('The topic does not exist.', 'Create it, or correct its name.'),
  'no-leader': retried('A partition of the topic has no leader.', 'Start the broker that has its replica.'),
  membership: retried('The group removed this instance.', 'Nothing has to be done: the service joins the group again.'),
  'group-protocol': retried(
    'Another program uses the group with another protocol, so this service cannot join the group.',
    'End that program, which the message names, or give this service a group of its own. Reading then resumes by itself.',
  ),
  'foreign-member': retried(
    'Another program is in the group or blocks its rebalances, or no instance reads a partition: the records there are not read.',
    'End that program, which the message names, or give it a group of its own. Reading then resumes by itself.',
  ),
  refused: retried('Kafka rejected a request for another reason.', 'The message quotes the broker; the service retries.'),
  'bad-response': retried(
    'A response of Kafka cannot be read.',
    'Nothing has to be done: the service fetches again through a new connection.',
  ),
  'two-stores': final(
    EXIT.config,
    'The other instances of the group use another store, so each store would have only a part of the results. The instance that joined last ends.',
    'Give this instance the group’s store, which the message names, or a group of its own. To change the group’s store on purpose, stop all of its instances first.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'Kafka rejected the login, or does not allow this user to use the topic or the group.',
    'Check user and password, and grant the rights that the message names.',
  ),
  tls: KAFKA_TLS_ERROR,
  'unsupported-broker': final(EXIT.config, 'The broker is too old for topic ids.', 'Use Kafka 3.1 or newer.'),
} as const satisfies Record<string, ErrorKind>
export type KafkaErrorKind = keyof typeof KAFKA_ERRORS

export interface KafkaErrorOptions extends ErrorOptions {
  /** Whether the reader retries without being told to: the message ends with that. */
  readonly retried?: boolean
  /** The code with which a broker refused, as the protocol names it: `INVALID_GROUP_ID`. */
  readonly brokerCode?: string | null
}

export class KafkaError extends ServiceError {
  override readonly name = 'KafkaError'
  readonly kind: KafkaErrorKind
  /** The message without the words that this is retried, for a program that has stopped retrying. */
  readonly reason: string
  /** The code with which a broker refused, as the protocol names it; null if none did. */
  readonly brokerCode: string | null

  constructor(kind: KafkaErrorKind, reason: string, { retried = false, brokerCode = null, ...options }: KafkaErrorOptions = {}) {
    super(retried ? `${reason}; this is retried` : reason, { ...options, ...KAFKA_ERRORS[kind], code: `kafka/${kind}` })
    this.kind = kind
    this.reason = reason
    this.brokerCode = brokerCode
  }
}
