/** Publishes dead letters to a topic of their own: the original bytes, with the place of the record and the reason in headers. */
import { createHash } from 'node:crypto'
import { Admin, findErrorBy, ProduceAcks, type Producer } from '@platformatic/kafka'
import {
  closeByForce,
  createTopic,
  findTopic,
  type KafkaSecurity,
  missingRightsMessage,
  ReplaceableProducer,
  type TopicSettings,
} from '@poke-api-pipeline/kafka-common'
import { Cluster, copyHeaders, countHeaders, KafkaError, kafkaError, MAX_HEADERS, missingToWrite } from '@poke-api-pipeline/kafka-reader'
import { printable, type ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetterTopic, KeptDeadLetter } from '../../application/ports.ts'
import { type CutParts, DEAD_LETTER_PARTS, type DeadLetterPart, type WholePart, wholePart } from '../../entities/dead-letter.ts'
import { OwnKafkaError } from '../../errors.ts'
import { withRemedies } from '../kafka-remedies.ts'

export interface KafkaDeadLetterTopicOptions {
  readonly brokers: readonly string[]
  /** The topic of the records; `deadLetterTopicOf` gives the topic of their dead letters. */
  readonly topic: string
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** The time for preparing the topic, or for one send, in ms. */
  readonly deadline?: number
  /** Aborted when the service must stop: a send is abandoned, and the next start publishes its dead letters. */
  readonly stopSignal?: AbortSignal
}

/** Headers that follow the record's own. `dead_letter_id` is the same each time that a dead letter is published. */
export const DEAD_LETTER_HEADER = {
  id: 'dead_letter_id',
  reason: 'dead_letter_reason',
  topic: 'dead_letter_topic',
  partition: 'dead_letter_partition',
  offset: 'dead_letter_offset',
  leaderEpoch: 'dead_letter_leader_epoch',
  timestamp: 'dead_letter_timestamp',
  /** The parts of key, value and headers that are shortened, separated by commas. */
  cut: 'dead_letter_cut',
} as const

/** For each shortened part: its length in the record, in bytes, and its SHA-256. */
const CUT_HEADER: Readonly<Record<DeadLetterPart, { readonly bytes: string; readonly sha256: string }>> = {
  key: { bytes: 'dead_letter_key_bytes', sha256: 'dead_letter_key_sha256' },
  value: { bytes: 'dead_letter_bytes', sha256: 'dead_letter_sha256' },
  headers: { bytes: 'dead_letter_headers_bytes', sha256: 'dead_letter_headers_sha256' },
}

type DeadLetterProducer = Producer<Buffer | null, Buffer | null, Buffer, Buffer | null>
type Message = Parameters<DeadLetterProducer['send']>[0]['messages'][number]

const DEADLINE = 10_000
/** The bytes of dead letters in one send, unless one alone has more: far below what any topic accepts. */
const MOST_BYTES = 256 * 1024
/** A larger dead letter is sent without key, value and headers: a broker closes a connection without an answer when a request exceeds 100 MiB. */
const LARGEST_DEAD_LETTER = 32 * 1024 * 1024
/** Bytes for the headers of a dead letter, beyond the largest record of the topic. */
const HEADROOM = 1024 * 1024
const DEFAULT_MAX_MESSAGE = 1_048_588
/** The largest value of a topic's `max.message.bytes`. */
const LARGEST_MAX_MESSAGE = 2 ** 31 - 1
/** https://kafka.apache.org/protocol: a topic's configuration. */
const TOPIC_RESOURCE = 2 as const

const SUFFIX = '.dead-letters'
/** Kafka's own bound on the name of a topic. */
const LONGEST_NAME = 249
const DIGITS_OF_HASH = 16

/**
 * @returns the name of a topic's dead-letter topic: its own name and `.dead-letters`. Where that is too long for Kafka, a part of the name's
 * SHA-256 replaces its end, so that two long names never share a dead-letter topic.
 */
