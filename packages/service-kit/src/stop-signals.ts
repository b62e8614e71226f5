/** The signals that ask a process to stop. */
import { constants } from 'node:os'

/** SIGHUP: the terminal was closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Ctrl-C sends a signal to every process of the terminal, and npm sends it on once more. A signal this soon after the first one, in ms, is ignored. */
const ONE_KEYSTROKE = 100

export interface StopSignalListener {
  /** The first signal: stop gracefully. @param exitCode what a shell reports for a process that this signal ended */
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
