/** Gives a promise a deadline: the Kafka client retries and waits without end in places, and nothing here may hang. */

export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed'
}

/**
 * Settles as `promise` does, or rejects after `ms`; the promise goes on unheard.
 * @throws DeadlinePassed naming `what`; the signal's reason once it is aborted
 */
export async function withDeadline<T>(promise: Promise<T>, ms: number, what: string, signal?: AbortSignal): Promise<T> {
  const ended = Promise.withResolvers<never>()
  const timer = setTimeout(() => ended.reject(new DeadlinePassed(`${what} took longer than ${ms} ms`)), ms)
  const abort = () => ended.reject(signal?.reason)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort)
  try {
    return await Promise.race([promise, ended.promise])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
