/** Step 4 of a capture's way: sends the stored events in order, one send at a time, and nothing newer before they are acknowledged (rules P3 and P4). */

import type { BackOff } from '@poke-api-pipeline/service-kit'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import { OutboxError, PublishError } from '../errors.ts'
import type { Changes } from './changes.ts'
import type { CrashHook } from './crash-points.ts'
import type { OutboxWriter } from './outbox-writer.ts'
import type { CaptureObserver, EventPublisher, Outbox, OutboxEvent } from './ports.ts'

export interface PublishingOptions {
  readonly outbox: Outbox
  readonly writer: OutboxWriter
  readonly publisher: EventPublisher
  readonly observer: CaptureObserver
  readonly changes: Changes
  readonly backoff: BackOff
  readonly crashPoint: CrashHook
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly now: () => number
}

/** At most this much in one send: a batch stays well below the 1 MiB that a topic takes by default. */
const MOST_EVENTS = 2000
const MOST_BYTES = 512 * 1024
/** What the headers of an event and its frame add to its value, about. */
const EVENT_OVERHEAD = 320

export class Publishing {
  readonly #options: PublishingOptions
  /** Most events in a send: shrinks where Kafka cannot take as many. */
  #limit = MOST_EVENTS
  #highestLimit = MOST_EVENTS
  /** So many of the oldest may have arrived already: until they are acknowledged, nothing newer goes out. */
  #inDoubt = 0
  /** Sends in a row that ended with their connection. */
  #lost = 0

  constructor(options: PublishingOptions) {
    this.#options = options
  }

  /**
   * Publishes what is stored and what comes, through every failure that can be retried. Resolves when the signal is aborted, after the send under way.
   * @throws PublishError or OutboxError where it is hopeless
   */
  async run(stop: AbortSignal): Promise<void> {
    const { outbox, publisher, changes, backoff, wait } = this.#options
    let prepared = false
    while (!stop.aborted) {
      try {
        // Before there is anything to send, so that captures get their partitions as they are stored, and trouble is told early.
        if (!prepared) await publisher.prepare(stop)
        prepared = true
        if (outbox.depth > 0) await this.#sendOldest()
        else await changes.next()
        backoff.reset()
      } catch (error) {
        if (stop.aborted) return
        if (!(error instanceof ServiceError && error.retriable)) throw error
        this.#report(error)
        // A topic that was made again, a leader elsewhere: it is looked at anew.
        prepared = false
        await wait(backoff.next(), stop)
      }
    }
  }

  async #sendOldest(): Promise<void> {
    const { writer, publisher, observer, crashPoint, now } = this.#options
    const events = this.#withPartitions(this.#takeOldest())
    const began = now()
    crashPoint('sending')
    this.#inDoubt = Math.max(this.#inDoubt, events.length)
    writer.sending = true
    try {
      await publisher.publish(events)
    } catch (error) {
      this.#sendFewer(error, events.length)
      throw error
    } finally {
      writer.sending = false
    }
    crashPoint('acknowledged')
    this.#lost = 0
    this.#inDoubt = Math.max(0, this.#inDoubt - events.length)
    this.#limit = Math.min(this.#limit + Math.ceil(this.#limit / 4), this.#highestLimit)
    observer.published(events.length, (now() - began) / 1000)
    await writer.acknowledged((events.at(-1) as OutboxEvent).sequence)
  }

  /** What is pending, without waiting for more. Of a send that failed, a part may go first, but nothing beyond it (rule P4). */
  #takeOldest(): OutboxEvent[] {
    const events = this.#options.outbox.oldest(this.#inDoubt > 0 ? Math.min(this.#inDoubt, this.#limit) : this.#limit)
    let fitting = 0
    for (let bytes = 0; fitting < events.length; fitting++) {
      bytes += (events[fitting] as OutboxEvent).value.length + EVENT_OVERHEAD
      if (bytes > MOST_BYTES) break
    }
    return events.slice(0, Math.max(1, fitting))
  }

  /** Events that were stored before the topic was known get their partition now, stored before their first send (rule P3). */
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

  #sendFewer(error: unknown, events: number): void {
    if (!(error instanceof PublishError)) return
    this.#lost = error.kind === 'unreachable' ? this.#lost + 1 : 0
    // A slow connection may become fast again; a topic's largest size stays. A broker that gets more at once than its socket.request.max.bytes
    // closes the connection without a word.
    if (error.kind === 'deadline' || error.kind === 'too-large' || this.#lost > 1) this.#limit = Math.max(1, Math.floor(events / 2))
    if (error.kind === 'too-large') this.#highestLimit = this.#limit
  }

  #report(error: Error): void {
    if (error instanceof OutboxError) this.#options.observer.storeFailed(error)
    else this.#options.observer.publishFailed(error)
  }
}
