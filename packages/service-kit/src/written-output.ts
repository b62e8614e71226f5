/** Output that has arrived, before anything ends. */

/**
 * Resolves when all that was written so far is with whoever reads it, or nobody reads it any more. A pipe takes 64 KiB at once; what is written
 * beyond that waits in this process, and `process.exit` would drop it.
 */
export async function outputWritten(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => stream.write('', () => resolve()))))
}
