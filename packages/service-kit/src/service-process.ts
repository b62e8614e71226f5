/** A service's life as a process: signals, its one time budget for stopping, and what it answers to its starter. */
import { constants } from 'node:os'
import { ignoreClosedOutput } from './closed-output.ts'
import { endProcess } from './end-process.ts'
import { failureOf } from './failure.ts'
import { type Logger, logDetails } from './logger.ts'
import { EXIT } from './service-error.ts'

export interface ServiceProcessOptions {
  readonly logger: Logger
  /** For how long the service may take to stop once it was asked to, in ms. */
  readonly shutdownTimeout: number
  /**
   * Does the service's work. Resolves when it is done, or after it has stopped because the signal was aborted.
   * @throws ServiceError where it cannot go on
   */
  readonly start: (signal: AbortSignal) => Promise<void>
}

/** SIGHUP: the terminal was closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Ctrl-C reaches the whole group of processes, and npm hands it on once more: two signals within this many ms are one. */
const ONE_KEYSTROKE = 100

/**
 * Runs the service in this process. The first signal, or the end of the parent process that has a channel to this one, asks it to stop;
 * a second signal, or the end of the time budget, ends the process at once. To be called once, and to be followed by `endProcess`: what
 * is still open then was not worth waiting for.
 * @returns the exit code: 0 also after it was asked to stop and did so in time
 */
export async function runServiceProcess({ logger, shutdownTimeout, start }: ServiceProcessOptions): Promise<number> {
  const stopping = new AbortController()
  const stop = (why: string, exitCode: number) => {
    if (stopping.signal.aborted) return
    logger.info(`${why}: stopping`)
    // Keeps the process alive as well: whoever does not stop shall be told of, and not just vanish.
    setTimeout(() => {
      logger.error(`did not stop within SHUTDOWN_TIMEOUT (${shutdownTimeout / 1000} s): ends at once; what was committed stays so`)
      void endProcess(exitCode)
    }, shutdownTimeout)
    stopping.abort()
  }

  let signalledAt = Number.NaN
  const onSignal = (name: NodeJS.Signals) => {
    const exitCode = 128 + constants.signals[name]
    if (performance.now() - signalledAt >= ONE_KEYSTROKE) {
      logger.warn(`${name} again: ends at once`)
      void endProcess(exitCode)
    }
    // Not moved by what belongs to the first one: whoever sends signals without pause wants an end.
    if (Number.isNaN(signalledAt)) signalledAt = performance.now()
    stop(name, exitCode)
  }
  for (const name of STOP_SIGNALS) process.on(name, onSignal)
  const onOrphaned = () => stop('the process that started this one is gone', EXIT.temporary)
  process.on('disconnect', onOrphaned)
  // It may be gone already; a process that was started without a channel has no `send`.
  if (process.send !== undefined && !process.connected) onOrphaned()

  const fail = (error: unknown): number => {
    const { message, exitCode } = failureOf(error)
    logger.fatal(logDetails(error), message)
    return exitCode
  }
  // Rejections that nobody handles come here as well.
  process.on('uncaughtException', (error) => void endProcess(fail(error)))
  ignoreClosedOutput()

  try {
    await start(stopping.signal)
  } catch (error) {
    // Our own request to stop, come back, is no failure.
    if (!stopping.signal.aborted || !(error instanceof Error) || error.name !== 'AbortError') return fail(error)
  }
  if (stopping.signal.aborted) logger.info('stopped')
  return EXIT.ok
}
