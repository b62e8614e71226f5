/** A service as a process: signals, one time budget for stopping, and the exit code. */
import { ignoreClosedOutput } from './closed-output.ts'
import { endProcess } from './end-process.ts'
import { failureOf } from './failure.ts'
import { type Logger, logDetails } from './logger.ts'
import { EXIT } from './service-error.ts'
import { onStopSignals } from './stop-signals.ts'

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

/**
 * Runs the service in this process. The first signal, or the end of the parent process that has a channel to this one, asks it to stop;
 * a second signal, or the end of the time budget, ends the process at once. To be called once, and to be followed by `endProcess`, which closes
 * whatever is still open.
 * @returns the exit code: 0 also after it was asked to stop and did so in time
 */
export async function runServiceProcess({ logger, shutdownTimeout, start }: ServiceProcessOptions): Promise<number> {
  const stopping = new AbortController()
  const stop = (why: string, exitCode: number) => {
    if (stopping.signal.aborted) return
    logger.info(`${why}: stopping`)
    // The timer also keeps the process alive, so that the log says that the service did not stop, instead of just ending.
    setTimeout(() => {
      logger.error(
        `did not stop within SHUTDOWN_TIMEOUT (${shutdownTimeout / 1000} s): the process ends at once; what was committed is safe`,
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
  // It may have ended already; a process that was started without a channel has no `send`.
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
