/** Captures as metrics for Prometheus. `docs/metrics.md` specifies them. */
import { Counter, Gauge, Histogram, NETWORK_SECONDS, type Registry, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CaptureObserver } from '../application/ports.ts'
import type { Capture } from '../entities/pokemon.ts'
import type { PokeApiErrorKind } from '../errors.ts'
import type { PokeApiObserver, RequestOutcome } from './poke-api/poke-api-observer.ts'

export class ProducerMetrics implements Partial<CaptureObserver>, Pick<PokeApiObserver, 'requested' | 'attempted'> {
  readonly #captures: Counter<'origin'>
  readonly #missing: Counter
  readonly #captureFailures: Counter<'kind'>
  readonly #apiRequests: Counter<'outcome'>
  readonly #apiRequestSeconds: Histogram
  readonly #apiFailures: Counter<'kind'>
  readonly #outboxDepth: Gauge
  readonly #outboxCaptured: Gauge
  readonly #outboxPaused: Gauge
  readonly #outboxFailures: Counter<'kind'>
  readonly #published: Counter
  readonly #publishFailures: Counter<'kind'>
  readonly #publishSeconds: Histogram
  readonly #sweepDone: Gauge
  readonly #sweepTotal: Gauge
  readonly #sweepLeftOut: Gauge

  constructor(registry: Registry) {
    const registers = [registry]
    const counter = (name: string, help: string) => new Counter({ name, help, registers })
    const gauge = (name: string, help: string) => new Gauge({ name, help, registers })
    const byKind = (name: string, help: string) => new Counter({ name, help, labelNames: ['kind'], registers })
    this.#captures = new Counter({
      name: 'poke_captures_total',
      help: 'Pokémon captured and stored in the outbox, by the source of their bodies: `live` or `bundled`.',
      labelNames: ['origin'],
      registers,
    })
    for (const origin of ['live', 'bundled']) this.#captures.inc({ origin }, 0)
    this.#missing = counter('poke_captures_missing_total', 'Pokémon that do not exist: PokeAPI answered 404.')
    this.#captureFailures = byKind('poke_capture_failures_total', 'Captures that failed and are retried, by kind of error.')
    this.#apiRequests = new Counter({
      name: 'poke_api_requests_total',
      help: 'Requests for Pokémon and lists, by outcome: `hit` answered by the cache alone, `revalidated` by the cache after PokeAPI confirmed the entry, `fetched` by PokeAPI, `failed` not answered.',
      labelNames: ['outcome'],
      registers,
    })
    for (const outcome of ['hit', 'revalidated', 'fetched', 'failed']) this.#apiRequests.inc({ outcome }, 0)
    this.#apiRequestSeconds = new Histogram({
      name: 'poke_api_request_seconds',
      help: 'Duration of one attempt at a request over the network, in seconds.',
      buckets: NETWORK_SECONDS,
      registers,
    })
    this.#apiFailures = byKind('poke_api_failures_total', 'Attempts at a request over the network that failed, by kind of error.')
    this.#outboxDepth = gauge('poke_outbox_depth_events', 'Events in the outbox that Kafka has not acknowledged.')
    this.#outboxCaptured = gauge(
      'poke_outbox_captured_events',
      'Events that were ever stored in this outbox, by all starts of the service.',
    )
    this.#outboxPaused = gauge('poke_outbox_paused', '1 while capturing is paused because the outbox is full or cannot store; otherwise 0.')
    this.#outboxFailures = byKind('poke_outbox_failures_total', 'Commits of the outbox that failed and are retried, by kind of error.')
    this.#published = counter('poke_published_events_total', 'Events that all in-sync replicas have acknowledged.')
    this.#publishFailures = byKind('poke_publish_failures_total', 'Sends to Kafka that failed and are retried, by kind of error.')
    this.#publishSeconds = new Histogram({
      name: 'poke_publish_seconds',
      help: 'Time from a send of events to its acknowledgement, in seconds.',
      buckets: NETWORK_SECONDS,
      registers,
    })
    this.#sweepDone = gauge(
      'poke_sweep_done_pokemon',
      'Pokémon of this sweep that are captured, do not exist or were left out; 0 without a sweep.',
    )
    this.#sweepTotal = gauge('poke_sweep_total_pokemon', 'Pokémon of this sweep; 0 without a sweep.')
    this.#sweepLeftOut = gauge(
      'poke_sweep_left_out_pokemon',
      'Pokémon of this sweep that were left out because PokeAPI did not return them.',
    )
  }

  captured({ origin }: Capture): void {
    this.#captures.inc({ origin })
  }

  missing(): void {
    this.#missing.inc()
  }

  captureFailed(error: Error): void {
    this.#captureFailures.inc({ kind: kindOf(error) })
  }

  requested(outcome: RequestOutcome): void {
    this.#apiRequests.inc({ outcome })
  }

  attempted(seconds: number, failure: PokeApiErrorKind | null): void {
    this.#apiRequestSeconds.observe(seconds)
    if (failure !== null) this.#apiFailures.inc({ kind: failure })
  }

  published(events: number, seconds: number): void {
    this.#published.inc(events)
    this.#publishSeconds.observe(seconds)
  }

  publishFailed(error: Error): void {
    this.#publishFailures.inc({ kind: kindOf(error) })
  }

  storeFailed(error: Error): void {
    this.#outboxFailures.inc({ kind: kindOf(error) })
  }

  outboxDepth(waiting: number, captured: number): void {
    this.#outboxDepth.set(waiting)
    this.#outboxCaptured.set(captured)
  }

  paused(paused: boolean): void {
    this.#outboxPaused.set(paused ? 1 : 0)
  }

  sweepProgress(done: number, total: number, leftOut: number): void {
    this.#sweepDone.set(done)
    this.#sweepTotal.set(total)
    this.#sweepLeftOut.set(leftOut)
  }
}

/** The kind of an error of the closed list: a bounded label. */
function kindOf(error: Error): string {
  return error instanceof ServiceError ? error.code.slice(error.code.indexOf('/') + 1) : 'unexpected'
}
