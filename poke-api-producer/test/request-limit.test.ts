/** The limits of requests, on a clock that tests set: neither too many in a second nor too many at once, and every request gets its turn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import type { Controller, Exchange, Handler } from '../src/infrastructure/poke-api/exchange.ts'
import { RequestLimit } from '../src/infrastructure/poke-api/request-limit.ts'
import { InstantClock } from './instant-clock.ts'

const UNLIMITED = Number.POSITIVE_INFINITY

interface Limited {
  /** Makes a request, and resolves when it was let through or failed. */
  request(name: string, signal?: AbortSignal): Promise<void>
  /** Which were let through, and when. */
  readonly started: { name: string; at: number }[]
  readonly limit: RequestLimit
  readonly clock: InstantClock
}

function limited(maxRate: number): Limited {
  const clock = new InstantClock({ start: 0 })
  const limit = new RequestLimit({ maxRate, maxAtOnce: UNLIMITED, clock })
  const started: Limited['started'] = []
  const dispatch = limit.interceptor((options, handler) => {
    started.push({ name: options.path, at: clock.now() })
    handler.onResponseEnd?.({ aborted: false } as Controller, {})
    return true
  })
  return {
    limit,
    clock,
    started,
    request: (path, signal = new AbortController().signal) =>
      new Promise((resolve, reject) => {
        const handler: Handler = { onResponseEnd: () => resolve(), onResponseError: (_controller, error) => reject(error) }
        dispatch(requestFor(path, signal), handler)
      }),
  }
}

function requestFor(path: string, signal = new AbortController().signal): Dispatcher.DispatchOptions {
  return { path, method: 'GET', signal, headers: {}, opaque: { began: 0 } as Exchange } as never
}

/** A limit of requests at once alone, above a wire whose answers the test brings about. */
function limitedAtOnce(maxAtOnce: number) {
  const clock = new InstantClock({ start: 0 })
  const limit = new RequestLimit({ maxRate: 0, maxAtOnce, clock })
  /** What happened, in order. */
  const told: string[] = []
  const onWire = new Map<string, { readonly handler: Handler; readonly controller: { aborted: boolean; reason: Error | null } }>()
  const dispatch = limit.interceptor(({ path }, handler) => {
    told.push(`${path} out`)
    onWire.set(path, { handler, controller: { aborted: false, reason: null } })
    return true
  })
  const taken = (path: string, status = 200) => {
    const { handler, controller } = onWire.get(path) ?? assert.fail(`${path} is not on the wire`)
    onWire.delete(path)
    if (status !== 200) handler.onResponseStart?.(controller as Controller, status, {}, '')
    return { handler, controller: controller as Controller & { aborted: boolean; reason: Error | null } }
  }
  return {
    limit,
    told,
    dispatch,
    request: (path: string) =>
      dispatch(requestFor(path), {
        onResponseEnd: () => told.push(`${path} read`),
        onResponseError: (_controller, error) => told.push(`${path} failed: ${error.message}`),
      }),
    /** The answer arrives. @returns a way to abort the request afterwards */
    arrives(path: string, status = 200): (reason: Error) => void {
      const { handler, controller } = taken(path, status)
      handler.onResponseEnd?.(controller, {})
      return (reason) => Object.assign(controller, { aborted: true, reason })
    },
    breaksOff(path: string): void {
      const { handler, controller } = taken(path)
      handler.onResponseError?.(controller, new Error('broken off'))
    },
  }
}

test('sends no more requests than allowed in any second', async () => {
  const { request, started } = limited(10)
  await Promise.all(Array.from({ length: 100 }, (_, index) => request(String(index))))
  for (const { at } of started) {
    const within = started.filter((other) => other.at >= at && other.at < at + 1000).length
    assert.ok(within <= 10, `${within} within the second from ${at}`)
  }
  assert.equal(started.at(-1)?.at, 9900)
})

test('sends requests in the order in which they came', async () => {
  const { request, started } = limited(10)
  const names = Array.from({ length: 20 }, (_, index) => String(index))
  await Promise.all(names.map((name) => request(name)))
  assert.deepEqual(
    started.map(({ name }) => name),
    names,
  )
})

test('does not save up requests while there are none', async () => {
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

test('keeps to a rate below one request a second', async () => {
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

test('starts no request during a pause that the API asked for, even without a limit', async () => {
  const { request, limit, started } = limited(0)
  limit.pauseFor(5000)
  limit.pauseFor(1000)
  await Promise.all(['a', 'b'].map((name) => request(name)))
  assert.deepEqual(
    started.map(({ at }) => at),
    [5000, 5000],
  )
})

test('gives the turn of an aborted request to the next one', async () => {
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
  const limit = new RequestLimit({
    maxRate: 10,
    maxAtOnce: UNLIMITED,
    clock: {
      now: () => now,
      wait: async (ms) => {
        now += ms
      },
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

test('sends so many requests at once, and the next one before the arrived answer is read', async () => {
  const { request, arrives, breaksOff, told } = limitedAtOnce(2)
  for (const path of ['a', 'b', 'c', 'd']) request(path)
  assert.deepEqual(told.splice(0), ['a out', 'b out'])
  arrives('b')
  assert.deepEqual(told.splice(0), ['c out'])
  await nextTurn()
  assert.deepEqual(told.splice(0), ['b read'])
  breaksOff('a')
  assert.deepEqual(told.splice(0), ['d out', 'a failed: broken off'])
  arrives('c')
  arrives('d')
  await nextTurn()
  request('e')
  assert.deepEqual(told, ['c read', 'd read', 'e out'])
})

test('reports an abort between the arrival of an answer and its reading', async () => {
  const { request, arrives, told } = limitedAtOnce(1)
  request('a')
  const abort = arrives('a')
  abort(new Error('enough'))
  await nextTurn()
  assert.deepEqual(told, ['a out', 'a failed: enough'])
})

test('a refusal is read before the next request is sent, because it may ask for a pause', async () => {
  const { request, arrives, told } = limitedAtOnce(1)
  for (const path of ['a', 'b', 'c']) request(path)
  arrives('a', 429)
  assert.deepEqual(told, ['a out'])
  await nextTurn()
  assert.deepEqual(told.splice(0), ['a out', 'a read', 'b out'])
  arrives('b', 404)
  assert.deepEqual(told, ['c out'])
})

test('an answer whose reader throws has failed, and the next request is sent', async () => {
  const { dispatch, arrives, told } = limitedAtOnce(1)
  dispatch(requestFor('a'), {
    onResponseEnd: () => {
      throw new Error('cannot be read')
    },
    onResponseError: (_controller, error) => told.push(`a failed: ${error.message}`),
  })
  arrives('a')
  await nextTurn()
  dispatch(requestFor('b'), {})
  assert.deepEqual(told, ['a out', 'a failed: cannot be read', 'b out'])
})

test('sends all waiting requests when it is closed: they fail at the closed pool', () => {
  const { request, limit, told } = limitedAtOnce(1)
  for (const path of ['a', 'b', 'c']) request(path)
  limit.close()
  assert.deepEqual(told, ['a out', 'b out', 'c out'])
})
