/** Publishes the dead letters of the partitions that this instance owns, from the store, in order, at least once (rule D2). */

import type { TopicPartition } from '@poke-api-pipeline/kafka-reader'
import { FailureTracker, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CrashHook } from './crash-points.ts'
import type { CountObserver, DeadLetterStore, DeadLetterTopic } from './ports.ts'

export interface DeadLetterPublishingOptions {
  readonly store: Pick<DeadLetterStore, 'unpublished' | 'markPublished'>
  readonly topic: DeadLetterTopic
  readonly observer: Pick<CountObserver, 'deadLettersPublished' | 'deadLetterPublishingFailed' | 'deadLetterPublishingWorked'>
  readonly crashPoint: CrashHook
  /** Resolves after that many ms, or as soon as the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** Taken from the store at once. */
const MOST_LETTERS = 200
const MOST_BYTES = 4 * 1024 * 1024
/** Waits before it is tried again, in ms: doubled each time, half of it at random. */
const FIRST_RETRY = 200
const LONGEST_RETRY = 10_000
/** What may be wrong with the topic itself, beside what is wrong with letters of a partition. */
const TOPIC = 'topic'

export class DeadLetterPublishing {
  readonly #options: DeadLetterPublishingOptions
  readonly #owned = new Map<string, TopicPartition>()
  /** Partitions that may have letters to publish. */
  readonly #pending = new Set<string>()
  /** By partition, and of the topic. */
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

  /** The partition is ours: what an earlier owner left is published too. */
  own(partition: TopicPartition): void {
    this.#owned.set(keyOf(partition), partition)
    this.kept(partition)
  }

  /** The partition is not ours any more: its next owner goes on. */
  disown(partition: TopicPartition): void {
    const key = keyOf(partition)
    this.#owned.delete(key)
    this.#failures.worked(key)
  }

  /** Dead letters of the partition were committed. */
  kept(partition: TopicPartition): void {
    this.#pending.add(keyOf(partition))
    this.#wake.abort()
  }

  /**
   * Runs until the signal is aborted, through every failure that can be retried. Before there is anything to publish it finds out whether
   * it could be. @throws ServiceError where it is hopeless
   */
  async run(signal: AbortSignal): Promise<void> {
    const { wait, random } = this.#options
    let retry = FIRST_RETRY
    for (let delay = FIRST_RETRY; !signal.aborted && !(await this.#couldPublish()); delay = Math.min(delay * 2, LONGEST_RETRY))
      await wait(delay * (0.5 + random() / 2), signal)
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
        retry = FIRST_RETRY
      } catch (error) {
        if (error instanceof ServiceError && !error.retriable) throw error
        this.#pending.add(key)
        if (signal.aborted) return
        if (this.#owned.has(key)) this.#failures.failed(key, error as Error)
        await wait(retry * (0.5 + random() / 2), signal)
        retry = Math.min(retry * 2, LONGEST_RETRY)
      }
    }
  }

  /** @returns false where it could not, or that cannot be found out yet. @throws ServiceError where it is hopeless */
  async #couldPublish(): Promise<boolean> {
    try {
      const refused = await this.#options.topic.refused()
      if (refused === null) this.#failures.worked(TOPIC)
      else this.#failures.failed(TOPIC, refused)
      return refused === null
    } catch (error) {
      if (error instanceof ServiceError && !error.retriable) throw error
      // Who reads records meets the same trouble, and says it.
      if (this.#pending.size > 0) this.#failures.failed(TOPIC, error as Error)
      return false
    }
  }

  async #publish(key: string, signal: AbortSignal): Promise<void> {
    const { store, topic, observer, crashPoint } = this.#options
    while (!signal.aborted) {
      const partition = this.#owned.get(key)
      if (partition === undefined) return
      const letters = await store.unpublished(partition, MOST_LETTERS, MOST_BYTES)
      if (letters.length === 0) return
      await topic.publish(letters)
      crashPoint('letters-published')
      // Between these two a kill means that the letters are published once more: their id tells.
      await store.markPublished(letters.map(({ id }) => id))
      crashPoint('letters-marked')
      observer.deadLettersPublished(letters.length)
    }
  }

  /** Waits until there is something to publish. */
  async #next(signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController()
    const woken = AbortSignal.any([signal, this.#wake.signal])
    if (!woken.aborted) await new Promise<void>((resolve) => woken.addEventListener('abort', () => resolve(), { once: true }))
  }
}

function keyOf({ topicId, partition }: TopicPartition): string {
  return `${topicId} ${partition}`
}
