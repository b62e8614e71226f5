/** Publishes dead letters to a topic of their own, for people and programs to look at: original bytes, and where they were and why they are here. */
import { createHash } from 'node:crypto'
import { Admin, type BaseOptions, findErrorBy, ListOffsetTimestamps, ProduceAcks, Producer } from '@platformatic/kafka'
import {
  ConnectionWatch,
  closeByForce,
  type KafkaSecurity,
  KEPT_FOR_EVER,
  missingRightsMessage,
  UNSETTLED_TOPIC,
} from '@poke-api-pipeline/kafka-common'
import { Cluster, copyHeaders, countHeaders, KafkaError, kafkaError, MAX_HEADERS, missingToWrite } from '@poke-api-pipeline/kafka-reader'
import { printable, withDeadline } from '@poke-api-pipeline/service-kit'
import type { DeadLetterTopic, KeptDeadLetter } from '../../application/ports.ts'
import { type CutParts, DEAD_LETTER_PARTS, type DeadLetterPart, type WholePart, wholePart } from '../../entities/dead-letter.ts'

export interface KafkaDeadLetterTopicOptions {
  readonly brokers: readonly string[]
  /** The topic that the letters come from; theirs is `deadLetterTopicOf` it. */
  readonly topic: string
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** For how long preparing the topic, or one send, may take, in ms. */
  readonly deadline?: number
  /** Aborted when the service has no more time: what is under way is given up, and published at its next start. */
  readonly hurry?: AbortSignal
}

/** Headers behind those of the record itself. `dead_letter_id` is the same each time that a letter is published. */
export const DEAD_LETTER_HEADER = {
  id: 'dead_letter_id',
  reason: 'dead_letter_reason',
  topic: 'dead_letter_topic',
  partition: 'dead_letter_partition',
  offset: 'dead_letter_offset',
  leaderEpoch: 'dead_letter_leader_epoch',
  timestamp: 'dead_letter_timestamp',
  /** Where key, value or headers are not whole: which of them, with commas between. */
  cut: 'dead_letter_cut',
} as const

/** For each part that is not whole: how many bytes it has in the record, and the SHA-256 of these. */
const CUT_HEADER: Readonly<Record<DeadLetterPart, { readonly bytes: string; readonly sha256: string }>> = {
  key: { bytes: 'dead_letter_key_bytes', sha256: 'dead_letter_key_sha256' },
  value: { bytes: 'dead_letter_bytes', sha256: 'dead_letter_sha256' },
  headers: { bytes: 'dead_letter_headers_bytes', sha256: 'dead_letter_headers_sha256' },
}

type LetterProducer = Producer<Buffer | null, Buffer | null, Buffer, Buffer | null>
type Message = Parameters<LetterProducer['send']>[0]['messages'][number]

const DEADLINE = 10_000
/** Of Node's timers, in ms: what is sent has a deadline of its own. */
const LONGEST_TIMER = 2 ** 31 - 1
/** Between two looks at a topic that was just made, in ms. */
const LOOK_AGAIN = 100
/** At most so many bytes of letters in one send, unless one alone has more: far below what any topic takes. */
const MOST_BYTES = 256 * 1024
/** A larger letter goes out as a stub at once: brokers cut a connection on which more than 100 MiB come in one request, and say nothing. */
const LARGEST_LETTER = 32 * 1024 * 1024
/** Room beyond the largest record of the source for the headers of a letter. */
const HEADROOM = 1024 * 1024
const DEFAULT_MAX_MESSAGE = 1_048_588
/** The largest number that a topic takes for its `max.message.bytes`. */
const LARGEST_MAX_MESSAGE = 2 ** 31 - 1
/** https://kafka.apache.org/protocol: a topic's configuration. */
const TOPIC_RESOURCE = 2 as const

const SUFFIX = '.dead-letters'
/** Kafka's own bound on the name of a topic. */
const LONGEST_NAME = 249
const DIGITS_OF_HASH = 16

