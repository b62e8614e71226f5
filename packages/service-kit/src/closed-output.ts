/** Lets a process continue after the reader of its output has closed the pipe (EPIPE). */

/** Without a listener the error would be an uncaught exception, and reporting that exception would fail in the same way. */
export function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}