export function deadLetterTopicOf(topic: string): string {
  if (topic.length + SUFFIX.length <= LONGEST_NAME) return topic + SUFFIX
  const hash = createHash('sha256').update(topic).digest('hex').slice(0, DIGITS_OF_HASH)
  return `${topic.slice(0, LONGEST_NAME - SUFFIX.length - 1 - DIGITS_OF_HASH)}-${hash}${SUFFIX}`
}

export class KafkaDeadLetterTopic implements DeadLetterTopic {
  readonly #options: KafkaDeadLetterTopicOptions
  readonly #name: string
  readonly #deadline: number
  readonly #client: ReplaceableProducer<Buffer | null, Buffer | null, Buffer, Buffer | null>
  #partitions = 0

  constructor(options: KafkaDeadLetterTopicOptions) {
    this.#options = options
    this.#name = deadLetterTopicOf(options.topic)
    this.#deadline = options.deadline ?? DEADLINE
    this.#client = new ReplaceableProducer({ ...options, deadline: this.#deadline })
  }

  async refused(): Promise<OwnKafkaError | null> {
    const { brokers, clientOptions, stopSignal } = this.#options
    const cluster = new Cluster({ ...this.#options, requestTimeout: this.#deadline })
    const disconnect = () => cluster.disconnect()
    stopSignal?.addEventListener('abort', disconnect)
    try {
      const missing = await missingToWrite(cluster, [this.#name])
      if (missing.length === 0) return null
      return new OwnKafkaError('dead-letters-not-authorised', missingRightsMessage(missing, brokers, clientOptions))
    } finally {
      stopSignal?.removeEventListener('abort', disconnect)
      disconnect()
    }
  }

  async publish(deadLetters: readonly KeptDeadLetter[]): Promise<void> {
    try {
      const { producer, discarded } = this.#client.connect()
      if (this.#partitions === 0)
        this.#partitions = await this.#within(this.#prepare(producer, discarded), `looking for topic ${this.#name}`)
      for (const group of groupsOf(deadLetters)) await this.#send(producer, group)
    } catch (error) {
      // It is not known whether the last send arrived, so this client cannot be used again.
      await this.close()
      throw await this.#failure(error)
    }
  }

  async close(): Promise<void> {
    this.#partitions = 0
    await this.#client.discard()
  }

  /** Sends dead letters in order, one send at a time. */
  async #send(producer: DeadLetterProducer, deadLetters: readonly KeptDeadLetter[]): Promise<void> {
    const send = (messages: Message[]) =>
      this.#within(producer.send({ messages, acks: ProduceAcks.ALL }), `sending ${messages.length} dead letters`)
    try {
      await send(deadLetters.map((deadLetter) => (isSendable(deadLetter) ? this.#message(deadLetter) : this.#stub(deadLetter))))
    } catch (error) {
      if (!isTooLarge(error)) throw error
      // The broker refused the whole send, and appended nothing of it.
      if (deadLetters.length === 1) await send([this.#stub(deadLetters[0] as KeptDeadLetter)])
      else for (const deadLetter of deadLetters) await this.#send(producer, [deadLetter])
    }
  }

  #within<T>(promise: Promise<T>, what: string): Promise<T> {
    return this.#client.within(promise, what, this.#options.stopSignal)
  }

  #message(deadLetter: KeptDeadLetter): Message {
    const headers = new Map([...ownHeaders(deadLetter), ...headersOf(deadLetter, deadLetter.cut)])
    return { ...this.#frame(deadLetter), key: deadLetter.key, value: deadLetter.value, headers }
  }

  /** A dead letter without key, value and headers of its own. */
  #stub(deadLetter: KeptDeadLetter): Message {
    return { ...this.#frame(deadLetter), key: null, value: null, headers: new Map(headersOf(deadLetter, everythingOf(deadLetter))) }
  }

  #frame({ partition }: KeptDeadLetter): Pick<Message, 'topic' | 'partition' | 'timestamp'> {
    // The time of sending, because a broker refuses timestamps in the future, and the record may have one.
    return { topic: this.#name, partition: partition.partition % this.#partitions, timestamp: BigInt(Date.now()) }
  }

  /** Finds the topic, or creates it and waits for its leaders. @returns the number of its partitions */
  async #prepare(producer: DeadLetterProducer, discarded: AbortSignal): Promise<number> {
    const found =
      (await findTopic(producer, this.#name)) ??
      (await createTopic(this.#client.clientOptions(), await this.#settings(producer), discarded))
    return found.partitionsCount
  }

  /** The settings of a new dead-letter topic follow from those of the topic of the records. */
  async #settings(producer: DeadLetterProducer): Promise<TopicSettings> {
    const { topic } = this.#options
    const admin = new Admin(this.#client.clientOptions())
    try {
      const source = await findTopic(producer, topic)
      const resources = [{ resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys: ['max.message.bytes'] }]
      const [described] = await admin.describeConfigs({ resources })
      const largest = Number(described?.configs.find(({ name }) => name === 'max.message.bytes')?.value ?? DEFAULT_MAX_MESSAGE)
      return {
        topic: this.#name,
        partitions: source?.partitionsCount ?? 1,
        replication: source?.partitions[0]?.replicas.length ?? 1,
        configs: [{ name: 'max.message.bytes', value: String(Math.min(largest + HEADROOM, LARGEST_MAX_MESSAGE)) }],
      }
    } finally {
      await closeByForce(admin)
    }
  }

  /** Turns an error into the closed list. A permission that is missing, or was removed since the start, does not stop the service. */
  async #failure(error: unknown): Promise<ServiceError> {
    const { brokers } = this.#options
    for (const [apiId, why] of REFUSALS) {
      const refused = findErrorBy(error as Error, 'apiId', apiId) as BrokerError | null
      if (refused === null) continue
      const words = refused.serverErrorMessage ? ` (${printable(refused.serverErrorMessage, MOST_DETAILS)})` : ''
      return this.#refusal(`${why}${words}; dead letters stay in the store, and publishing is retried`, error)
    }
    const failure = withRemedies(kafkaError(error, { brokers, topic: this.#name, findsBrokers: true }))
    if (!isNotAllowed(error)) return failure.kind === 'refused' ? this.#refusal(`refuses dead letters: ${failure.message}`, error) : failure
    return (
      (await this.refused()) ??
      new OwnKafkaError('dead-letters-not-authorised', `${failure.message}; dead letters stay in the store`, { cause: failure })
    )
  }

  #refusal(why: string, cause: unknown): KafkaError {
    return new KafkaError('refused', `topic ${this.#name} of Kafka at ${this.#options.brokers.join(', ')} ${why}`, { cause })
  }
}

/** A field of the library's ProtocolError that its types do not declare. */
interface BrokerError extends Error {
  readonly serverErrorMessage?: string | null
}

/** The characters of a broker's message that are shown. */
const MOST_DETAILS = 500

/** Refusals that the topic's configuration causes, by the broker's code. */
const TOO_LARGE = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'] as const
const REFUSALS: readonly (readonly [apiId: string, why: string])[] = [
  ...TOO_LARGE.map(
    (apiId) => [apiId, 'refuses a dead letter even without its key, value and headers: raise its max.message.bytes'] as const,
  ),
  [
    'INVALID_RECORD',
    'refuses a record that other topics accept, probably because it has no key and the topic is compacted: set its cleanup.policy to delete',
  ],
  [
    'INVALID_TIMESTAMP',
    'does not accept the time of this machine: correct the clock, or raise its message.timestamp.before.max.ms and message.timestamp.after.max.ms',
  ],
  ['NOT_ENOUGH_REPLICAS', 'has fewer in-sync replicas than its min.insync.replicas requires: start the missing brokers, or lower it'],
  [
    'INVALID_REPLICATION_FACTOR',
    'cannot be created with as many replicas as the topic of the records: start the missing brokers, or create it yourself',
  ],
  ['POLICY_VIOLATION', 'cannot be created, because a policy of the brokers forbids its configuration: create it yourself'],
  [
    'INVALID_TOPIC_EXCEPTION',
    'cannot be created: if a topic with the same name but underscores in place of dots exists, copy its records and delete it',
  ],
]

/** Splits dead letters into sends, in their order. */
function* groupsOf(deadLetters: readonly KeptDeadLetter[]): Generator<KeptDeadLetter[]> {
  let group: KeptDeadLetter[] = []
  let bytes = 0
  for (const deadLetter of deadLetters) {
    const size = sizeOf(deadLetter)
    if (group.length > 0 && bytes + size > MOST_BYTES) {
      yield group
      group = []
      bytes = 0
    }
    group.push(deadLetter)
    bytes += size
  }
  if (group.length > 0) yield group
}

/** Whether it can be sent whole. The topic may accept less, and then its broker says so. */
function isSendable(deadLetter: KeptDeadLetter): boolean {
  return sizeOf(deadLetter) <= LARGEST_DEAD_LETTER && countHeaders(deadLetter.headers) <= MAX_HEADERS
}

function sizeOf({ key, value, headers }: KeptDeadLetter): number {
  return headers.length + (key?.length ?? 0) + (value?.length ?? 0)
}

/** The record's own headers. The keys of the map are objects, so a name can occur several times. */
function ownHeaders({ headers, cut }: KeptDeadLetter): [Buffer, Buffer | null][] {
  return copyHeaders(headers, MAX_HEADERS, cut.headers !== undefined).map(([name, value]) => [name, value])
}

/** Length and hash of every part that has bytes. */
function everythingOf(deadLetter: KeptDeadLetter): CutParts {
  const cut: Partial<Record<DeadLetterPart, WholePart>> = {}
  for (const part of DEAD_LETTER_PARTS) {
    const bytes = deadLetter[part]
    if (bytes === null || (part === 'headers' && countHeaders(bytes) === 0)) continue
    cut[part] = deadLetter.cut[part] ?? wholePart(bytes)
  }
  return cut
}

/** @param cut the parts that are shortened or left out */
function headersOf({ partition: at, offset, leaderEpoch, timestamp, reason }: KeptDeadLetter, cut: CutParts): [Buffer, Buffer][] {
  const H = DEAD_LETTER_HEADER
  const parts = Object.entries(cut) as [DeadLetterPart, WholePart][]
  return [
    header(H.id, `${at.topicId}/${at.partition}/${leaderEpoch}/${offset}`),
    header(H.reason, reason),
    header(H.topic, at.topic),
    header(H.partition, String(at.partition)),
    header(H.offset, String(offset)),
    header(H.leaderEpoch, String(leaderEpoch)),
    header(H.timestamp, String(timestamp)),
    ...(parts.length > 0 ? [header(H.cut, parts.map(([part]) => part).join(','))] : []),
    ...parts.flatMap(([part, { bytes, sha256 }]) => [
      header(CUT_HEADER[part].bytes, String(bytes)),
      header(CUT_HEADER[part].sha256, sha256),
    ]),
  ]
}

function header(name: string, value: string): [Buffer, Buffer] {
  return [Buffer.from(name), Buffer.from(value)]
}

function isTooLarge(error: unknown): boolean {
  return TOO_LARGE.some((apiId) => findErrorBy(error as Error, 'apiId', apiId) !== null)
}

function isNotAllowed(error: unknown): boolean {
  return ['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'].some(
    (apiId) => findErrorBy(error as Error, 'apiId', apiId) !== null,
  )
}
