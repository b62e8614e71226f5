/** Puts the parts of the producer together and runs it. */
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
import type { PokeApiObserver } from './infrastructure/poke-api/poke-api-observer.ts'

/** Time between two summaries in the log, in ms. */
const SUMMARY_INTERVAL = 10_000
/** The part of `SHUTDOWN_TIMEOUT` that the send under way and the last commit may take; the rest is for closing connections. */
const DRAIN_SHARE = 0.7

/**
 * Runs the producer in this process until it is asked to stop, or its sweep is finished.
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

/** @returns false where its sweep has left Pokémon out */
async function produce(config: Config, env: NodeJS.ProcessEnv, logger: Logger, signal: AbortSignal): Promise<boolean> {
  await using parts = new AsyncDisposableStack()
  const clock = systemClock()

  const registry = createRegistry()
  const health = new Health()
  health.add('process', () => (signal.aborted ? 'is stopping' : null))
  const metrics = new ProducerMetrics(registry)
  const report = new CaptureReport({ logger, health, maxEvents: config.OUTBOX_MAX_EVENTS, clock, stopping: signal })
  // Started first, so that probes are answered however long the rest takes; closed last.
  const http = await startHttpServer({ host: config.HTTP_HOST, port: config.HTTP_PORT, health, registry, logger })
  parts.defer(() => http.close())
  await tellParent({ type: 'listening', port: http.port })

  // It creates the folder, which the cache needs too. The controller closes it.
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
    observer: fanOut<PokeApiObserver>([metrics, report]),
  })
  parts.defer(() => api.close())
  const publisher = new KafkaEventPublisher({
    brokers: config.KAFKA_BROKERS,
    topic: config.KAFKA_TOPIC,
    partitions: config.KAFKA_TOPIC_PARTITIONS,
    replication: config.KAFKA_TOPIC_REPLICATION,
    onExisting({ partitions, replication }) {
      // Only settings of the user: nobody asked for the defaults.
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
    `captures ${sweeping ? 'every Pokémon once' : 'Pokémon at random'} from ${config.POKE_API_URL}${proxy === null ? '' : ` through the proxy ${shownProxy(proxy)}`} into ${config.KAFKA_TOPIC}; health and metrics on ${http.shownAddress}`,
  )
  const controller = new Controller({
    api,
    outbox,
    publisher,
    observer: fanOut<CaptureObserver>([metrics, report]),
    mode: sweeping ? { order: 'sweep' } : { order: 'random', interval: config.CAPTURE_INTERVAL },
    limits: {
      concurrency: config.CAPTURE_CONCURRENCY,
      // So that the API never has to wait for this service.
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
