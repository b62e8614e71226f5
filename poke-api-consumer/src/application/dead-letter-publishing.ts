/** Publishes the dead letters of the partitions that this instance owns, from the store, in order, at least once (rule D2). */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { BackOff, type Clock, FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CrashHook } from './crash-points.ts'
import { partitionKey } from './partition-key.ts'
import type { CountObserver, DeadLetterStore, DeadLetterTopic } from './ports.ts'

export interface DeadLetterPublishingOptions {
  readonly store: Pick<DeadLetterStore, 'unpublished' | 'markPublished'>
  readonly topic: DeadLetterTopic
  readonly observer: Pick<CountObserver, 'deadLettersPublished' | 'deadLetterPublishingFailed' | 'deadLetterPublishingWorked'>
  readonly crashPoint: CrashHook
  readonly clock: Clock
}

/** How much is read from the store and published at once. */
const MAX_DEAD_LETTERS = 200
const MAX_BYTES = 4 * 1024 * 1024
/** Until a failed publication is retried, in ms. */
const RETRY = { first: 200, longest: 10_000 }
/** Failures of the topic itself are tracked under this name, apart from those of each partition. */
const TOPIC = 'topic'

export class DeadLetterPublishing {
  readonly #options: DeadLetterPublishingOptions
  readonly #owned = new Map<string, TopicPartition>()
  /** Partitions that may have dead letters to publish. */
  readonly #pending = new Set<string>()
  /** By partition, and of the topic itself. */
  readonly #failures: FailureTracker
  #wake = new AbortController()

  constructor(options: DeadLetterPublishingOptions) {
    this.#options = options
    const { observer } = options
    this.#failures = new FailureTracker({
      failed: (error) => observer.deadLetterPublishingFailed(error),
      over: () => observer.deadLetterPublishingWorked(),
    })
  }

  /** The partition was opened here. Dead letters that its last owner has not published are published too. */
  own(partition: TopicPartition): void {
    this.#owned.set(partitionKey(partition), partition)
    this.added(partition)
  }

  /** The partition was closed here. Its next owner publishes the rest. */
  disown(partition: TopicPartition): void {
    const key = partitionKey(partition)
    this.#owned.delete(key)
    this.#failures.worked(key)
  }

  /** Dead letters of the partition were committed. */
  added(partition: TopicPartition): void {
    this.#pending.add(partitionKey(partition))
    this.#wake.abort()
  }

  /**
   * Publishes until the signal is aborted, and retries after failures. First it checks that the topic accepts dead letters, so that an operator
   * knows before the first one. @throws ServiceError after a failure that retrying cannot help
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const backOff = new BackOff({ ...RETRY, clock })
    while (!signal.aborted && !(await this.#canPublish())) await clock.wait(backOff.next(), signal)
    backOff.reset()
    while (!signal.aborted) {
      const [key] = this.#pending
      if (key === undefined) {
        await this.#next(signal)
        continue
      }
      this.#pending.delete(key)
      try {
        await this.#publish(key, signal)
        this.#failures.worked(key)
        backOff.reset()
      } catch (error) {
        if (error instanceof ServiceError && !error.retriable) throw error
        this.#pending.add(key)
        if (signal.aborted) return
        if (this.#owned.has(key)) this.#failures.failed(key, error as Error)
        await clock.wait(backOff.next(), signal)
      }
    }
  }

  /** @returns false if the topic refuses dead letters, or did not answer. @throws ServiceError after a failure that retrying cannot help */
  async #canPublish(): Promise<boolean> {
    try {
      const refused = await this.#options.topic.refused()
      if (refused === null) this.#failures.worked(TOPIC)
      else this.#failures.failed(TOPIC, refused)
      return refused === null
    } catch (error) {
      if (error instanceof ServiceError && !error.retriable) throw error
      // The reader of records connects to the same brokers and reports the failure, so that it is reported here only if dead letters wait.
      if (this.#pending.size > 0) this.#failures.failed(TOPIC, error as Error)
      return false
    }
  }

  async #publish(key: string, signal: AbortSignal): Promise<void> {
    const { store, topic, observer, crashPoint } = this.#options
    while (!signal.aborted) {
      const partition = this.#owned.get(key)
      if (partition === undefined) return
      const deadLetters = await store.unpublished(partition, MAX_DEAD_LETTERS, MAX_BYTES)
      if (deadLetters.length === 0) return
      await topic.publish(deadLetters)
      crashPoint('dead-letters-published')
      // If the process ends before they are marked, they are published once more, with the same ids.
      await store.markPublished(deadLetters.map(({ id }) => id))
      crashPoint('dead-letters-marked')
      observer.deadLettersPublished(deadLetters.length)
    }
  }

  /** Waits until there are dead letters to publish. */
  async #next(signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController()
    const woken = AbortSignal.any([signal, this.#wake.signal])
    if (!woken.aborted) await new Promise<void>((resolve) => woken.addEventListener('abort', () => resolve(), { once: true }))
  }
}
