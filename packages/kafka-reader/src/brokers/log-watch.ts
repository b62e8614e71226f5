/**
 * Asks every leader once a second where the logs of its partitions begin and end: what lag is measured against, whoever reads a partition,
 * and whether or not anything of it can be read.
 */
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { Cluster, Leader, LogBounds } from './cluster.ts'
import type { TopicWatch } from './topic-watch.ts'

export interface LogWatchObserver {
  /**
   * One leader answered, or did not.
   * @param partitions how many the topic has
   * @param ends by partition, of those that were asked for; null: not known now
   */
  logEnds(
    topic: { readonly topic: string; readonly topicId: string },
    partitions: number,
    ends: ReadonlyMap<number, LogBounds | null>,
  ): void
}

export interface LogWatchOptions {
  readonly cluster: Pick<Cluster, 'endsOf'>
  readonly topics: Pick<TopicWatch, 'current' | 'requestRefresh'>
  readonly topic: string
  readonly observer: LogWatchObserver
  readonly clock: Clock
}

/** In ms. */
const INTERVAL = 1000

export class LogWatch {
  readonly #options: LogWatchOptions
  /** Leaders that have not answered yet. They are not asked again until they do; the others are. */
  readonly #asked = new Set<number>()

  constructor(options: LogWatchOptions) {
    this.#options = options
  }

  /** Asks until the signal is aborted. Never rejects: the parts that depend on a broker report that it does not answer. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { partitions } = this.#options.topics.current
      const led = new Map<number, Map<number, Leader>>()
      for (const [partition, leader] of partitions.entries()) {
        led.set(leader.node, (led.get(leader.node) ?? new Map()).set(partition, leader))
      }
      for (const [node, leaders] of led) if (!this.#asked.has(node)) void this.#ask(node, leaders, signal)
      await this.#options.clock.wait(INTERVAL, signal)
    }
  }

  async #ask(node: number, leaders: ReadonlyMap<number, Leader>, signal: AbortSignal): Promise<void> {
    const { cluster, topics, topic, observer } = this.#options
    const { topicId, partitions } = topics.current
    this.#asked.add(node)
    let known: ReadonlyMap<number, LogBounds> = new Map()
    try {
      // −1: these partitions have no leader.
      if (node >= 0) known = await cluster.endsOf(node, leaders)
    } catch {
      // Below: nothing is known of them.
    } finally {
      this.#asked.delete(node)
    }
    if (signal.aborted) return
    if (known.size < leaders.size) topics.requestRefresh()
    // The topic was made again meanwhile.
    if (topics.current.topicId !== topicId) return
    const ends = new Map([...leaders.keys()].map((partition) => [partition, known.get(partition) ?? null]))
    observer.logEnds({ topic, topicId }, partitions.length, ends)
  }
}
