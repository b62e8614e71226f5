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

/** How often progress is looked at: a silence is noticed late by at most this part of its limit. */
const LOOKS = 4

/**
 * Settles as `promise` does, or rejects once `progress` has not changed for `ms`: an answer of megabytes may take its time on a slow
 * line, as long as it keeps coming. A process that was frozen looks again before it judges.
 * @throws DeadlinePassed naming `what`
 */
export async function withSilenceLimit<T>(promise: Promise<T>, progress: () => number, ms: number, what: string): Promise<T> {
  const ended = Promise.withResolvers<never>()
  let seen = progress()
  let silent = 0
  const timer = setInterval(() => {
    silent = progress() === seen ? silent + 1 : 0
    seen = progress()
    if (silent >= LOOKS) ended.reject(new DeadlinePassed(`${what}: nothing came for ${ms} ms`))
  }, ms / LOOKS)
  try {
    return await Promise.race([promise, ended.promise])
  } finally {
    clearInterval(timer)
  }
}
