/** Reads a part of the topic and says what should be counted of it, without any of the consumer's code for reading and counting. */
import { Consumer, ListOffsetTimestamps } from '@platformatic/kafka'
import { errorsIn, type KafkaSecurity } from '@poke-api-pipeline/kafka-common'
import { decodeValue, readIdentity } from '@poke-api-pipeline/pokemon-event'

/** The end offsets of a topic's partitions; `topicId` distinguishes the topic from another one of the same name. */
export interface TopicEnds {
  readonly topicId: string
  /** By partition. */
  readonly ends: readonly number[]
}

/** The content of a part of the topic; an event that was sent twice counts once. */
export interface Stretch {
  /** How many events are to be counted. */
  readonly events: number
  /** How many of them have each type. */
  readonly types: ReadonlyMap<string, number>
}

const MAX_BYTES = 4 * 1024 * 1024

export class TopicReader {
  readonly #client: Consumer<Buffer, Buffer, Buffer, Buffer>
  readonly #topic: string

  constructor(brokers: readonly string[], topic: string, security: KafkaSecurity) {
    this.#topic = topic
    // Only a consumer of the library can fetch. This one joins no group.
    this.#client = new Consumer({ clientId: 'sweep', groupId: 'none', bootstrapBrokers: [...brokers], ...security })
  }

  /** @returns null where there is no such topic */
  async ends(): Promise<TopicEnds | null> {
    const found = await this.#find()
    if (found === null) return null
    const offsets = await this.#client.listOffsets({ topics: [this.#topic], timestamp: ListOffsetTimestamps.LATEST })
    return { topicId: found.id, ends: (offsets.get(this.#topic) ?? []).map(Number) }
  }

  /** @param from offsets by partition; a partition without one is read from its beginning */
  async stretch(from: readonly number[], to: TopicEnds): Promise<Stretch> {
    const types = new Map<string, number>()
    const seen = new Set<string>()
    let events = 0
    for (const [partition, end] of to.ends.entries()) {
      for await (const { value, headers } of this.#records(partition, from[partition] ?? 0, end)) {
        const { kind, source, sequence } = readIdentity(headers)
        const identity = `${sequence} ${source}`
        if (kind === 'unknown' || (source !== null && seen.has(identity))) continue
        if (source !== null) seen.add(identity)
        const decoded = decodeValue(value)
        if (!decoded.ok) continue
        events++
        for (const type of new Set(decoded.event.types.map((entry) => entry.type.name))) types.set(type, (types.get(type) ?? 0) + 1)
      }
    }
    return { events, types }
  }

  async close(): Promise<void> {
    await this.#client.close(true)
  }

  async *#records(
    partition: number,
    from: number,
    to: number,
  ): AsyncGenerator<{ value: Buffer | null; headers: [Buffer, Buffer | null][] }> {
    for (let position = from; position < to; ) {
      const found = await this.#find()
      if (found === null) throw new Error(`Topic ${this.#topic} does not exist any more.`)
      const request = {
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: BigInt(position),
        lastFetchedEpoch: -1,
        partitionMaxBytes: MAX_BYTES,
      }
      const response = await this.#client.fetch({
        node: found.partitions[partition]!.leader,
        topics: [{ topicId: found.id, partitions: [request] }],
        maxBytes: MAX_BYTES,
        maxWaitTime: 500,
      })
      const batches = response.responses[0]?.partitions[0]?.records ?? []
      if (batches.length === 0)
        throw new Error(`Kafka has no record at offset ${position} of ${this.#topic}-${partition}, although the partition ends at ${to}.`)
      for (const batch of batches) {
        const first = Number(batch.firstOffset)
        position = first + batch.lastOffsetDelta + 1
        // Bit 5: a control batch, which has transaction markers and no events.
        if ((batch.attributes & 0b100000) !== 0) continue
        for (const { offsetDelta, value, headers } of batch.records) {
          const offset = first + offsetDelta
          if (offset >= from && offset < to) yield { value, headers: headers.map(([name, content]) => [name ?? Buffer.alloc(0), content]) }
        }
      }
    }
  }

  async #find() {
    const metadata = await this.#client.metadata({ topics: [this.#topic], autocreateTopics: false }).catch((error: Error) => {
      if ([...errorsIn(error)].some(isUnknownTopic)) return null
      throw error
    })
    return metadata?.topics.get(this.#topic) ?? null
  }
}

function isUnknownTopic(error: Error & { readonly apiId?: string }): boolean {
  return error.apiId === 'UNKNOWN_TOPIC_OR_PARTITION' || /UNKNOWN_TOPIC_OR_PARTITION|unknown topic/i.test(error.message)
}
