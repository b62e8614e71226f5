/** Runs a service as a process: signals, one time budget for stopping, and the exit code. */
import { ignoreClosedOutput } from './closed-output.ts'
import { endProcess } from './end-process.ts'
import { failureOf } from './failure.ts'
import { type Logger, logDetails } from './logger.ts'
import { EXIT } from './service-error.ts'
import { onStopSignals } from './stop-signals.ts'

export interface ServiceProcessOptions {
  readonly logger: Logger
  /** How long the service may take to stop, in ms. */
  readonly shutdownTimeout: number
  /**
   * Does the service's work. Resolves when it is done, or when it has stopped because the signal was aborted.
   * @throws ServiceError if it cannot continue
   */
  readonly start: (signal: AbortSignal) => Promise<void>
}

/**
 * Runs the service in this process. The first signal asks it to stop, and so does the end of a parent process that has a channel to this one. A second
 * signal, or the end of the time budget, ends the process at once. Call this function once, and then `endProcess`, which closes everything that is open.
 * @returns the exit code: 0 also if the service stopped in time after it was asked to
 */
export async function runServiceProcess({ logger, shutdownTimeout, start }: ServiceProcessOptions): Promise<number> {
  const stopping = new AbortController()
  const stop = (why: string, exitCode: number) => {
    if (stopping.signal.aborted) return
    logger.info(`${why}: stopping`)
    // The timer also keeps the process alive, so that it does not end silently when the service does not stop.
    setTimeout(() => {
      logger.error(
        `the service did not stop within SHUTDOWN_TIMEOUT (${shutdownTimeout / 1000} s): the process ends at once; all commits are safe`,
      )
      void endProcess(exitCode)
    }, shutdownTimeout)
    stopping.abort()
  }

  onStopSignals({
    first: stop,
    again(name, exitCode) {
      logger.warn(`${name} again: the process ends at once`)
      void endProcess(exitCode)
    },
  })
  const onOrphaned = () => stop('the parent process has ended', EXIT.temporary)
  process.on('disconnect', onOrphaned)
  // The parent process may have ended already. A process without a channel has no `send`.
  if (process.send !== undefined && !process.connected) onOrphaned()

  const fail = (error: unknown): number => {
    const { message, exitCode } = failureOf(error)
    logger.fatal(logDetails(error), message)
    return exitCode
  }
  // Unhandled rejections arrive here as well.
  process.on('uncaughtException', (error) => void endProcess(fail(error)))
  ignoreClosedOutput()

  try {
    await start(stopping.signal)
  } catch (error) {
    // An AbortError after our own request to stop is no failure.
    if (!stopping.signal.aborted || !(error instanceof Error) || error.name !== 'AbortError') return fail(error)
  }
  if (stopping.signal.aborted) logger.info('stopped')
  return EXIT.ok
}
