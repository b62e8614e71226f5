/** Ends what this process started when this process dies without a chance to do it itself (SIGKILL, a crash, a closed terminal). */
import { spawn } from 'node:child_process'

/**
 * Starts a shell that waits for the end of a pipe from here and then runs the command. The system closes the pipe whatever ends this process.
 * @param command POSIX shell; `$1`… are the arguments
 * @returns ends the watch, the command never runs
 */
export function whenThisProcessDies(command: string, ...args: string[]): () => void {
  // A process group of its own: Ctrl-C in a terminal reaches the whole group, and the guard must outlive this process.
  const guard = spawn('/bin/sh', ['-c', `read -r _; ${command}`, 'orphan-guard', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.on('error', () => undefined) // no /bin/sh: there is nobody to watch, and that alone must not stop anything
  guard.unref()
  const pipe = guard.stdin as unknown as { unref(): void; on(event: 'error', listener: () => void): void }
  pipe.on('error', () => undefined)
  pipe.unref()
  return () => guard.kill('SIGKILL')
}

/** For `whenThisProcessDies`: asks the process `$1` to end, and after five seconds ends it. */
export const END_PROCESS = 'kill -TERM "$1" || exit; for _ in 1 2 3 4 5; do sleep 1; kill -0 "$1" || exit; done; kill -KILL "$1"'
