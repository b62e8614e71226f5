/** What goes wrong with Kafka, by kind. */
import { type ErrorKind, EXIT, final, retried, ServiceError } from '@poke-api-pipeline/service-kit/service-error'

/** Kafka did not give records, or a place in the group. */
export const KAFKA_ERRORS = {
  unreachable: retried(
    'No broker can be reached, or not the one that is needed.',
    'Start Kafka, or correct `KAFKA_BROKERS`; where the message says so, correct `advertised.listeners` of the broker. Counting goes on by itself.',
  ),
  deadline: retried('Kafka did not answer in time.', 'It is tried again with a new connection.'),
  quota: retried(
    'Kafka enforces a quota on this service, which makes it wait.',
    'Raise the quota of its user or client id, or leave it: nothing is lost, and it goes on by itself.',
  ),
  'no-password': retried('The file of the password for Kafka is gone.', 'Put the file of `KAFKA_PASSWORD_FILE` back.'),
  'no-topic': retried('The topic does not exist.', 'Start the producer, which makes it, or correct `KAFKA_TOPIC`.'),
  'no-leader': retried('A partition of the topic has no leader.', 'Start the broker that keeps it.'),
  membership: retried('The place in the consumer group was lost.', 'It is joined again by itself.'),
  'group-protocol': retried(
    'Another program uses the group with another protocol, and keeps this service out.',
    'End that program, which the message names, or give this service a `KAFKA_GROUP_ID` of its own; counting goes on by itself.',
  ),
  'foreign-member': retried(
    'Another program is in the group or holds it up, or a partition is read by nobody: what is written there is not counted.',
    'End that program, which the message names, or give it a group of its own; counting goes on by itself.',
  ),
  refused: retried('Kafka refused a request for another reason.', 'The message has the broker’s words; it is tried again.'),
  'bad-response': retried('A response of Kafka cannot be read.', 'It is fetched again with a new connection.'),
  'two-stores': final(
    EXIT.config,
    'The group counts into another store than this instance, and each would have a part. Whoever came last ends.',
    'Set `STORE_URL` to the group’s store, which the message names, or give this instance a `KAFKA_GROUP_ID` of its own. To change the group’s store on purpose: [operations.md](operations.md).',
  ),
  'group-in-use': final(
    EXIT.temporary,
    'A command needs a group without members, and it has some.',
    'End all instances of the group, and run the command again.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'Kafka refuses the login, or does not allow topic or group to this user.',
    'Check user and password, and grant what the message names.',
  ),
  'dead-letters-not-authorised': retried(
    'Kafka does not allow the dead-letter topic to this user.',
    'Grant what the message names: dead letters are kept in the store, and published then.',
  ),
  tls: {
    ...retried(
      'TLS with a broker failed, for the reason in the message.',
      'Do what the message says. A certificate that is renewed at the broker, or a port that is set right there, is found by itself; settings of this service need a new start.',
    ),
    exitCode: EXIT.config,
  },
  'unsupported-broker': final(EXIT.config, 'The broker is too old for topic ids.', 'Use Kafka 3.1 or newer.'),
} as const satisfies Record<string, ErrorKind>
export type KafkaErrorKind = keyof typeof KAFKA_ERRORS

export class KafkaError extends ServiceError {
  override readonly name = 'KafkaError'
  readonly kind: KafkaErrorKind

  constructor(kind: KafkaErrorKind, message: string, options?: ErrorOptions) {
    super(message, { ...options, ...KAFKA_ERRORS[kind], code: `kafka/${kind}` })
    this.kind = kind
  }
}
