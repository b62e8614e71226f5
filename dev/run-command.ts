/** Runs a command of this workspace until it is done, fails, or is told to stop: by the first signal in order, by the second at once. */
import { onStopSignals, ServiceError } from '@poke-api-pipeline/service-kit'
import type { LiveTerminal } from './live-terminal.ts'

/** Ends the command: its message is for people, its exit code for scripts. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Something that has to be stopped when the command ends. */
export interface Stoppable {
  stop(): Promise<void>
  killAll(): void
}

/** Given to the command's work. */
export interface Run {
  /** Aborted when the command ends before its work is done. */
  readonly signal: AbortSignal
  /** Ends the command. */
  fail(error: Error): void
  /** To be called as soon as there is something to stop. */
  own(what: Stoppable): void
}

export interface CommandOptions {
  readonly terminal: LiveTerminal
  /** Resolves with the exit code when the work is done. Its outcome is ignored once the signal is aborted. */
  readonly work: (run: Run) => Promise<number>
  /** Printed on the first signal, after its name. */
  readonly whenStopped: string
  /** The exit code then. */
  readonly stoppedExitCode: number
}

/** Never returns: it stops everything that the work has started, and exits. */
export async function runCommand({ terminal, work, whenStopped, stoppedExitCode }: CommandOptions): Promise<never> {
  const stopping = new AbortController()
  const failure = Promise.withResolvers<never>()
  // It is awaited below; a failure before that must not count as an unhandled rejection.
  failure.promise.catch(() => undefined)
  const owned: Stoppable[] = []
  const asked = Promise.withResolvers<number>()
  const endAtOnce = (exitCode: number) => {
    for (const each of owned) each.killAll()
    process.exit(exitCode)
  }
  onStopSignals({
    first(name, exitCode) {
      if (stopping.signal.aborted) endAtOnce(exitCode)
      stopping.abort()
      terminal.leave()
      terminal.say(`\n${name === 'SIGINT' ? 'Ctrl-C' : name}: ${whenStopped}`)
      asked.resolve(stoppedExitCode)
    },
    again: (_, exitCode) => endAtOnce(exitCode),
  })
  let exitCode: number
  try {
    const run: Run = { signal: stopping.signal, fail: failure.reject, own: (what) => owned.push(what) }
    exitCode = await Promise.race([work(run), failure.promise, asked.promise])
  } catch (error) {
    stopping.abort()
    terminal.leave()
    terminal.say(`\n${messageOf(error)}`)
    exitCode = isExpected(error) ? error.exitCode : 1
  }
  for (const each of owned) await each.stop()
  process.exit(exitCode)
}

/** The message of an error that was expected; the stack of a mistake in the program. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return isExpected(error) || error.constructor === Error ? error.message : (error.stack ?? error.message)
}

function isExpected(error: unknown): error is CommandError | ServiceError {
  return error instanceof CommandError || error instanceof ServiceError
}
