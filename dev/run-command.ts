/** Runs a command of this folder until it is done or asked to stop: first kindly, then at once. */
import { constants } from 'node:os'
import { OneMachineError } from './one-machine.ts'

/** Ctrl-C reaches every process of the terminal, and npm hands it on once more: two signals within so many ms are one. */
const ONE_KEYSTROKE = 100

export interface Stoppable {
  stop(): Promise<void>
  killAll(): void
}

/**
 * @param work does the command's work. Resolves with the exit code when it is done or after the signal was aborted.
 * @param stopped called when the first signal came, before anything is stopped
 * @param stoppedExitCode what the process exits with then
 * @returns never: the process exits
 */
export async function runCommand(
  work: (signal: AbortSignal, own: (what: Stoppable) => void) => Promise<number>,
  stopped: (why: string) => void,
  stoppedExitCode = 0,
): Promise<never> {
  const stopping = new AbortController()
  let owned: Stoppable | null = null
  let stoppedAt = 0
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (stopping.signal.aborted) {
        if (performance.now() - stoppedAt < ONE_KEYSTROKE) return
        owned?.killAll()
        process.exit(128 + constants.signals[name])
      }
      stoppedAt = performance.now()
      stopped(name === 'SIGINT' ? 'Ctrl-C' : name)
      stopping.abort()
    })
  }
  let exitCode: number
  try {
    const asked = new Promise<number>((resolve) => stopping.signal.addEventListener('abort', () => resolve(stoppedExitCode)))
    exitCode = await Promise.race([work(stopping.signal, (what) => (owned = what)), asked])
  } catch (error) {
    exitCode = error instanceof OneMachineError ? error.exitCode : 1
    console.error(error instanceof OneMachineError || isPlain(error) ? `\n${(error as Error).message}` : error)
  }
  await (owned as Stoppable | null)?.stop()
  process.exit(exitCode)
}

/** An error that was thrown to be read, as those of `kafka.ts`, rather than one of a mistake in the program. */
function isPlain(error: unknown): boolean {
  return error instanceof Error && error.constructor === Error
}
