/** The closed list of the producer's errors: each kind with a code, whether waiting helps, and the exit code where it ends the service. */
import { type ErrorKind, EXIT, final, printable, retried, ServiceError } from '@poke-api-pipeline/service-kit'

/** PokeAPI did not give what was asked for. */
export const POKE_API_ERRORS = {
  unreachable: retried('PokeAPI cannot be reached.', 'Check the network and `POKE_API_URL`; it is tried again.'),
  proxy: retried(
    'The proxy cannot be reached, or does not pass requests on to PokeAPI.',
    'Check the proxy, and `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`: its address, user and password; it is tried again.',
  ),
  tls: retried('TLS with PokeAPI failed, for the reason in the message.', 'Do what the message says; it is tried again.'),
  deadline: retried('PokeAPI did not answer in time.', 'It is tried again; `POKE_API_TIMEOUT` is how long it may take.'),
  status: retried('PokeAPI answered with an error.', 'It is tried again later.'),
  'rate-limited': retried(
    'PokeAPI asks for fewer requests (status 429).',
    'Lower `POKE_API_MAX_RATE`; what the answer says about waiting is honoured.',
  ),
  redirected: retried('PokeAPI sends this service to another origin, which it does not follow.', 'Set `POKE_API_URL` to the API itself.'),
  'too-large': retried('A body is larger than a Pokémon can be.', 'Check what answers at `POKE_API_URL`.'),
  'not-a-pokemon': retried(
    'A body is no Pokémon, and stayed none when asked for again.',
    'Check what answers at the URL in the message; nothing was published for it.',
  ),
  'not-a-list': retried('The list of all Pokémon is none.', 'Check what answers at the URL in the message.'),
  cache: final(
    EXIT.cannotCreate,
    'The cache of PokeAPI’s answers cannot be used.',
    'Make `DATA_DIR` writable, or remove the cache: it is filled again.',
  ),
} as const satisfies Record<string, ErrorKind>
export type PokeApiErrorKind = keyof typeof POKE_API_ERRORS

export class PokeApiError extends ServiceError {
  override readonly name = 'PokeApiError'
  readonly kind: PokeApiErrorKind
  /** What is wrong, in few words and without what was asked for: `types is empty`. */
  readonly reason: string

  constructor(kind: PokeApiErrorKind, message: string, { reason = message, ...options }: ErrorOptions & { readonly reason?: string } = {}) {
    super(message, { ...options, ...POKE_API_ERRORS[kind], code: `poke-api/${kind}` })
    this.kind = kind
    this.reason = printable(reason)
  }
}

/** The outbox could not keep or give what it should. */
export const OUTBOX_ERRORS = {
  full: retried('The disk of `DATA_DIR` is full.', 'Make room; capturing goes on by itself.'),
  io: retried('The disk of `DATA_DIR` failed.', 'See to the disk; capturing goes on by itself.'),
  locked: final(EXIT.temporary, 'Another process uses this outbox.', 'End that process, or give this one another `DATA_DIR`.'),
  unusable: final(EXIT.cannotCreate, 'The outbox cannot be made or opened.', 'Make `DATA_DIR` writable, on a local disk.'),
  damaged: final(
    EXIT.data,
    'The outbox is no sound database any more.',
    'Put a backup in its place, or move it away to begin an empty one.',
  ),
  'newer-schema': final(
    EXIT.config,
    'A newer version of this service wrote the outbox.',
    'Run that version, or give this one another `DATA_DIR`.',
  ),
} as const satisfies Record<string, ErrorKind>
export type OutboxErrorKind = keyof typeof OUTBOX_ERRORS

export class OutboxError extends ServiceError {
  override readonly name = 'OutboxError'
  readonly kind: OutboxErrorKind

  constructor(kind: OutboxErrorKind, message: string, options?: ErrorOptions) {
    super(message, { ...options, ...OUTBOX_ERRORS[kind], code: `outbox/${kind}` })
    this.kind = kind
  }
}

/** Kafka did not take events. What was sent stays in the outbox and is sent again. */
export const PUBLISH_ERRORS = {
  unreachable: retried(
    'No broker can be reached, or not the one that is needed.',
    'Start Kafka, or correct `KAFKA_BROKERS`; where the message says so, correct `advertised.listeners` of the broker. Captures wait in the outbox.',
  ),
  deadline: retried('Kafka did not answer in time.', 'It is tried again with a new connection.'),
  quota: retried(
    'Kafka enforces a quota on this service, which makes it wait.',
    'Raise the quota of its user or client id, or leave it: nothing is lost, and it goes on by itself.',
  ),
  'no-password': retried('The file of the password for Kafka is gone.', 'Put the file of `KAFKA_PASSWORD_FILE` back.'),
  'no-topic': retried('The topic is gone.', 'It is made again.'),
  'no-leader': retried('A partition of the topic has no leader.', 'Start the broker that keeps it.'),
  'not-enough-brokers': retried(
    'Too few brokers for the topic’s replication.',
    'Start more brokers, or lower `KAFKA_TOPIC_REPLICATION` before the topic is made.',
  ),
  'fewer-partitions': retried('The topic has fewer partitions than when events were stored for it.', 'Add partitions to the topic.'),
  'too-large': retried('So many events at once are more than the topic takes.', 'Fewer are sent by themselves.'),
  'timestamp-refused': retried(
    'The topic does not take a capture’s time as the timestamp of a record (`message.timestamp.before.max.ms`).',
    'Such events are sent again with the time of sending; `ce_time` keeps the time of the capture.',
  ),
  refused: retried('Kafka refused the events for another reason.', 'The message has the broker’s words; it is tried again.'),
  'event-refused': final(
    EXIT.config,
    'The topic does not take an event of this service.',
    'Correct the topic’s settings named in the message.',
  ),
  'topic-refused': final(
    EXIT.config,
    'Kafka does not make the topic.',
    'Correct `KAFKA_TOPIC` or `KAFKA_TOPIC_PARTITIONS`, or make the topic by hand.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'Kafka refuses the login, or does not allow the topic to this user.',
    'Check user and password, and grant what the message names.',
  ),
  tls: {
    ...retried(
      'TLS with a broker failed, for the reason in the message.',
      'Do what the message says. A certificate that is renewed at the broker, or a port that is set right there, is found by itself; settings of this service need a new start.',
    ),
    exitCode: EXIT.config,
  },
  'unsupported-broker': final(EXIT.config, 'The broker is too old.', 'Use Kafka 3.1 or newer.'),
} as const satisfies Record<string, ErrorKind>
export type PublishErrorKind = keyof typeof PUBLISH_ERRORS

export class PublishError extends ServiceError {
  override readonly name = 'PublishError'
  readonly kind: PublishErrorKind

  constructor(kind: PublishErrorKind, message: string, options?: ErrorOptions) {
    super(message, { ...options, ...PUBLISH_ERRORS[kind], code: `publish/${kind}` })
    this.kind = kind
  }
}
