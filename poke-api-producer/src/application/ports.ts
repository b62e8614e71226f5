/** What the controller needs of the world. Each port says its duties and what is not its job; one contract suite runs against each implementation. */
import type { SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'

/** Obtains Pokémon. Caching, retrying and rate are its job; which Pokémon comes next is not. */
export interface PokeApi {
  /** The ids of all Pokémon that the API names, ascending. @throws PokeApiError */
  list(signal: AbortSignal): Promise<readonly number[]>
  /** One Pokémon; null where the API answers 404, which is final. @throws PokeApiError when it stays unobtainable. */
  capture(id: number, signal: AbortSignal): Promise<Capture | null>
  /** Resolves when the API itself answers for this Pokémon at this moment, and no cache. @throws PokeApiError where it does not */
  confirm(id: number, signal: AbortSignal): Promise<void>
}

/** An event as it is stored and sent, the same bytes every time. */
export interface OutboxEvent {
  /** ce_source: the run that captured it (rule P1). */
  readonly source: string
  /** ce_sequence. It rises over all runs, so it is the event's position in the outbox too. */
  readonly sequence: number
  /** Chosen once and stored before the first send (rule P3); null: not chosen yet. */
  readonly partition: number | null
  readonly key: string
  readonly value: Buffer
  readonly time: string
  readonly origin: 'live' | 'bundled'
}

/** Keeps captures from the moment they were made until Kafka has acknowledged them. One process at a time. It decides nothing and retries nothing. */
export interface Outbox {
  /** Events that wait, of all runs. */
  readonly depth: number
  /** Events ever stored, of all runs: the sequence of the last one. */
  readonly captured: number
  /**
   * In one synced transaction (rule P2): numbers and stores the captures under this run's source, stores the sweep's progress,
   * and forgets the acknowledged events. After an error nothing of it happened.
   * @throws OutboxError
   */
  commit(change: OutboxChange): void
  /** The oldest events, at most `limit`. @throws OutboxError */
  oldest(limit: number): OutboxEvent[]
  /** Stores the partitions of events that have none yet, by sequence (rule P3), synced. @throws OutboxError */
  assignPartitions(partitions: ReadonlyMap<number, number>): void
  /** Where the sweep stands; null: none was begun or the last one is finished. @throws OutboxError */
  sweep(): SweepProgress | null
  close(): void
}

export interface OutboxChange {
  readonly captures: readonly Capture[]
  /** Kafka has acknowledged every event up to this sequence; 0: none since the last commit. */
  readonly acknowledged: number
  /** The sweep's progress after this change; undefined: unchanged; null: no sweep under way. */
  readonly sweep?: SweepProgress | null | undefined
  /** Chooses the partition of a key; null while the topic's partition count is not known. */
  readonly partitionOf: ((key: string) => number) | null
}

/** Publishes events to the topic. It never reorders, never keeps an event and never retries on its own (rule P4). */
export interface EventPublisher {
  /** Creates the topic where it is missing, and learns its partition count. @throws PublishError */
  prepare(signal: AbortSignal): Promise<void>
  /** Chooses a key's partition; null before `prepare`. */
  readonly partitionOf: ((key: string) => number) | null
  /**
   * Resolves when all in-sync replicas have acknowledged every event. Every event has a partition.
   * After a rejection the outcome is unknown: the same events must be sent again before any newer one.
   * @throws PublishError
   */
  publish(events: readonly OutboxEvent[]): Promise<void>
  close(): Promise<void>
}

/** Hears what happens, for metrics, logs and health. Must not throw. */
export interface CaptureObserver {
  captured(capture: Capture): void
  /** 404: there is no such Pokémon. */
  missing(id: number): void
  captureFailed(error: Error): void
  published(events: number, seconds: number): void
  publishFailed(error: Error): void
  /** The outbox could not store what happened (a full disk, say); it is tried again, and nothing is captured meanwhile. */
  storeFailed(error: Error): void
  /**
   * @param waiting events that Kafka has not acknowledged
   * @param captured events ever stored in this outbox, over all starts
   */
  outboxDepth(waiting: number, captured: number): void
  /** Capturing waits because the outbox is full, and goes on. */
  paused(paused: boolean): void
  /** `leftOut` of the `done` ones could not be had. */
  sweepProgress(done: number, total: number, leftOut: number): void
  /** The sweep goes on and ends without this Pokémon: it failed as often as it may, by `error` at last, while the API answered for others. */
  leftOut(id: number, error: Error): void
  /** Every Pokémon of the sweep is captured, does not exist or was left out, and Kafka has acknowledged all of it; `progress` sums it up, over restarts too. */
  sweepFinished(progress: SweepProgress): void
}
