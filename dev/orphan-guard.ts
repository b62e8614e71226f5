/** Ends the child processes of this process when it ends without stopping them: by SIGKILL, a crash or a closed terminal. */
import { spawn } from 'node:child_process'

/**
 * Starts a shell that waits for the end of a pipe from here and then runs the command. The system closes the pipe however this process ends.
 * @param command for a POSIX shell; `$1`… are the arguments
 * @returns a function that ends the shell without running the command
 */
export function whenThisProcessEnds(command: string, ...args: string[]): () => void {
  // A process group of its own: Ctrl-C in a terminal reaches the whole group, and the guard must outlive this process.
  const guard = spawn('/bin/sh', ['-c', `read -r _; ${command}`, 'orphan-guard', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.on('error', () => undefined) // without /bin/sh there is no guard, and everything else works
  guard.unref()
  const pipe = guard.stdin as unknown as { unref(): void; on(event: 'error', listener: () => void): void }
  pipe.on('error', () => undefined)
  pipe.unref()
  return () => guard.kill('SIGKILL')
}

/** For `whenThisProcessEnds`: asks the process `$1` to end, and kills it after five seconds. */
export const END_PROCESS = 'kill -TERM "$1" || exit; for _ in 1 2 3 4 5; do sleep 1; kill -0 "$1" || exit; done; kill -KILL "$1"'
