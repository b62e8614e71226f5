/** The closed list of the producer's errors: each kind with its code, whether it is retried, and the exit code if it ends the service. */
import { KAFKA_TLS_ERROR } from '@poke-api-pipeline/kafka-common/kafka-connecting'
import { type ErrorKind, EXIT, errorsOf, final, printable, retried } from '@poke-api-pipeline/service-kit'

/** Failures of requests to PokeAPI. */
export const POKE_API_ERRORS = {
  unreachable: retried('PokeAPI cannot be reached.', 'Check the network and `POKE_API_URL`.'),
  proxy: retried(
    'The proxy cannot be reached, or does not forward requests to PokeAPI.',
    'Check the proxy, and its address, user and password in `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.',
  ),
  tls: retried('TLS with PokeAPI failed, for the reason in the message.', 'Do what the message says.'),
  deadline: retried('PokeAPI did not answer in time.', 'If this happens often, raise `POKE_API_TIMEOUT`.'),
  status: retried(
    'PokeAPI answered with an error status.',
    'Look up the status in the message. If PokeAPI itself has failed, nothing has to be done.',
  ),
  'rate-limited': retried(
    'PokeAPI asks for fewer requests (status 429).',
    'Lower `POKE_API_MAX_RATE`. The service waits as long as the answer asks for.',
  ),
  redirected: retried('PokeAPI redirects to another origin, which this service does not follow.', 'Set `POKE_API_URL` to the API itself.'),
  'too-large': retried('PokeAPI returned a body larger than `POKE_API_MAX_BYTES`.', 'Check which server answers at `POKE_API_URL`.'),
  'not-a-pokemon': retried(
    'PokeAPI returned something other than the requested Pokémon, even when asked again.',
    'Check which server answers at the URL in the message. Nothing was published for this Pokémon.',
  ),
  'not-a-list': retried(
    'PokeAPI returned something other than the list of all Pokémon.',
    'Check which server answers at the URL in the message.',
  ),
  cache: final(
    EXIT.cannotCreate,
    'The cache of PokeAPI’s answers cannot be used.',
    'Make `DATA_DIR` writable, or remove the cache: it is filled again.',
  ),
} as const satisfies Record<string, ErrorKind>
export type PokeApiErrorKind = keyof typeof POKE_API_ERRORS

export class PokeApiError extends errorsOf('poke-api', POKE_API_ERRORS) {
  override readonly name = 'PokeApiError'
  /** What is wrong, in a few words and without the request: `types is empty`. */
  readonly reason: string

  constructor(kind: PokeApiErrorKind, message: string, { reason = message, ...options }: ErrorOptions & { readonly reason?: string } = {}) {
    super(kind, message, options)
    this.reason = printable(reason)
  }
}

/** Failures of the outbox. */
export const OUTBOX_ERRORS = {
  full: retried('The disk of `DATA_DIR` is full.', 'Free some space. Capturing pauses until then, and goes on by itself.'),
  io: retried('The disk of `DATA_DIR` failed.', 'Check the disk. Capturing pauses until it works again, and goes on by itself.'),
  locked: final(EXIT.temporary, 'Another process uses this outbox.', 'End that process, or give this one another `DATA_DIR`.'),
  unusable: final(EXIT.cannotCreate, 'The outbox cannot be created or opened.', 'Make `DATA_DIR` writable, on a local disk.'),
  damaged: final(EXIT.data, 'The outbox is damaged.', 'Restore a backup, or move the file away to begin with an empty outbox.'),
  'newer-schema': final(
    EXIT.config,
    'A newer version of this service wrote the outbox.',
    'Run that version, or give this one another `DATA_DIR`.',
  ),
} as const satisfies Record<string, ErrorKind>
export type OutboxErrorKind = keyof typeof OUTBOX_ERRORS

export class OutboxError extends errorsOf('outbox', OUTBOX_ERRORS) {
  override readonly name = 'OutboxError'
}

/** Kafka did not acknowledge events. They stay in the outbox and are sent again. */
export const PUBLISH_ERRORS = {
  unreachable: retried(
    'No broker can be reached, or not the broker that is needed.',
    'Start Kafka, or correct `KAFKA_BROKERS`. If the message says so, correct `advertised.listeners` of the broker. Captures wait in the outbox.',
  ),
  deadline: retried(
    'Kafka did not answer in time.',
    'If this happens often, check the brokers or raise `KAFKA_SEND_TIMEOUT`. The service retries through a new connection.',
  ),
  quota: retried(
    'Kafka throttles this service because of a quota.',
    'Raise the quota of its user or client id, or accept the delay: nothing is lost.',
  ),
  'no-password': retried('The file with the password for Kafka cannot be read any more.', 'Restore the file of `KAFKA_PASSWORD_FILE`.'),
  'no-topic': retried('The topic was deleted.', 'Nothing has to be done: the service creates it again.'),
  'no-leader': retried('A partition of the topic has no leader.', 'Start the broker that has its replica.'),
  'not-enough-brokers': retried(
    'There are fewer brokers than the replication of the topic needs.',
    'Start more brokers, or lower `KAFKA_TOPIC_REPLICATION` before the topic is created.',
  ),
  'fewer-partitions': retried('The topic has fewer partitions than when events were stored for it.', 'Add partitions to the topic.'),
  'too-large': retried(
    'The topic does not accept so many bytes at once.',
    'Nothing has to be done: the service sends fewer events at once.',
  ),
  'timestamp-refused': retried(
    'The topic does not accept the time of a capture as the timestamp of a record (`message.timestamp.before.max.ms`).',
    'Nothing has to be done: such events are sent again with the time of sending, and `ce_time` keeps the time of the capture.',
  ),
  refused: retried('Kafka rejected the events for another reason.', 'The message quotes the broker.'),
  'event-refused': final(
    EXIT.config,
    'The topic does not accept the events of this service.',
    'Correct the settings of the topic that the message names.',
  ),
  'topic-refused': final(
    EXIT.config,
    'Kafka does not create the topic.',
    'Correct `KAFKA_TOPIC` or `KAFKA_TOPIC_PARTITIONS`, or create the topic by hand.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'Kafka rejected the login, or does not allow this user to use the topic.',
    'Check user and password, and grant the rights that the message names.',
  ),
  tls: KAFKA_TLS_ERROR,
  'unsupported-broker': final(EXIT.config, 'The broker is too old.', 'Use Kafka 3.1 or newer.'),
} as const satisfies Record<string, ErrorKind>
export type PublishErrorKind = keyof typeof PUBLISH_ERRORS

export class PublishError extends errorsOf('publish', PUBLISH_ERRORS) {
  override readonly name = 'PublishError'
}
