/** A small service for the tests of processes. Its argument chooses its behaviour. */
import { readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { endProcess, onDisk } from '../src/end-process.ts'
import { createLogger } from '../src/logger.ts'
import { ServiceError } from '../src/service-error.ts'
import { runServiceProcess } from '../src/service-process.ts'

/** Resolves when the service is asked to stop. */
const untilStopped = (signal: AbortSignal) => wait(3_600_000, undefined, { signal }).catch(() => undefined)

const BEHAVIOURS: Record<string, (signal: AbortSignal) => Promise<void>> = {
  'stops when asked to': untilStopped,
  'never stops': () => wait(3_600_000),
  'hangs at a disk that does not answer': async (signal) => {
    // Opening a pipe without a writer blocks in a system call, as a network disk that does not answer does.
    void onDisk(readFile(process.argv[4] as string))
    await untilStopped(signal)
  },
  'is done': async () => undefined,
  'throws the reason of its signal': async (signal) => {
    await wait(3_600_000, undefined, { signal })
  },
  'cannot go on': async () => {
    throw new ServiceError('the store is damaged: put a backup in its place', { code: 'store/damaged', exitCode: 65, retriable: false })
  },
  'has a mistake': async () => {
    JSON.parse('{')
  },
  'leaves a rejection unhandled': async (signal) => {
    void Promise.reject(new TypeError('nobody caught me'))
    await untilStopped(signal)
  },
  'throws where nobody can catch': async (signal) => {
    setImmediate(() => {
      throw new ServiceError('the disk is gone', { code: 'store/io', exitCode: 75, retriable: true })
    })
    await untilStopped(signal)
  },
  'fails while it stops': async (signal) => {
    await untilStopped(signal)
    throw new ServiceError('the last commit failed', { code: 'store/io', exitCode: 75, retriable: true })
  },
  'writes when told to': async (signal) => {
    process.on('message', () => {
      logger.info('a line of the log')
      console.log('{"msg":"a line of another program"}')
      process.send?.('written')
    })
    await untilStopped(signal)
  },
}

const [behaviour = '', shutdownTimeout = '10000'] = process.argv.slice(2)
const logger = await createLogger({ service: 'small-service', level: 'info', format: 'json' })
await endProcess(
  await runServiceProcess({
    logger,
    shutdownTimeout: Number(shutdownTimeout),
    start: async (signal) => {
      logger.info('started')
      await (BEHAVIOURS[behaviour] as (signal: AbortSignal) => Promise<void>)(signal)
    },
  }),
)
