/** Reads a stretch of the topic and says what should be counted of it: an opinion that shares no code with the consumer's reading and counting. */
import { Consumer, ListOffsetTimestamps } from '@platformatic/kafka'
import type { KafkaSecurity } from '@poke-api-pipeline/kafka-common'
import { decodeValue, readIdentity } from '@poke-api-pipeline/pokemon-event'

/** Where the logs of a topic's partitions end; `topicId` tells it from another one of the same name. */
export interface TopicEnds {
  readonly topicId: string
  /** By partition. */
  readonly ends: readonly number[]
}

/** What a stretch of the topic comes to, events that were sent twice taken once. */
export interface Stretch {
  /** Events that are to be counted. */
  readonly events: number
  /** How often each type is in them. */
  readonly types: ReadonlyMap<string, number>
}

const MAX_BYTES = 4 * 1024 * 1024

export class TopicReader {
  readonly #client: Consumer<Buffer, Buffer, Buffer, Buffer>
  readonly #topic: string

  constructor(brokers: readonly string[], topic: string, security: KafkaSecurity) {
    this.#topic = topic
    // A consumer, because it alone can fetch; it joins no group.
    this.#client = new Consumer({ clientId: 'sweep', groupId: 'none', bootstrapBrokers: [...brokers], ...security })
  }

  /** @returns null where there is no such topic */
  async ends(): Promise<TopicEnds | null> {
    const found = await this.#find()
    if (found === null) return null
    const offsets = await this.#client.listOffsets({ topics: [this.#topic], timestamp: ListOffsetTimestamps.LATEST })
    return { topicId: found.id, ends: (offsets.get(this.#topic) ?? []).map(Number) }
  }

  /** Reads from one place to a later one. Partitions that `from` does not know are read from their beginning. */
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
      if (found === null) throw new Error(`The topic ${this.#topic} is gone.`)
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
        throw new Error(`Nothing is left to read at offset ${position} of ${this.#topic}-${partition}, though it ends at ${to}.`)
      for (const batch of batches) {
        const first = Number(batch.firstOffset)
        position = first + batch.lastOffsetDelta + 1
        // Bit 5: a control batch, which has markers of transactions and no events.
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
      if (/UNKNOWN_TOPIC_OR_PARTITION|unknown topic/i.test(messagesOf(error))) return null
      throw error
    })
    return metadata?.topics.get(this.#topic) ?? null
  }
}

/** The library wraps what a broker said in errors of errors. */
function messagesOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const inner = error instanceof AggregateError ? error.errors : []
  const apiId = (error as { apiId?: string }).apiId ?? ''
  return [error.message, apiId, ...[error.cause, ...inner].map(messagesOf)].join(' ')
}
