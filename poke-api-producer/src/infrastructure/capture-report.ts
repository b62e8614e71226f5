/** Reports captures in the log and in readiness: failures when they begin, change and end, and regular summaries. */
import { type Clock, type Health, type Logger, logDetails, OutageLog } from '@poke-api-pipeline/service-kit'
import type { CaptureObserver } from '../application/ports.ts'
import { leftOutOf, type SweepProgress } from '../entities/capture-order.ts'
import type { Capture } from '../entities/pokemon.ts'
import type { SweepFinished } from '../sweep-finished.ts'
import type { PokeApiObserver } from './poke-api/poke-api-observer.ts'

export interface CaptureReportOptions {
  readonly logger: Logger
  readonly health: Health
  /** Most events in the outbox. */
  readonly maxEvents: number
  readonly clock: Pick<Clock, 'now'>
  /** Aborted when the service stops. */
  readonly stopping?: AbortSignal | undefined
}

export class CaptureReport implements CaptureObserver, Pick<PokeApiObserver, 'cacheFailed'> {
  readonly #logger: Logger
  readonly #maxEvents: number
  readonly #api: OutageLog
  readonly #kafka: OutageLog
  readonly #outbox: OutageLog
  readonly #quota: OutageLog
  #depth = 0
  #paused = false
  #sweeping = false
  #finishedSweep: SweepFinished | null = null
  /** Since the last summary. */
  #captured = 0
  #published = 0

  constructor({ logger, health, maxEvents, clock, stopping }: CaptureReportOptions) {
    const outage = (over: string) => new OutageLog({ logger, now: () => clock.now(), stopping, over })
    this.#maxEvents = maxEvents
    this.#logger = logger
    this.#api = outage('PokeAPI answers again')
    this.#kafka = outage('Kafka accepts events again')
    this.#outbox = outage('the outbox can store again')
    this.#quota = outage('Kafka does not throttle this service any more')
    health.add('poke-api', () => this.#api.reason)
    health.add('kafka', () => this.#kafka.reason)
    health.add('outbox', () => this.#outbox.reason ?? (this.#paused ? this.#full() : null))
  }

  /** The result of the sweep; null until it is captured and acknowledged. */
  get finishedSweep(): SweepFinished | null {
    return this.#finishedSweep
  }

  captured(_: Capture): void {
    this.#captured++
    this.#api.worked()
    this.#outbox.worked()
  }

  missing(id: number): void {
    this.#api.worked()
    this.#logger.info({ id }, `PokeAPI has no Pokémon ${id} (404)`)
  }

  captureFailed(error: Error): void {
    this.#api.failed(error)
  }

  cacheFailed(message: string): void {
    this.#logger.warn(message)
  }

  /** A setting for creating the topic has no effect, because the topic exists. */
  settingUnused(setting: string, wanted: number, topic: string, has: number): void {
    this.#logger.warn(
      { topic, setting, wanted, has },
      `${setting}=${wanted} has no effect, because topic ${topic} exists already, with ${has}. To change the topic, use kafka-topics.sh --alter (partitions can only be added) or kafka-reassign-partitions.sh (replicas)`,
    )
  }

  published(events: number): void {
    this.#published += events
    this.#kafka.worked()
  }

  publishFailed(error: Error): void {
    this.#kafka.failed(error)
  }

  /** It does not change readiness, because events are still published, only slowly. @param error null: the delay is over, or negligible */
  throttled(error: Error | null): void {
    if (error === null) this.#quota.worked()
    else this.#quota.failed(error)
  }

  storeFailed(error: Error): void {
    this.#outbox.failed(error)
  }

  outboxDepth(events: number): void {
    this.#depth = events
    this.#outbox.worked()
  }

  paused(paused: boolean): void {
    this.#paused = paused
    if (paused) this.#logger.warn(`capturing is paused: ${this.#outbox.reason ?? this.#full()}`)
    else this.#logger.info('capturing is resumed')
  }

  sweepProgress(done: number, total: number): void {
    if (!this.#sweeping)
      this.#logger.info(
        { done, total },
        done === 0 ? `a sweep of ${total} Pokémon begins` : `the sweep continues: ${done} of ${total} Pokémon are done`,
      )
    this.#sweeping = true
  }

  leftOut(id: number, error: Error): void {
    // The API works: it has answered for another Pokémon.
    this.#api.worked()
    this.#logger.warn({ id, ...logDetails(error) }, `Pokémon ${id} is left out of this sweep: ${error.message}`)
  }

  sweepFinished(progress: SweepProgress): void {
    const { captured, types } = progress
    const leftOut = leftOutOf(progress)
    this.#sweeping = false
    this.#finishedSweep = { type: 'sweep-finished', captured, types, leftOut }
    this.summarise()
    const counted = Object.values(types).reduce((sum, count) => sum + count, 0)
    this.#logger.info({ captured, types: counted }, `the sweep is finished: ${captured} Pokémon with ${counted} types are in the topic`)
    if (leftOut.count === 0) return
    const more = leftOut.count - leftOut.lines.length
    const named = [...leftOut.lines, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
    this.#logger.warn(
      { leftOut: leftOut.count },
      `the sweep is not complete: PokeAPI did not return ${leftOut.count} Pokémon. The next sweep requests them again: ${named}`,
    )
  }

  /** Logs what was done since the last summary, if anything was. */
  summarise(): void {
    if (this.#captured === 0 && this.#published === 0) return
    const waiting = this.#depth > 0 ? `, ${this.#depth} wait for Kafka` : ''
    this.#logger.info(
      { captured: this.#captured, published: this.#published, waiting: this.#depth },
      `captured ${this.#captured}, published ${this.#published}${waiting}`,
    )
    this.#captured = 0
    this.#published = 0
  }

  #full(): string {
    return `the outbox is full: ${this.#maxEvents} events wait for Kafka (OUTBOX_MAX_EVENTS)`
  }
}
