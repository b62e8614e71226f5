/** In place of the producer: sends events of the bundled Pokédex to a topic, as fast or as slowly as a test needs. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin, Producer } from '@platformatic/kafka'
import { encodeHeaders, encodeKey, encodeValue, type PokemonEvent, SOURCE_PREFIX } from '@poke-api-pipeline/pokemon-event'
import { createTopic } from './topics.ts'

export interface FeedOptions {
  readonly brokers: string
  readonly topic: string
  readonly partitions: number
}

/** A record that is no event of this feed. */
export interface ForeignRecord {
  readonly partition: number
  readonly key: Buffer
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: string, value: string])[]
}

type Message = Parameters<Producer<Buffer, Buffer, Buffer, Buffer>['send']>[0]['messages'][number]

/** in ms */
const SEND_DEADLINE = 10_000
const MOST_ATTEMPTS = 6

function newProducer({ brokers }: FeedOptions): Producer<Buffer, Buffer, Buffer, Buffer> {
  return new Producer({ clientId: 'event-feed', bootstrapBrokers: brokers.split(','), idempotent: false, retries: 3 })
}

export class EventFeed {
  /** Events go to so many partitions in turn. */
  partitions: number
  /** How many events were acknowledged. */
  sent = 0
  /** The counts by type, in alphabetical order, if each acknowledged event is counted once. */
  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
  /** Every event that was acknowledged, in the order in which they were sent. */
  get events(): PokemonEvent[] {
    return Array.from({ length: this.sent }, (_, sequence) => this.#event(sequence))
  }
  readonly #counts = new Map<string, number>()
  #producer: Producer<Buffer, Buffer, Buffer, Buffer>
  readonly #pokedex: readonly PokemonEvent[]
  readonly #options: FeedOptions
  readonly #source = `${SOURCE_PREFIX}${randomUUID()}`

  private constructor(pokedex: readonly PokemonEvent[], options: FeedOptions) {
    this.#producer = newProducer(options)
    this.#pokedex = pokedex
    this.#options = options
    this.partitions = options.partitions
  }

  /** Makes the topic, and sends nothing yet. */
  static async create(options: FeedOptions): Promise<EventFeed> {
    const { brokers, topic, partitions } = options
    const bootstrapBrokers = brokers.split(',')
    const admin = new Admin({ clientId: 'event-feed', bootstrapBrokers })
    await createTopic(admin, { topics: [topic], partitions, replicas: 1 })
    await admin.close()
    const { pokemon } = JSON.parse(await readFile(new URL(import.meta.resolve('@poke-api-pipeline/dev/pokedex.json')), 'utf8')) as {
      pokemon: [id: number, name: string, types: string[]][]
    }
    const events = pokemon.map(([id, name, types]) => ({
      id,
      name,
      types: types.map((type, i) => ({ slot: i + 1, type: { name: type } })),
    }))
    return new EventFeed(events, options)
  }

  /**
   * Sends so many events at once; resolves when they are acknowledged.
   * @param among other records, evenly distributed among the events
   */
  async send(events: number, among: readonly ForeignRecord[] = []): Promise<void> {
    const { topic } = this.#options
    const messages: Message[] = Array.from({ length: events }, (_, i) => {
      const sequence = this.sent + i
      const event = this.#event(sequence)
      return {
        topic,
        partition: sequence % this.partitions,
        key: Buffer.from(encodeKey(event)),
        value: Buffer.from(encodeValue(event)),
        headers: new Map(
          encodeHeaders({ source: this.#source, sequence: sequence + 1, time: new Date().toISOString(), origin: 'bundled' }).map(
            ([name, value]) => [Buffer.from(name), Buffer.from(value)] as const,
          ),
        ),
      }
    })
    const every = (events + among.length) / among.length
    among.forEach(({ partition, key, value, headers }, i) => {
      const buffers = headers.map(([name, text]) => [Buffer.from(name), Buffer.from(text)] as const)
      // The format allows a null value, the library's types do not.
      messages.splice(Math.floor(i * every), 0, { topic, partition, key, value: value as Buffer, headers: new Map(buffers) })
    })
    await this.#deliver(messages)
    for (let i = 0; i < events; i++) {
      for (const { type } of this.#event(this.sent + i).types) this.#counts.set(type.name, (this.#counts.get(type.name) ?? 0) + 1)
    }
    this.sent += events
  }

  /** As the producer itself: events that were not acknowledged in time are sent again by a new client, unchanged, before newer ones. */
  async #deliver(messages: Message[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const deadline = new AbortController()
      const late = sleep(SEND_DEADLINE, undefined, deadline).then(() => Promise.reject(new Error(`no answer within ${SEND_DEADLINE} ms`)))
      try {
        await Promise.race([this.#producer.send({ messages, acks: -1 }), late])
        return
      } catch (error) {
        if (attempt === MOST_ATTEMPTS) throw new Error(`the feed of ${this.#options.topic} could not send`, { cause: error })
        await this.#producer.close(true)
        this.#producer = newProducer(this.#options)
      } finally {
        deadline.abort()
        late.catch(() => {})
      }
    }
  }

  #event(sequence: number): PokemonEvent {
    return this.#pokedex[(sequence * 7919) % this.#pokedex.length] as PokemonEvent
  }

  /** Sends a value that is no Pokémon. */
  async sendGarbage(value: string): Promise<void> {
    await this.#producer.send({
      messages: [{ topic: this.#options.topic, partition: 0, key: Buffer.alloc(0), value: Buffer.from(value) }],
      acks: -1,
    })
  }

  /** Sends a few events again and again until the signal is aborted. */
  async flow(signal: AbortSignal, { events = 5, pause = 100 } = {}): Promise<void> {
    while (!signal.aborted) {
      await this.send(events)
      await sleep(pause, undefined, { signal }).catch(() => {})
    }
  }

  /** Sends on average so many events a second, until the signal is aborted. */
  async steady(signal: AbortSignal, rate: number): Promise<void> {
    const [began, first] = [performance.now(), this.sent]
    while (!signal.aborted) {
      const due = Math.floor(((performance.now() - began) * rate) / 1000) - (this.sent - first)
      if (due > 0) await this.send(Math.min(due, 1000))
      await sleep(20, undefined, { signal }).catch(() => {})
    }
  }

  async close(): Promise<void> {
    await this.#producer.close(true)
  }
}
