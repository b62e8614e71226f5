/** Puts the consumer together and runs it: the only place where its parts meet. */
import { hostname } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import { kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import type { ReaderObserver } from '@poke-api-pipeline/kafka-reader'
import { EVENT_IDENTITY } from '@poke-api-pipeline/pokemon-event'
import {
  createLogger,
  createRegistry,
  fanOut,
  Health,
  type Logger,
  runServiceProcess,
  startHttpServer,
  systemClock,
  tellParent,
} from '@poke-api-pipeline/service-kit'
import { Controller } from './application/controller.ts'
import type { CrashHook } from './application/crash-points.ts'
import type { CountObserver } from './application/ports.ts'
import { type Config, readConfig, SETTINGS, storeLogin } from './config.ts'
import { CountReport } from './infrastructure/count-report.ts'
import { deadLetterTopicOf, KafkaDeadLetterTopic } from './infrastructure/dead-letters/dead-letter-topic.ts'
import { TypeCountsFile, typeCountsDocument } from './infrastructure/file-handling/type-counts-file.ts'
import { GroupProgress } from './infrastructure/group-progress.ts'
import { groupReader } from './infrastructure/kafka-remedies.ts'
import { ConsumerMetrics } from './infrastructure/metrics.ts'
import { openStore } from './infrastructure/storage/open-store.ts'
import { StoreOpening } from './infrastructure/storage/store-opening.ts'
import { LiveState } from './infrastructure/web/live-state.ts'
import { webPage } from './infrastructure/web/page.ts'

/** How often the log has a summary of what was counted, in ms. */
const SUMMARY_INTERVAL = 10_000
/** After this part of the shutdown timeout, dead letters that are not acknowledged yet are left to the next start. */
const DEAD_LETTERS_SHARE = 0.2

/**
 * Runs the consumer in this process until it is asked to stop.
 * @param crashPoint called at each step of counting; for tests that end the process there
 * @returns the exit code
 * @throws ServiceError where settings are wrong
 */
export async function run(env: NodeJS.ProcessEnv, crashPoint: CrashHook = () => {}): Promise<number> {
  const { config, warnings } = readConfig(env)
  const logger = await createLogger({ service: 'poke-api-consumer', level: config.LOG_LEVEL, format: config.LOG_FORMAT })
  for (const warning of warnings) logger.warn(warning)
  return await runServiceProcess({
    logger,
    shutdownTimeout: config.SHUTDOWN_TIMEOUT,
    start: (signal) => consume(config, logger, signal, crashPoint),
  })
}

/** Makes the parts in the order in which they depend on each other, and closes them in the reverse order. */
async function consume(config: Config, logger: Logger, signal: AbortSignal, crashPoint: CrashHook): Promise<void> {
  await using parts = new AsyncDisposableStack()
  const clock = systemClock()
  const { KAFKA_TOPIC: topic, KAFKA_BROKERS: brokers, KAFKA_GROUP_ID: groupId } = config
  // Both parts are needed: every process in a container can have the number 1, and all processes of a machine have the same host name.
  const instance = `${hostname()}/${process.pid}`

  // Listeners: everything that happens below is shown by the page, the metrics, the log and the readiness.
  const registry = createRegistry()
  const health = new Health()
  health.add('process', () => (signal.aborted ? 'is stopping' : null))
  const progress = new GroupProgress(clock.now)
  const report = new CountReport({ logger, health, topic, progress, now: clock.now, stopping: signal })
  const metrics = new ConsumerMetrics({ registry, progress, timeOfDay: Date.now, anomalousSources: () => report.anomalousSources })
  const live = new LiveState({ instance, progress, monotonic: clock.now, timeOfDay: Date.now })
  // The report compares with the group's progress, so it comes after it.
  const listeners = [progress, metrics, report, live]

  const opening = new StoreOpening({
    open: () =>
      openStore(config.STORE_URL, {
        groupId,
        owner: instance,
        sourceMaxAge: config.SOURCE_MAX_AGE,
        sourceMaxCount: config.SOURCE_MAX_COUNT,
        onSourcesForgotten: (partition, why, sources) => {
          metrics.sourcesForgotten(why, sources)
          if (why === 'too-many') report.tooManySources(partition, sources)
        },
        ...storeLogin(config),
      }),
    failed: (error) => report.storeFailed(error),
    wait: clock.wait,
  })
  parts.defer(() => opening.close())

  // HTTP comes before everything that can take long, so that health probes are answered. It is closed after everything else but the store.
  const http = await startHttpServer({
    host: config.HTTP_HOST,
    port: config.HTTP_PORT,
    health,
    registry,
    logger,
    plugins: [webPage({ state: live, progress, store: opening, document: typeCountsDocument, allowedHosts: config.HTTP_ALLOWED_HOSTS })],
  })
  parts.defer(() => http.close())
  await tellParent({ type: 'listening', port: http.port })
  const sink = new TypeCountsFile(config.OUTPUT_FILE)
  await sink.check()
  const storeUrl = SETTINGS.STORE_URL.kind.show?.(config.STORE_URL)
  logger.info(
    { topic, brokers, group: groupId, store: storeUrl, file: config.OUTPUT_FILE, instance },
    `counts ${topic} into ${config.OUTPUT_FILE}; page, health and metrics on ${http.shownAddress}`,
  )

  // The way of a record: the reader fetches it from Kafka; the controller counts it, commits its count to the store, writes the file, and publishes
  // the dead letters.
  const store = await opening.open(signal)
  if (store === null) return
  report.storeWorked()
  const kafka = { brokers, topic, clientId: 'poke-api-consumer', clientOptions: kafkaSecurity(config) }
  const giveUp = new AbortController()
  signal.addEventListener('abort', () => setTimeout(() => giveUp.abort(), config.SHUTDOWN_TIMEOUT * DEAD_LETTERS_SHARE).unref())
  const deadLetterTopic = new KafkaDeadLetterTopic({ ...kafka, stopSignal: giveUp.signal })
  parts.defer(() => deadLetterTopic.close())
  const summaries = setInterval(() => report.summarise(), SUMMARY_INTERVAL)
  parts.defer(() => {
    clearInterval(summaries)
    report.summarise()
  })
  const reader = groupReader({
    ...kafka,
    groupId,
    writableTopics: [deadLetterTopicOf(topic)],
    store: { id: store.id, name: storeUrl ?? config.STORE_URL, instance },
    sessionTimeout: config.KAFKA_SESSION_TIMEOUT,
    limits: { maxBytes: config.FETCH_MAX_BYTES, maxWait: config.FETCH_MAX_WAIT, maxBatchBytes: config.BATCH_MAX_BYTES },
    identity: EVENT_IDENTITY,
    observer: fanOut<ReaderObserver>(listeners),
    clock,
    crashPoint,
  })
  const controller = new Controller({
    reader,
    store,
    deadLetterTopic,
    sink,
    observer: fanOut<CountObserver>(listeners),
    onDataLoss: config.ON_DATA_LOSS,
    sourceMaxCount: config.SOURCE_MAX_COUNT,
    typeMaxCount: config.TYPE_MAX_COUNT,
    yieldToOthers: () => setImmediate(),
    clock,
    crashPoint,
  })
  await controller.run(signal)
}
