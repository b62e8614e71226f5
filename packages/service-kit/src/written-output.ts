/** Waits for the output of this process before the process ends. */

/**
 * Resolves when everything that was written has reached its reader, or the reader has closed the pipe. A pipe holds 64 KiB; the rest waits in this
 * process, and `process.exit` would drop it.
 */
export async function outputWritten(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => stream.write('', () => resolve()))))
}
