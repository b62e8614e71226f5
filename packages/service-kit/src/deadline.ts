/** Deadlines for promises: the Kafka client has calls that wait without a limit, and no service may hang. */

export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed'
}

/**
 * Resolves or rejects like `promise`, but rejects after `ms` at the latest. The promise itself is not cancelled; its result is ignored then.
 * @param what the subject of the error's message
 * @throws DeadlinePassed after `ms`; the signal's reason once it is aborted
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

/** How often progress is checked within the limit: a silence is noticed at most a quarter of the limit late. */
const CHECKS = 4

/**
 * Resolves or rejects like `promise`, but rejects once `progress` has not changed for `ms`: so a large answer may take long on a slow line, as
 * long as bytes arrive. After the process itself was frozen, a full silence is needed again.
 * @throws DeadlinePassed whose message begins with `what`
 */
export async function withSilenceLimit<T>(promise: Promise<T>, progress: () => number, ms: number, what: string): Promise<T> {
  const ended = Promise.withResolvers<never>()
  let seen = progress()
  let silent = 0
  const timer = setInterval(() => {
    silent = progress() === seen ? silent + 1 : 0
    seen = progress()
    if (silent >= CHECKS) ended.reject(new DeadlinePassed(`${what}: nothing came for ${ms} ms`))
  }, ms / CHECKS)
  try {
    return await Promise.race([promise, ended.promise])
  } finally {
    clearInterval(timer)
  }
}
