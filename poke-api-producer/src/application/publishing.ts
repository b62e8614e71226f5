/** Step 4 of a capture's way: sends the stored events in order, one send at a time (rules P3 and P4). */
import { ServiceError, StateMachine } from '@poke-api-pipeline/service-kit'
import { OutboxError, PublishError } from '../errors.ts'
import type { LoopOptions } from './loop-options.ts'
import type { OutboxWriter } from './outbox-writer.ts'
import type { EventPublisher, Outbox, OutboxEvent } from './ports.ts'

export interface PublishingOptions extends LoopOptions {
  readonly outbox: Outbox
  readonly writer: OutboxWriter
  readonly publisher: EventPublisher
}

/** Upper bounds of a send. They keep a batch well below the 1 MiB that a topic accepts by default. */
const MAX_EVENTS = 2000
const MAX_BYTES = 512 * 1024
/** About how many bytes the headers and the frame of an event add to its value. */
const EVENT_OVERHEAD = 320

const TRANSITIONS: Readonly<Record<State, readonly State[]>> = {
  new: ['preparing'],
  preparing: ['idle', 'backing-off', 'stopped'],
  idle: ['sending', 'stopped'],
  sending: ['removing', 'backing-off', 'stopped'],
  removing: ['idle', 'stopped'],
  'backing-off': ['preparing', 'stopped'],
  stopped: [],
}
type State = 'new' | 'preparing' | 'idle' | 'sending' | 'removing' | 'backing-off' | 'stopped'

/**
 *   new ──run──▶ preparing ──topic is known──▶ idle ──events are stored──▶ sending ──acknowledged──▶ removing
 *                 ▲    │                        ▲                             │                          │
 *      delay over │    │ failed                 └──removed from the outbox────│──────────────────────────┘
 *                 │    ▼                                                      │
 *                backing-off ◀───────────────────failed───────────────────────┘
 *
 *   every state after `new` ──signal aborted, or an error that cannot be retried──▶ stopped
 *
 * After a failed send nobody knows which of its events arrived. So the same events are sent again before any newer event (rule P4), and the topic is
 * prepared again first, because it may have been created again or have other leaders.
 */
export class Publishing {
  readonly #options: PublishingOptions
  readonly #states = new StateMachine('publishing', TRANSITIONS, 'new')
  /** Upper bound of events in a send. It is lowered when Kafka does not accept as many. */
  #limit = MAX_EVENTS
  #highestLimit = MAX_EVENTS
  /** How many of the oldest events were sent without being acknowledged: they may be in the topic, so nothing newer is sent before them. */
  #unconfirmed = 0
  /** How many sends in a row lost their connection. */
  #lostConnections = 0

  constructor(options: PublishingOptions) {
    this.#options = options
  }

  /**
   * Publishes everything that is stored, now and later, and retries every failure that can be retried. To be called once.
   * Resolves when the signal is aborted, after the send under way has ended.
   * @throws PublishError or OutboxError where retrying cannot help
   */
  async run(stop: AbortSignal): Promise<void> {
    const { outbox, publisher, observer, notifier, backoff, clock } = this.#options
    this.#states.enter('preparing')
    try {
      while (!stop.aborted) {
        try {
          if (this.#states.is('preparing')) {
            // Before any event is stored, so that captures get their partitions when they are stored, and a failure of Kafka is reported early.
            await publisher.prepare(stop)
            this.#states.enter('idle')
          }
          if (outbox.depth > 0) await this.#sendOldest()
          else await notifier.next()
          backoff.reset()
        } catch (error) {
          if (stop.aborted) return
          if (!(error instanceof ServiceError && error.retriable)) throw error
          if (error instanceof OutboxError) observer.storeFailed(error)
          else observer.publishFailed(error)
          this.#states.enter('backing-off')
          await clock.wait(backoff.next(), stop)
          this.#states.enter('preparing')
        }
      }
    } finally {
      this.#states.enter('stopped')
    }
  }

  async #sendOldest(): Promise<void> {
    const { writer, publisher, observer, crashPoint, clock } = this.#options
    this.#states.enter('sending')
    const events = this.#withPartitions(this.#oldest())
    const began = clock.now()
    crashPoint('sending')
    this.#unconfirmed = Math.max(this.#unconfirmed, events.length)
    writer.sending = true
    try {
      await publisher.publish(events)
    } catch (error) {
      this.#lowerLimit(error, events.length)
      throw error
    } finally {
      writer.sending = false
    }
    crashPoint('acknowledged')
    this.#states.enter('removing')
    this.#lostConnections = 0
    this.#unconfirmed = Math.max(0, this.#unconfirmed - events.length)
    this.#limit = Math.min(this.#limit + Math.ceil(this.#limit / 4), this.#highestLimit)
    observer.published(events.length, (clock.now() - began) / 1000)
    await writer.acknowledged((events.at(-1) as OutboxEvent).sequence)
    this.#states.enter('idle')
  }

  /** The events of the next send; it does not wait for more. After a failed send a part of its events may go first, but nothing newer (rule P4). */
  #oldest(): OutboxEvent[] {
    const events = this.#options.outbox.oldest(this.#unconfirmed > 0 ? Math.min(this.#unconfirmed, this.#limit) : this.#limit)
    let fitting = 0
    for (let bytes = 0; fitting < events.length; fitting++) {
      bytes += (events[fitting] as OutboxEvent).value.length + EVENT_OVERHEAD
      if (bytes > MAX_BYTES) break
    }
    return events.slice(0, Math.max(1, fitting))
  }

  /** Gives a partition to events that were stored while the topic was unknown, and stores it before their first send (rule P3). */
  #withPartitions(events: OutboxEvent[]): OutboxEvent[] {
    const { outbox, publisher, crashPoint } = this.#options
    const { partitionOf } = publisher
    const chosen = new Map<number, number>()
    const complete = events.map((event) => {
      if (event.partition !== null || partitionOf === null) return event
      const partition = partitionOf(event.key)
      chosen.set(event.sequence, partition)
      return { ...event, partition }
    })
    if (chosen.size > 0) {
      outbox.assignPartitions(chosen)
      crashPoint('partitioned')
    }
    return complete
  }

  /** @param events how many the failed send had */
  #lowerLimit(error: unknown, events: number): void {
    if (!(error instanceof PublishError)) return
    this.#lostConnections = error.kind === 'unreachable' ? this.#lostConnections + 1 : 0
    // A broker that receives more at once than its socket.request.max.bytes closes the connection without an answer.
    const isTooMuch = error.kind === 'deadline' || error.kind === 'too-large' || this.#lostConnections > 1
    if (isTooMuch) this.#limit = Math.max(1, Math.floor(events / 2))
    // For good: a slow connection may become fast again, but the largest size that a topic accepts stays.
    if (error.kind === 'too-large') this.#highestLimit = this.#limit
  }
}
