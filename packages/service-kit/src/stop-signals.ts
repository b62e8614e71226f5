/** The signals that ask a process to stop. */
import { constants } from 'node:os'

/** SIGHUP: the terminal was closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Ctrl-C reaches every process of the terminal, and npm passes it on once more: a signal within so many ms of the first one is the same. */
const ONE_KEYSTROKE = 100

export interface StopSignalListener {
  /** The first signal: stop in order. @param exitCode what a shell reports for a process that this signal ended */
  first(name: NodeJS.Signals, exitCode: number): void
  /** A later signal: end at once. */
  again(name: NodeJS.Signals, exitCode: number): void
}

export function onStopSignals(listener: StopSignalListener): void {
  let firstAt: number | null = null
  for (const name of STOP_SIGNALS) {
    const exitCode = 128 + constants.signals[name]
    process.on(name, () => {
      if (firstAt !== null && performance.now() - firstAt >= ONE_KEYSTROKE) listener.again(name, exitCode)
      if (firstAt !== null) return
      firstAt = performance.now()
      listener.first(name, exitCode)
    })
  }
}
