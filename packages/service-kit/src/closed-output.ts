/** What happens when whoever reads our output goes away: nothing. */

/** Without a listener that would be an uncaught exception, whose report fails in the same way, and so on. */
export function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}
