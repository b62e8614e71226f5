/** Ends this process even where a disk hangs. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Calls to a disk that are under way are given so long to end, in ms. */
const PATIENCE = 500

/** Calls that have not ended: of the whole process, as the threads are that they are made in. */
const underWay = new Set<Promise<unknown>>()

/** Lets `endProcess` know of a call to a disk that may never answer, a network share say. @returns the same promise */
export function onDisk<T>(call: Promise<T>): Promise<T> {
  const over = () => underWay.delete(call)
  underWay.add(call)
  call.then(over, over)
  return call
}

let ending: Promise<never> | null = null

/**
 * Ends this process: before this returns where no call to a disk is under way, else as soon as they have ended or their time is over. `process.exit` waits for the threads that system calls are made
 * in: for ever, where a disk does not answer. Then the process kills itself, and its exit code is lost. Of several calls the first counts.
 */
export function endProcess(exitCode: number): Promise<never> {
  ending ??= end(exitCode)
  return ending
}

async function end(exitCode: number): Promise<never> {
  const patientUntil = performance.now() + PATIENCE
  while (underWay.size > 0 && performance.now() < patientUntil) await sleep(10)
  if (underWay.size > 0) {
    process.kill(process.pid, 'SIGKILL')
    // The first process of a container is not killed by a signal of its own.
    process.abort()
  }
  process.exit(exitCode)
}
