/** The kinds of failures of Kafka. */
import { KAFKA_TLS_ERROR } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { type ErrorKind, EXIT, final, retried, ServiceError } from '@poke-api-pipeline/service-kit/service-error'

/** Reading records failed, or membership of the group. */
export const KAFKA_ERRORS = {
  unreachable: retried(
    'No broker can be reached, or not the broker that is needed.',
    'Start Kafka, or correct `KAFKA_BROKERS`. If the message says so, correct `advertised.listeners` of the broker. Counting resumes by itself.',
  ),
  deadline: retried('Kafka did not answer in time.', 'Nothing has to be done: the service retries through a new connection.'),
  quota: retried(
    'Kafka throttles this service because of a quota.',
    'Raise the quota of its user or client id, or accept the delay: nothing is lost.',
  ),
  'no-password': retried('The file with the password for Kafka cannot be read any more.', 'Restore the file of `KAFKA_PASSWORD_FILE`.'),
  'no-topic': retried('The topic does not exist.', 'Start the producer, which creates it, or correct `KAFKA_TOPIC`.'),
  'no-leader': retried('A partition of the topic has no leader.', 'Start the broker that has its replica.'),
  membership: retried('The group removed this instance.', 'Nothing has to be done: the service joins the group again.'),
  'group-protocol': retried(
    'Another program uses the group with another protocol, so this service cannot join the group.',
    'End that program, which the message names, or give this service a `KAFKA_GROUP_ID` of its own. Counting then resumes by itself.',
  ),
  'foreign-member': retried(
    'Another program is in the group or blocks its rebalances, or no instance reads a partition: the records there are not counted.',
    'End that program, which the message names, or give it a group of its own. Counting then resumes by itself.',
  ),
  refused: retried('Kafka rejected a request for another reason.', 'The message quotes the broker; the service retries.'),
  'bad-response': retried(
    'A response of Kafka cannot be read.',
    'Nothing has to be done: the service fetches again through a new connection.',
  ),
  'two-stores': final(
    EXIT.config,
    'The other instances of the group count into another store, so each store would have a part of the counts. The instance that joined last ends.',
    'Set `STORE_URL` to the group’s store, which the message names, or give this instance a `KAFKA_GROUP_ID` of its own. To change the group’s store on purpose: [operations.md](operations.md).',
  ),
  'group-in-use': final(
    EXIT.temporary,
    'The command needs a group without members, but the group has members.',
    'Stop all instances of the group, and run the command again.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'Kafka rejected the login, or does not allow this user to use the topic or the group.',
    'Check user and password, and grant the rights that the message names.',
  ),
  'dead-letters-not-authorised': retried(
    'Kafka does not allow this user to use the dead-letter topic.',
    'Grant the rights that the message names. Dead letters stay in the store until they can be published.',
  ),
  tls: KAFKA_TLS_ERROR,
  'unsupported-broker': final(EXIT.config, 'The broker is too old for topic ids.', 'Use Kafka 3.1 or newer.'),
} as const satisfies Record<string, ErrorKind>
export type KafkaErrorKind = keyof typeof KAFKA_ERRORS

export interface KafkaErrorOptions extends ErrorOptions {
  /** Whether the reader retries without being told to: the message ends with that. */
  readonly retried?: boolean
}

export class KafkaError extends ServiceError {
  override readonly name = 'KafkaError'
  readonly kind: KafkaErrorKind
  /** The message without the words that this is retried, for a program that has stopped retrying. */
  readonly reason: string

  constructor(kind: KafkaErrorKind, reason: string, { retried = false, ...options }: KafkaErrorOptions = {}) {
    super(retried ? `${reason}; this is retried` : reason, { ...options, ...KAFKA_ERRORS[kind], code: `kafka/${kind}` })
    this.kind = kind
    this.reason = reason
  }
}
