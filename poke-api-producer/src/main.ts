/** Puts the producer together and runs it: the only place where its parts meet. */
import { join } from 'node:path'
import { kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import {
  createLogger,
  createRegistry,
  EXIT,
  fanOut,
  Health,
  type Logger,
  proxyFor,
  runServiceProcess,
  shownProxy,
  startHttpServer,
  systemClock,
  tellParent,
} from '@poke-api-pipeline/service-kit'
import { Controller } from './application/controller.ts'
import type { CaptureObserver } from './application/ports.ts'
import { type Config, readConfig } from './config.ts'
import { CaptureReport } from './infrastructure/capture-report.ts'
import { KafkaEventPublisher } from './infrastructure/messaging/kafka-producer.ts'
import { ProducerMetrics } from './infrastructure/metrics.ts'
import { SqliteOutbox } from './infrastructure/outbox/sqlite-outbox.ts'
import { PokeApiClient } from './infrastructure/poke-api/poke-api-client.ts'

/** What was done is summed up in the log this often, in ms. */
const SUMMARY_INTERVAL = 10_000
/** The part of the time for stopping that the send under way and the last commit may take; the rest is for closing connections. */
const DRAIN_SHARE = 0.7

/**
 * Runs the producer in this process until it is asked to stop, or its sweep is captured and acknowledged.
 * @returns the exit code
 * @throws ServiceError where settings are wrong
 */
export async function run(env: NodeJS.ProcessEnv): Promise<number> {
  const { config, warnings } = readConfig(env)
  const logger = await createLogger({ service: 'poke-api-producer', level: config.LOG_LEVEL, format: config.LOG_FORMAT })
  for (const warning of warnings) logger.warn(warning)
  let isComplete = true
  const exitCode = await runServiceProcess({
    logger,
    shutdownTimeout: config.SHUTDOWN_TIMEOUT,
    start: async (signal) => {
      isComplete = await produce(config, env, logger, signal)
    },
  })
  return exitCode === EXIT.ok && !isComplete ? EXIT.incomplete : exitCode
}

/** @returns false where its sweep is finished and has left Pokémon out */
async function produce(config: Config, env: NodeJS.ProcessEnv, logger: Logger, signal: AbortSignal): Promise<boolean> {
  await using parts = new AsyncDisposableStack()
  const clock = systemClock()

  const registry = createRegistry()
  const health = new Health()
  health.add('process', () => (signal.aborted ? 'is stopping' : null))
  const metrics = new ProducerMetrics(registry)
  const report = new CaptureReport({ logger, health, maxEvents: config.OUTBOX_MAX_EVENTS, clock, stopping: signal })
  // First, so that probes are answered however long the rest takes; closed last.
  const http = await startHttpServer({ host: config.HTTP_HOST, port: config.HTTP_PORT, health, registry, logger })
  parts.defer(() => http.close())
  await tellParent({ type: 'listening', port: http.port })

  // Makes its folder, where the cache is kept, too. The controller closes it.
  const outbox = new SqliteOutbox({ dir: config.DATA_DIR })
  const proxy = proxyFor(config.POKE_API_URL, config)
  const api = new PokeApiClient({
    url: config.POKE_API_URL,
    proxy,
    maxRate: config.POKE_API_MAX_RATE,
    clock,
    cacheFile: join(config.DATA_DIR, 'poke-api-cache.db'),
    maxAtOnce: config.CAPTURE_CONCURRENCY,
    timeout: config.POKE_API_TIMEOUT,
    maxBody: config.POKE_API_MAX_BYTES,
    observer: {
      requested: (outcome) => metrics.requested(outcome),
      attempted: (seconds, failure) => metrics.attempted(seconds, failure),
      cacheFailed: (message) => report.cacheFailed(message),
    },
  })
  parts.defer(() => api.close())
  const publisher = new KafkaEventPublisher({
    brokers: config.KAFKA_BROKERS,
    topic: config.KAFKA_TOPIC,
    partitions: config.KAFKA_TOPIC_PARTITIONS,
    replication: config.KAFKA_TOPIC_REPLICATION,
    onExisting({ partitions, replication }) {
      // A default is nobody's wish.
      for (const [name, has] of [
        ['KAFKA_TOPIC_PARTITIONS', partitions],
        ['KAFKA_TOPIC_REPLICATION', replication],
      ] as const)
        if (env[name]?.trim() && config[name] !== has) report.settingUnused(name, config[name], config.KAFKA_TOPIC, has)
    },
    sendDeadline: config.KAFKA_SEND_TIMEOUT,
    clientOptions: kafkaSecurity(config),
    throttled: (error) => report.throttled(error),
  })

  const summaries = setInterval(() => report.summarise(), SUMMARY_INTERVAL)
  parts.defer(() => {
    clearInterval(summaries)
    report.summarise()
  })
  const sweeping = config.CAPTURE_MODE === 'sweep'
  logger.info(
    { topic: config.KAFKA_TOPIC, brokers: config.KAFKA_BROKERS, source: outbox.source, waiting: outbox.depth },
    `captures ${sweeping ? 'every Pokémon once' : 'Pokémon at random'} from ${config.POKE_API_URL}${proxy === null ? '' : ` by the proxy ${shownProxy(proxy)}`} into ${config.KAFKA_TOPIC}; health and metrics on ${http.shownAddress}`,
  )
  const controller = new Controller({
    api,
    outbox,
    publisher,
    observer: fanOut<CaptureObserver>([metrics, report]),
    mode: sweeping ? { order: 'sweep' } : { order: 'random', interval: config.CAPTURE_INTERVAL },
    limits: {
      concurrency: config.CAPTURE_CONCURRENCY,
      // The API never waits for us.
      ahead: config.CAPTURE_CONCURRENCY,
      maxEvents: config.OUTBOX_MAX_EVENTS,
      maxAttempts: config.SWEEP_MAX_ATTEMPTS,
      drainDeadline: config.SHUTDOWN_TIMEOUT * DRAIN_SHARE,
    },
    clock,
  })
  await controller.run(signal)
  const finished = report.finishedSweep
  if (finished !== null) await tellParent(finished)
  return finished === null || finished.leftOut.count === 0
}
