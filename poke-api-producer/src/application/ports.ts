/** The ports of the controller: what each implementation must do, and what is not its job. One contract suite runs against each implementation. */
import type { SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'

/** Obtains Pokémon. It caches, retries and keeps to the rate limit; it does not choose which Pokémon comes next. */
export interface PokeApi {
  /** The ids of all Pokémon that the API lists, ascending. @throws PokeApiError */
  list(signal: AbortSignal): Promise<readonly number[]>
  /** One Pokémon; null where the API answers 404, which is final. @throws PokeApiError after the last attempt */
  capture(id: number, signal: AbortSignal): Promise<Capture | null>
  /** Resolves when the API itself, without the cache, answers for this Pokémon. @throws PokeApiError where it does not */
  confirm(id: number, signal: AbortSignal): Promise<void>
}

/** An event as it is stored and sent: the same bytes at each attempt. */
export interface OutboxEvent {
  /** ce_source: the run of the producer that captured it (rule P1). */
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

/** Stores captures until Kafka has acknowledged them. Only one process at a time can open it. It retries nothing. */
export interface Outbox {
  /** How many events it has, of all runs. */
  readonly depth: number
  /** How many events were ever stored, by all runs: the sequence of the last one. */
  readonly captured: number
  /**
   * In one synced transaction (rule P2): numbers and stores the captures under this run's source, stores the sweep's progress, and removes the
   * acknowledged events. After an error nothing of this has happened.
   * @throws OutboxError
   */
  commit(change: OutboxChange): void
  /** The oldest events, at most `limit`. @throws OutboxError */
  oldest(limit: number): OutboxEvent[]
  /** Stores and syncs the partitions of events that have none yet, by sequence (rule P3). @throws OutboxError */
  assignPartitions(partitions: ReadonlyMap<number, number>): void
  /** The progress of the sweep; null: none has begun, or the last one is finished. @throws OutboxError */
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

/** Publishes events to the topic. It never reorders, never stores an event and never retries (rule P4). */
export interface EventPublisher {
  /** Creates the topic where it is missing, and reads its partition count. @throws PublishError */
  prepare(signal: AbortSignal): Promise<void>
  /** Chooses the partition of a key; null before `prepare`. */
  readonly partitionOf: ((key: string) => number) | null
  /**
   * Resolves when all in-sync replicas have acknowledged every event.
   * After a rejection the outcome is unknown: the same events must be sent again before any newer one.
   * @param events each with a partition
   * @throws PublishError
   */
  publish(events: readonly OutboxEvent[]): Promise<void>
  close(): Promise<void>
}

/** Is told what happens, for metrics, logs and health. Must not throw. */
export interface CaptureObserver {
  captured(capture: Capture): void
  /** 404: there is no such Pokémon. */
  missing(id: number): void
  captureFailed(error: Error): void
  published(events: number, seconds: number): void
  publishFailed(error: Error): void
  /** A commit of the outbox failed, because the disk is full, say. It is retried, and capturing pauses meanwhile. */
  storeFailed(error: Error): void
  /**
   * @param waiting how many events Kafka has not acknowledged
   * @param captured how many events were ever stored in this outbox, by all runs
   */
  outboxDepth(waiting: number, captured: number): void
  /** Capturing pauses because the outbox is full or cannot store (true), or goes on (false). */
  paused(paused: boolean): void
  /** @param leftOut how many of the `done` Pokémon could not be obtained */
  sweepProgress(done: number, total: number, leftOut: number): void
  /** The sweep leaves this Pokémon out: it failed as often as it may, at last with `error`, while the API answered for others. */
  leftOut(id: number, error: Error): void
  /** Every Pokémon of the sweep is captured and acknowledged by Kafka, does not exist or was left out. @param progress of the whole sweep, restarts included */
  sweepFinished(progress: SweepProgress): void
}
