/** The rate limit alone, on a clock that tests move: no second sees more requests than it may, and nobody loses his turn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange, Handler } from '../src/infrastructure/poke-api/exchange.ts'
import { RateLimit } from '../src/infrastructure/poke-api/rate-limit.ts'
import { InstantClock } from './instant-clock.ts'

interface Limited {
  /** Makes a request, and resolves when it was let through or failed. */
  request(name: string, signal?: AbortSignal): Promise<void>
  /** Which were let through, and when. */
  readonly started: { name: string; at: number }[]
  readonly limit: RateLimit
  readonly clock: InstantClock
}

function limited(maxRate: number, clock = new InstantClock(0)): Limited {
  const limit = new RateLimit({ maxRate, now: clock.now, wait: clock.wait })
  const started: Limited['started'] = []
  const dispatch = limit.interceptor((options, handler) => {
    started.push({ name: options.path, at: clock.now() })
    handler.onResponseEnd?.(null as never, {})
    return true
  })
  return {
    limit,
    clock,
    started,
    request: (path, signal = new AbortController().signal) =>
      new Promise((resolve, reject) => {
        const handler: Handler = { onResponseEnd: () => resolve(), onResponseError: (_controller, error) => reject(error) }
        dispatch({ path, method: 'GET', signal, headers: {}, opaque: { began: 0 } as Exchange } as never, handler)
      }),
  }
}

test('lets through so many a second and no more, whichever second one looks at', async () => {
  const { request, started } = limited(10)
  await Promise.all(Array.from({ length: 100 }, (_, index) => request(String(index))))
  for (const { at } of started) {
    const within = started.filter((other) => other.at >= at && other.at < at + 1000).length
    assert.ok(within <= 10, `${within} within the second from ${at}`)
  }
  assert.equal(started.at(-1)?.at, 9900)
})

test('keeps the order in which they came', async () => {
  const { request, started } = limited(10)
  const names = Array.from({ length: 20 }, (_, index) => String(index))
  await Promise.all(names.map((name) => request(name)))
  assert.deepEqual(
    started.map(({ name }) => name),
    names,
  )
})

test('saves nothing up while nobody asks', async () => {
  const { request, started, clock } = limited(10)
  await request('first')
  await clock.wait(60_000, new AbortController().signal)
  await Promise.all(['a', 'b', 'c'].map((name) => request(name)))
  assert.deepEqual(
    started.slice(1).map(({ at }) => at - 60_000),
    [0, 100, 200],
  )
})

test('keeps up with a high rate on a coarse clock', async () => {
  const { request, clock } = limited(1000)
  await Promise.all(Array.from({ length: 2000 }, (_, index) => request(String(index))))
  assert.ok(clock.now() >= 1980 && clock.now() <= 2010, `${clock.now()} ms`)
  assert.ok(clock.waits.length <= 2000)
})

test('takes a rate below one a second', async () => {
  const { request, started } = limited(0.5)
  await Promise.all(['a', 'b', 'c'].map((name) => request(name)))
  assert.deepEqual(
    started.map(({ at }) => at),
    [0, 2000, 4000],
  )
})

test('does not wait without a limit', async () => {
  const { request, clock } = limited(0)
  await Promise.all(Array.from({ length: 1000 }, (_, index) => request(String(index))))
  assert.equal(clock.now(), 0)
})

test('starts nothing while the API is to be left alone, even without a limit', async () => {
  const { request, limit, started } = limited(0)
  limit.leaveAlone(5000)
  limit.leaveAlone(1000)
  await Promise.all(['a', 'b'].map((name) => request(name)))
  assert.deepEqual(
    started.map(({ at }) => at),
    [5000, 5000],
  )
})

test('gives the turn of one that is aborted to the next', async () => {
  const { request, started } = limited(1)
  const abort = new AbortController()
  const reason = new Error('enough')
  const requests = [request('a'), request('b', abort.signal), request('c')]
  abort.abort(reason)
  const [a, b, c] = await Promise.allSettled(requests)
  assert.deepEqual([a?.status, b?.status, c?.status], ['fulfilled', 'rejected', 'fulfilled'])
  assert.equal((b as PromiseRejectedResult).reason, reason)
  assert.deepEqual(started, [
    { name: 'a', at: 0 },
    { name: 'c', at: 1000 },
  ])
})

test('is not stopped by a clock that is set back', async () => {
  let now = 1_000_000
  const limit = new RateLimit({
    maxRate: 10,
    now: () => now,
    wait: async (ms) => {
      now += ms
    },
  })
  const times: number[] = []
  const dispatch = limit.interceptor(() => times.push(now) > 0)
  const request = () => dispatch({ path: '', method: 'GET', signal: new AbortController().signal, opaque: { began: 0 } } as never, {})
  request()
  now = 0
  request()
  while (times.length < 2) await Promise.resolve()
  assert.deepEqual(times, [1_000_000, 100])
})
