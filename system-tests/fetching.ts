/** The group reader alone on a real broker, with a handler that keeps records and position in memory. */

import {
  GroupReader,
  type GroupReaderOptions,
  type GroupView,
  type LogBounds,
  type PartitionHandler,
} from '@poke-api-pipeline/kafka-reader'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { systemClock } from '@poke-api-pipeline/service-kit'

export type FetchingOptions = Pick<GroupReaderOptions, 'brokers' | 'topic' | 'groupId'> &
  Partial<Pick<GroupReaderOptions, 'limits' | 'sessionTimeout' | 'clientOptions'>> & { readonly storeId?: string }

export class Fetching {
  readonly handler: FakeHandler
  /** What the reader reported to its observer, in order. */
  readonly reports: string[] = []
  /** The ends of the logs, as it reported them last. */
  readonly logEnds = new Map<number, LogBounds | null>()
  /** Partitions that this member has now. */
  assigned: readonly number[] = []
  /** The group, as it reported it last. */
  group: GroupView | null = null
  /** Resolves or rejects when the reader has ended. */
  readonly ended: Promise<void>
  readonly #stopping = new AbortController()
  #changed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: FetchingOptions, handler = new FakeHandler()) {
    this.handler = handler
    const tell = (event: string) => {
      this.reports.push(event)
      this.#changed.resolve()
      this.#changed = Promise.withResolvers()
    }
    const source = new GroupReader({
      clientId: 'fetching',
      writableTopics: [`${options.topic}.dead-letters`],
      store: { id: options.storeId ?? '00000000-0000-4000-8000-000000000001', name: 'sqlite:store.db', instance: 'test/1' },
      limits: { maxBytes: 1 << 20, maxWait: 200 },
      ...options,
      observer: {
        waitingForTopic: (topic) => tell(`waiting for ${topic}`),
        brokerAway: (error) => tell(`away: ${error.message}`),
        brokerBack: () => tell('back'),
        throttled: (error) => tell(`throttled: ${error.message}`),
        notThrottled: () => tell('not throttled'),
        membershipLost: (error) => {
          this.assigned = []
          tell(`membership lost: ${error.message}`)
        },
        mirrorDiffers: (partition, mirrored, position) => tell(`partition ${partition}: group at ${mirrored}, store at ${position}`),
        logEnds: (_, __, ends) => {
          for (const [partition, log] of ends) this.logEnds.set(partition, log)
        },
        groupSeen: (view) => {
          this.group = view
          this.#changed.resolve()
          this.#changed = Promise.withResolvers()
        },
        rebalanced: (partitions) => {
          this.assigned = partitions
          tell(`assigned ${partitions.join(' ')}`)
        },
      },
      clock: systemClock(),
    })
    const open: PartitionHandler = { open: (partition) => handler.open(partition), storeConfirmed: () => tell('the store is the group’s') }
    this.ended = source.run(open, this.#stopping.signal)
    this.ended.catch(() => {})
  }

  /** Resolves when the reports of the reader fulfil the condition; rejects if it ends before. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await Promise.race([this.#changed.promise, this.ended.then(() => this.#over())])
  }

  /** Ends it by its signal. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.ended
  }

  #over(): never {
    throw new Error(`the group reader ended; it had reported:\n${this.reports.join('\n')}`)
  }
}
