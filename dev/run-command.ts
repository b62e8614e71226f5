/** Runs a command of this workspace until it is done, fails, or is asked to stop: first kindly, then at once. */
import { constants } from 'node:os'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import type { LiveTerminal } from './live-terminal.ts'
import { OneMachineError } from './one-machine.ts'

/** Ctrl-C reaches every process of the terminal, and npm hands it on once more: two signals within so many ms are one. */
const ONE_KEYSTROKE = 100

/** What has to be stopped when the command ends. */
export interface Stoppable {
  stop(): Promise<void>
  killAll(): void
}

/** What the command's work is given. */
export interface Run {
  /** Aborted when the command ends for another reason than its work being done. */
  readonly signal: AbortSignal
  /** Ends the command. */
  fail(error: Error): void
  /** Names what has to be stopped, as soon as there is something. */
  own(what: Stoppable): void
}

export interface CommandOptions {
  readonly terminal: LiveTerminal
  /** Resolves with the exit code when the work is done; its outcome does not matter any more after the signal was aborted. */
  readonly work: (run: Run) => Promise<number>
  /** Said on the first signal, after its name. */
  readonly whenStopped: string
  /** The exit code then. */
  readonly stoppedExitCode: number
}

/** Never returns: the process exits, and nothing that it has started is left. */
export async function runCommand({ terminal, work, whenStopped, stoppedExitCode }: CommandOptions): Promise<never> {
  const stopping = new AbortController()
  const failure = Promise.withResolvers<never>()
  // Heard below; a failure that comes before must not pass for one that nobody handles.
  failure.promise.catch(() => undefined)
  const owned: Stoppable[] = []
  let stoppedAt = 0
  const asked = new Promise<number>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (stopping.signal.aborted) {
          if (performance.now() - stoppedAt < ONE_KEYSTROKE) return
          for (const each of owned) each.killAll()
          process.exit(128 + constants.signals[name])
        }
        stoppedAt = performance.now()
        stopping.abort()
        terminal.leave()
        terminal.say(`\n${name === 'SIGINT' ? 'Ctrl-C' : name}: ${whenStopped}`)
        resolve(stoppedExitCode)
      })
    }
  })
  let exitCode: number
  try {
    const run: Run = { signal: stopping.signal, fail: failure.reject, own: (what) => owned.push(what) }
    exitCode = await Promise.race([work(run), failure.promise, asked])
  } catch (error) {
    stopping.abort()
    terminal.leave()
    terminal.say(`\n${messageOf(error)}`)
    exitCode = isTold(error) ? error.exitCode : 1
  }
  for (const each of owned) await each.stop()
  process.exit(exitCode)
}

/** Errors that were thrown to be read are their message; of a mistake in the program the stack is what helps. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return isTold(error) || error.constructor === Error ? error.message : (error.stack ?? error.message)
}

function isTold(error: unknown): error is OneMachineError | ServiceError {
  return error instanceof OneMachineError || error instanceof ServiceError
}
