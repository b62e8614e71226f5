/** Captures as metrics for Prometheus. `docs/metrics.md` specifies them. */
import { metricsIn, NETWORK_SECONDS, type Registry, ServiceError } from '@poke-api-pipeline/service-kit'
import type { CaptureObserver } from '../application/ports.ts'
import type { Capture } from '../entities/pokemon.ts'
import type { PokeApiErrorKind } from '../errors.ts'
import type { PokeApiObserver, RequestOutcome } from './poke-api/poke-api-observer.ts'

export class ProducerMetrics implements Partial<CaptureObserver>, Pick<PokeApiObserver, 'requested' | 'attempted'> {
  readonly #metrics: ReturnType<typeof makeMetrics>

  constructor(registry: Registry) {
    this.#metrics = makeMetrics(metricsIn(registry))
    for (const origin of ['live', 'bundled']) this.#metrics.captures.inc({ origin }, 0)
    for (const outcome of ['hit', 'revalidated', 'fetched', 'failed']) this.#metrics.apiRequests.inc({ outcome }, 0)
  }

  captured({ origin }: Capture): void {
    this.#metrics.captures.inc({ origin })
  }

  missing(): void {
    this.#metrics.missing.inc()
  }

  captureFailed(error: Error): void {
    this.#metrics.captureFailures.inc({ kind: kindOf(error) })
  }

  requested(outcome: RequestOutcome): void {
    this.#metrics.apiRequests.inc({ outcome })
  }

  attempted(seconds: number, failure: PokeApiErrorKind | null): void {
    this.#metrics.apiRequestSeconds.observe(seconds)
    if (failure !== null) this.#metrics.apiFailures.inc({ kind: failure })
  }

  published(events: number, seconds: number): void {
    this.#metrics.published.inc(events)
    this.#metrics.publishSeconds.observe(seconds)
  }

  publishFailed(error: Error): void {
    this.#metrics.publishFailures.inc({ kind: kindOf(error) })
  }

  storeFailed(error: Error): void {
    this.#metrics.outboxFailures.inc({ kind: kindOf(error) })
  }

  outboxDepth(waiting: number, captured: number): void {
    this.#metrics.outboxDepth.set(waiting)
    this.#metrics.outboxCaptured.set(captured)
  }

  paused(paused: boolean): void {
    this.#metrics.outboxPaused.set(paused ? 1 : 0)
  }

  sweepProgress(done: number, total: number, leftOut: number): void {
    this.#metrics.sweepDone.set(done)
    this.#metrics.sweepTotal.set(total)
    this.#metrics.sweepLeftOut.set(leftOut)
  }
}

/** The kind of an error of the closed list: a bounded label. */
function kindOf(error: Error): string {
  return error instanceof ServiceError ? error.code.slice(error.code.indexOf('/') + 1) : 'unexpected'
}

function makeMetrics({ counter, gauge, histogram }: ReturnType<typeof metricsIn>) {
  return {
    captures: counter(
      'poke_captures_total',
      'Pokémon captured and stored in the outbox, by where their bodies came from: `live` or `bundled`.',
      'origin',
    ),
    missing: counter('poke_captures_missing_total', 'Pokémon that do not exist: PokeAPI answered 404.'),
    captureFailures: counter('poke_capture_failures_total', 'Captures that failed and are retried, by kind of error.', 'kind'),
    apiRequests: counter(
      'poke_api_requests_total',
      'Requests for Pokémon and lists, by outcome: `hit` answered by the cache alone, `revalidated` by the cache after PokeAPI confirmed the entry, `fetched` by PokeAPI, `failed` not answered.',
      'outcome',
    ),
    apiRequestSeconds: histogram(
      'poke_api_request_seconds',
      'Duration of one attempt at a request over the network, in seconds.',
      NETWORK_SECONDS,
    ),
    apiFailures: counter('poke_api_failures_total', 'Attempts at a request over the network that failed, by kind of error.', 'kind'),
    outboxDepth: gauge('poke_outbox_depth_events', 'Events in the outbox that Kafka has not acknowledged.'),
    outboxCaptured: gauge('poke_outbox_captured_events', 'Events that were ever stored in this outbox, by all starts of the service.'),
    outboxPaused: gauge('poke_outbox_paused', '1 while capturing is paused because the outbox is full or cannot store; otherwise 0.'),
    outboxFailures: counter('poke_outbox_failures_total', 'Commits of the outbox that failed and are retried, by kind of error.', 'kind'),
    published: counter('poke_published_events_total', 'Events that all in-sync replicas have acknowledged.'),
    publishFailures: counter('poke_publish_failures_total', 'Sends to Kafka that failed and are retried, by kind of error.', 'kind'),
    publishSeconds: histogram('poke_publish_seconds', 'Time from a send of events to its acknowledgement, in seconds.', NETWORK_SECONDS),
    sweepDone: gauge(
      'poke_sweep_done_pokemon',
      'Pokémon of this sweep that are captured, do not exist or were left out; 0 without a sweep.',
    ),
    sweepTotal: gauge('poke_sweep_total_pokemon', 'Pokémon of this sweep; 0 without a sweep.'),
    sweepLeftOut: gauge('poke_sweep_left_out_pokemon', 'Pokémon of this sweep that were left out because PokeAPI did not return them.'),
  }
}
