/** Ends this process even if a disk hangs. */
import { setTimeout as sleep } from 'node:timers/promises'

/** How long `endProcess` waits for unfinished calls to a disk, in ms. */
const PATIENCE = 500

/** Unfinished calls of the whole process, because all calls share the threads of the process. */
const unfinished = new Set<Promise<unknown>>()

/** Registers a call to a disk that may never answer, such as a network share, for `endProcess`. @returns the same promise */
export function onDisk<T>(call: Promise<T>): Promise<T> {
  const over = () => unfinished.delete(call)
  unfinished.add(call)
  call.then(over, over)
  return call
}

let ending: Promise<never> | null = null

/**
 * Ends this process: at once if no call to a disk is unfinished, otherwise when all have finished or `PATIENCE` is over. `process.exit` waits for the
 * threads of system calls, for ever if a disk does not answer. In that case the process kills itself, and its exit code is lost. Only the first call of
 * this function has an effect.
 */
export function endProcess(exitCode: number): Promise<never> {
  ending ??= end(exitCode)
  return ending
}

async function end(exitCode: number): Promise<never> {
  const patientUntil = performance.now() + PATIENCE
  while (unfinished.size > 0 && performance.now() < patientUntil) await sleep(10)
  if (unfinished.size > 0) {
    process.kill(process.pid, 'SIGKILL')
    // The first process of a container cannot kill itself by a signal.
    process.abort()
  }
  process.exit(exitCode)
}