/**
 * The topic of a topic's dead letters: its name and `.dead-letters`. Where that is too long for Kafka, a part of the name's SHA-256 takes the
 * place of its end, so that two long names do not share one.
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
  #producer: LetterProducer | null = null
  #watch: ConnectionWatch | null = null
  #partitions = 0
  #clients = 0

  constructor(options: KafkaDeadLetterTopicOptions) {
    this.#options = options
    this.#name = deadLetterTopicOf(options.topic)
    this.#deadline = options.deadline ?? DEADLINE
  }

  async refused(): Promise<KafkaError | null> {
    const { brokers, clientOptions, hurry } = this.#options
    const cluster = new Cluster({ ...this.#options, requestTimeout: this.#deadline })
    const disconnect = () => cluster.disconnect()
    hurry?.addEventListener('abort', disconnect)
    try {
      const missing = await missingToWrite(cluster, [this.#name])
      if (missing.length === 0) return null
      return new KafkaError('dead-letters-not-authorised', missingRightsMessage(missing, brokers, clientOptions))
    } finally {
      hurry?.removeEventListener('abort', disconnect)
      disconnect()
    }
  }

  async publish(letters: readonly KeptDeadLetter[]): Promise<void> {
    try {
      const producer = this.#connect()
      if (this.#partitions === 0) this.#partitions = await this.#within(this.#prepare(producer), `looking for topic ${this.#name}`)
      for (const group of groupsOf(letters)) await this.#send(producer, group)
    } catch (error) {
      // What became of the last send is unknown, and so is this client's state.
      await this.close()
      throw await this.#failure(error)
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer
    this.#producer = null
    this.#partitions = 0
    if (producer !== null) await closeByForce(producer)
  }

  /** One send at a time keeps the order. */
  async #send(producer: LetterProducer, letters: readonly KeptDeadLetter[]): Promise<void> {
    const send = (messages: Message[]) =>
      this.#within(producer.send({ messages, acks: ProduceAcks.ALL }), `sending ${messages.length} dead letters`)
    try {
      await send(letters.map((letter) => (isSendable(letter) ? this.#message(letter) : this.#stub(letter))))
    } catch (error) {
      if (!isTooLarge(error)) throw error
      // Refused as a whole: nothing of it was appended.
      if (letters.length === 1) await send([this.#stub(letters[0] as KeptDeadLetter)])
      else for (const letter of letters) await this.#send(producer, [letter])
    }
  }

  /** What a quota makes this client wait for is not the brokers' silence. */
  #within<T>(promise: Promise<T>, what: string): Promise<T> {
    const deadline = Math.min(this.#deadline + (this.#watch?.throttle ?? 0), LONGEST_TIMER)
    return withDeadline(promise, deadline, what, this.#options.hurry)
  }

  #message(letter: KeptDeadLetter): Message {
    const headers = new Map([...ownHeaders(letter), ...headersOf(letter, letter.cut)])
    return { ...this.#frame(letter), key: letter.key, value: letter.value, headers }
  }

  #stub(letter: KeptDeadLetter): Message {
    return { ...this.#frame(letter), key: null, value: null, headers: new Map(headersOf(letter, everythingOf(letter))) }
  }

  #frame({ partition }: KeptDeadLetter): Pick<Message, 'topic' | 'partition' | 'timestamp'> {
    // The time of sending: a broker refuses records from the future, and a letter may say of itself that it is one.
    return { topic: this.#name, partition: partition.partition % this.#partitions, timestamp: BigInt(Date.now()) }
  }

  /** Finds the topic, and makes it where it is missing. @returns its partitions */
  async #prepare(producer: LetterProducer): Promise<number> {
    for (let made = false; ; ) {
      try {
        const found = (await producer.metadata({ topics: [this.#name], forceUpdate: true, retries: 0 })).topics.get(this.#name)
        if (found?.partitions.every(({ leader }) => leader >= 0)) {
          await this.#askLeaders(found.partitionsCount)
          return found.partitionsCount
        }
      } catch (error) {
        if (!isNotThereYet(error)) throw error
        if (!made) await this.#make(producer)
        made = true
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN))
    }
  }

  /** A broker is named as a leader before it knows that it is one; until then it refuses what is sent to it. */
  async #askLeaders(count: number): Promise<void> {
    const admin = new Admin(this.#clientOptions())
    try {
      const partitions = Array.from({ length: count }, (_, partitionIndex) => ({ partitionIndex, timestamp: ListOffsetTimestamps.LATEST }))
      await admin.listOffsets({ topics: [{ name: this.#name, partitions }] })
    } finally {
      await closeByForce(admin)
    }
  }

  async #make(producer: LetterProducer): Promise<void> {
    const { topic } = this.#options
    const admin = new Admin(this.#clientOptions())
    try {
      const source = (await producer.metadata({ topics: [topic], retries: 0 })).topics.get(topic)
      const resources = [{ resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys: ['max.message.bytes'] }]
      const [described] = await admin.describeConfigs({ resources })
      const largest = Number(described?.configs.find(({ name }) => name === 'max.message.bytes')?.value ?? DEFAULT_MAX_MESSAGE)
      await admin.createTopics({
        topics: [this.#name],
        partitions: source?.partitionsCount ?? 1,
        replicas: source?.partitions[0]?.replicas.length ?? 1,
        configs: [...KEPT_FOR_EVER, { name: 'max.message.bytes', value: String(Math.min(largest + HEADROOM, LARGEST_MAX_MESSAGE)) }],
      })
    } catch (error) {
      // Another instance was faster.
      if (findErrorBy(error as Error, 'apiId', 'TOPIC_ALREADY_EXISTS') === null) throw error
    } finally {
      await closeByForce(admin)
    }
  }

  #connect(): LetterProducer {
    if (this.#producer !== null) return this.#producer
    this.#producer = new Producer({ ...this.#clientOptions(), idempotent: false, repeatOnStaleMetadata: false })
    this.#watch = new ConnectionWatch(this.#producer)
    return this.#producer
  }

  #clientOptions(): BaseOptions {
    const { brokers, clientId, clientOptions } = this.#options
    const first = this.#clients++ % brokers.length
    return {
      ...clientOptions,
      clientId,
      bootstrapBrokers: [...brokers.slice(first), ...brokers.slice(0, first)],
      retries: 0,
      timeout: this.#deadline,
      requestTimeout: LONGEST_TIMER,
    }
  }

  /** A right may have been taken away since the start: it stops nothing, either. */
  async #failure(error: unknown): Promise<KafkaError> {
    const { brokers } = this.#options
    for (const [apiId, why] of REFUSALS) {
      const refused = findErrorBy(error as Error, 'apiId', apiId) as BrokerError | null
      if (refused === null) continue
      const words = refused.serverErrorMessage ? ` (${printable(refused.serverErrorMessage, MOST_DETAILS)})` : ''
      return this.#refusal(`${why}${words}; dead letters are kept, and it is tried again`, error)
    }
    const failure = kafkaError(error, { brokers, topic: this.#name, findsBrokers: true })
    if (!isNotAllowed(error)) return failure.kind === 'refused' ? this.#refusal(`refuses dead letters: ${failure.message}`, error) : failure
    return (
      (await this.refused()) ??
      new KafkaError('dead-letters-not-authorised', `${failure.message}; dead letters are kept`, { cause: failure })
    )
  }

  #refusal(why: string, cause: unknown): KafkaError {
    return new KafkaError('refused', `topic ${this.#name} of Kafka at ${this.#options.brokers.join(', ')} ${why}`, { cause })
  }
}

/** What the library's ProtocolError carries and does not declare. */
interface BrokerError extends Error {
  readonly serverErrorMessage?: string | null
}

/** Characters of what brokers say. */
const MOST_DETAILS = 500

/** By the broker's code: refusals of any letter, which have their reason in how the topic is set up. */
const TOO_LARGE = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'] as const
const REFUSALS: readonly (readonly [apiId: string, why: string])[] = [
  ...TOO_LARGE.map(
    (apiId) => [apiId, 'does not even take a dead letter without its key, value and headers: raise its max.message.bytes'] as const,
  ),
  [
    'INVALID_RECORD',
    'refuses what every other topic takes, probably a record without a key since it is compacted: set its cleanup.policy to delete',
  ],
  [
    'INVALID_TIMESTAMP',
    "does not take this machine's time: correct the clock, or raise its message.timestamp.before.max.ms and message.timestamp.after.max.ms",
  ],
  [
    'NOT_ENOUGH_REPLICAS',
    'has fewer in-sync replicas than its min.insync.replicas asks for: start the brokers that are missing, or lower it',
  ],
  [
    'INVALID_REPLICATION_FACTOR',
    'cannot be made with as many replicas as the topic of the records: start the brokers that are missing, or make it',
  ],
  ['POLICY_VIOLATION', 'may not be made like this by a policy of the brokers: make it'],
  [
    'INVALID_TOPIC_EXCEPTION',
    'cannot be made: where it collides with a topic whose name has underscores in place of dots, copy what that one has, and delete it',
  ],
]

/** Letters that go out together, in their order. */
function* groupsOf(letters: readonly KeptDeadLetter[]): Generator<KeptDeadLetter[]> {
  let group: KeptDeadLetter[] = []
  let bytes = 0
  for (const letter of letters) {
    const size = sizeOf(letter)
    if (group.length > 0 && bytes + size > MOST_BYTES) {
      yield group
      group = []
      bytes = 0
    }
    group.push(letter)
    bytes += size
  }
  if (group.length > 0) yield group
}

/** Whether it can be tried; what topics take is less, and they say so. */
function isSendable(letter: KeptDeadLetter): boolean {
  return sizeOf(letter) <= LARGEST_LETTER && countHeaders(letter.headers) <= MAX_HEADERS
}

function sizeOf({ key, value, headers }: KeptDeadLetter): number {
  return headers.length + (key?.length ?? 0) + (value?.length ?? 0)
}

/** The record's own headers; a map is keyed by objects, so that repeated names stay repeated. */
function ownHeaders({ headers, cut }: KeptDeadLetter): [Buffer, Buffer | null][] {
  return copyHeaders(headers, MAX_HEADERS, cut.headers !== undefined).map(([name, value]) => [name, value])
}

/** Every part that has bytes, as what is left out of a stub. */
function everythingOf(letter: KeptDeadLetter): CutParts {
  const cut: Partial<Record<DeadLetterPart, WholePart>> = {}
  for (const part of DEAD_LETTER_PARTS) {
    const bytes = letter[part]
    if (bytes === null || (part === 'headers' && countHeaders(bytes) === 0)) continue
    cut[part] = letter.cut[part] ?? wholePart(bytes)
  }
  return cut
}

/** @param cut the parts that are not published whole */
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

/** The library words the broker's UNKNOWN_TOPIC_OR_PARTITION anew in one place, and keeps no code of it. */
function isNotThereYet(error: unknown): boolean {
  if (error instanceof Error && error.message.startsWith('Unknown topic ')) return true
  return UNSETTLED_TOPIC.some((apiId) => findErrorBy(error as Error, 'apiId', apiId) !== null)
}

function isNotAllowed(error: unknown): boolean {
  return ['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'].some(
    (apiId) => findErrorBy(error as Error, 'apiId', apiId) !== null,
  )
}
