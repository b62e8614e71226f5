/**
 * The PokeAPI client. A request passes these layers, from the caller to the wire:
 *
 * 1. cache (undici, on `response-cache.ts`): within its freshness an answer is given without a request, later it is asked for with its ETag
 * 2. `revalidation.ts`: an answer that still holds is kept for another term
 * 3. retry (undici, by `retry-policy.ts`): back-off with jitter, or as long as Retry-After says
 * 4. `answer-check.ts`: a deadline for the whole answer; only a good one passes, reduced to what is kept of it
 * 5. decompress (undici), with a bound on what comes out
 * 6. redirect (undici), a few hops
 * 7. `same-origin.ts`: none of them elsewhere
 * 8. `request-limit.ts`: so many requests a second on the wire, and so many at once
 * 9. `connections.ts`: a pool of connections (undici), straight or by a proxy: time-outs, and a bound on the body
 *
 * The cache is above the check, so nothing but a Pokémon is ever cached, whatever the headers allow; and what is cached are the 100 bytes that
 * the event carries rather than a body of 105 kB.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PokemonEvent } from '@poke-api-pipeline/pokemon-event'
import { type Clock, shownProxy, systemClock } from '@poke-api-pipeline/service-kit'
import { type Dispatcher, interceptors } from 'undici'
import manifest from '../../../package.json' with { type: 'json' }
import type { PokeApi } from '../../application/ports.ts'
import type { Capture } from '../../entities/pokemon.ts'
import { PokeApiError } from '../../errors.ts'
import { answerCheck } from './answer-check.ts'
import { openConnections } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { type AttemptFailureKind, FailedAttempt } from './failed-attempt.ts'
import type { PokeApiObserver, RequestOutcome } from './poke-api-observer.ts'
import { readReducedPokemon, reducePokemonBody } from './pokemon-body.ts'
import { type ListPage, MOST_POKEMON, readReducedList, reduceListBody } from './pokemon-list.ts'
import { RequestLimit } from './request-limit.ts'
import { ResponseCache } from './response-cache.ts'
import { retryPolicy } from './retry-policy.ts'
import { revalidation } from './revalidation.ts'
import { sameOrigin } from './same-origin.ts'

export interface PokeApiClientOptions {
  /** Where the API is, up to and with its version: `https://pokeapi.co/api/v2`. A slash at the end changes nothing. */
  readonly url: string
  /** The proxy by which it is reached. Default: none. */
  readonly proxy?: URL | null
  /** Requests a second on the wire, at most; 0: unlimited. */
  readonly maxRate: number
  /** Requests at once on the wire, at most. Default: 32. */
  readonly maxAtOnce?: number
  /** The SQLite file of the cache, in a folder that exists. */
  readonly cacheFile: string
  /** Longest that one answer may take, in ms. Default: 30 s. */
  readonly timeout?: number
  /** At most so many attempts at one request. Default: 5. */
  readonly maxAttempts?: number
  /** Largest body that is taken in, in bytes. Default: 4 MiB; PokeAPI's largest Pokémon has 0.6. */
  readonly maxBody?: number
  /** Names this service to the API. */
  readonly userAgent?: string
  readonly observer?: PokeApiObserver
  /** For delays: the system's date may be set while the client waits. */
  readonly clock?: Clock
  /** For captures and the cache: ms since 1970. */
  readonly date?: () => number
}

/** The API's list is asked for in one page; where it has several all the same, they are followed. */
const WHOLE_LIST = `pokemon?limit=${MOST_POKEMON}`
/** All pages of a list together may take so many times as long as one answer. */
const LONGEST_LIST = 10
const MOST_REDIRECTS = 3
/** Longest for a connection to be made, and between two pieces of a body, in ms. */
const LONGEST_SILENCE = 10_000

/** What is asked for. */
interface Wanted<T> {
  readonly wanted: Exchange['wanted']
  /** From a whole body what is kept of it. @throws FailedAttempt where it is not what is asked for */
  readonly reduce: (body: Buffer) => Buffer
  /** The way back; null where that was not written by `reduce`. */
  readonly read: (kept: Buffer) => T | null
}

interface Response {
  readonly headers: Dispatcher.ResponseData['headers']
  readonly body: Buffer
}

interface Obtained<T> {
  readonly value: T
  readonly origin: Capture['origin']
}

const LIST_PAGE: Wanted<ListPage> = { wanted: 'list', reduce: reduceListBody, read: readReducedList }

export class PokeApiClient implements PokeApi {
  readonly #base: URL
  readonly #headers: Record<string, string>
  readonly #date: () => number
  readonly #observer: PokeApiObserver
  readonly #cache: ResponseCache
  readonly #limit: RequestLimit
  readonly #longestList: number
  readonly #connections: Dispatcher
  readonly #proxy: string | null
  /** Without the cache. */
  readonly #wire: Dispatcher
  readonly #dispatcher: Dispatcher

  /** @throws PokeApiError where the cache cannot be opened */
  constructor(options: PokeApiClientOptions) {
    const {
      url,
      proxy = null,
      timeout = 30_000,
      maxAtOnce = 32,
      maxAttempts = 5,
      maxBody = 4 * 1024 * 1024,
      userAgent = `poke-api-pipeline/${manifest.version} (poke-api-producer)`,
      observer = silent,
      clock = systemClock(),
      date = Date.now,
    } = options
    this.#base = new URL(url.endsWith('/') ? url : `${url}/`)
    this.#headers = { accept: 'application/json', 'accept-encoding': 'gzip, br', 'user-agent': userAgent }
    this.#proxy = proxy && shownProxy(proxy)
    this.#date = date
    this.#longestList = timeout * LONGEST_LIST
    this.#observer = observer
    this.#cache = new ResponseCache({ file: options.cacheFile, now: date, failed: (message) => observer.cacheFailed(message) })
    this.#limit = new RequestLimit({ maxRate: options.maxRate, maxAtOnce, clock })
    this.#connections = openConnections({
      origin: this.#base.origin,
      proxy,
      // undici lets a connection rest after an answer until it has seen whether the other side closes it; the next request goes through a spare one.
      most: 2 * maxAtOnce,
      silence: Math.min(timeout, LONGEST_SILENCE),
      timeout,
      maxBody,
    })
    const policy = retryPolicy({ maxAttempts, clock, pauseFor: (ms) => this.#limit.pauseFor(ms) })
    // undici composes from the wire to the caller.
    this.#wire = this.#connections.compose(
      this.#limit.interceptor,
      sameOrigin(this.#base.origin),
      interceptors.redirect({ maxRedirections: MOST_REDIRECTS, throwOnMaxRedirect: true }),
      interceptors.decompress({ maxSize: maxBody }),
      answerCheck({ timeout, date, attempted: (seconds, failure) => observer.attempted(seconds, failure) }),
      interceptors.retry({ retry: policy }),
    )
    this.#dispatcher = this.#wire.compose(
      revalidation(this.#cache),
      interceptors.cache({ store: this.#cache, methods: ['GET'], type: 'private' }),
    )
  }

  async list(signal: AbortSignal): Promise<readonly number[]> {
    const ids = new Set<number>()
    const pages: URL[] = []
    const began = performance.now()
    let url: URL | null = new URL(WHOLE_LIST, this.#base)
    let count = 0
    while (url !== null) {
      pages.push(url)
      const page: ListPage | undefined = (await this.#obtain(url, LIST_PAGE, signal))?.value
      if (page === undefined) throw this.#noList(pages, 'answered with status 404')
      const before = ids.size
      for (const id of page.ids) ids.add(id)
      count = page.count
      if (page.next === null) break
      const next = URL.parse(page.next, url)
      if (next?.origin !== url.origin) throw this.#noList(pages, `names a next page that is not its own, ${page.next}`)
      // Each page must bring something new, and nothing beyond what was promised: so pages come to an end.
      if (ids.size === before || ids.size > count) throw this.#noList(pages, 'names next pages without end')
      if (performance.now() - began > this.#longestList)
        throw this.#noList(pages, `did not finish its list within ${this.#longestList / 1000} s, in ${pages.length} pages`)
      url = next
    }
    // A list that was cut short would leave Pokémon out in silence.
    if (ids.size !== count || count === 0) throw this.#noList(pages, `lists ${ids.size} Pokémon and says that there are ${count}`)
    return [...ids].sort((a, b) => a - b)
  }

  async capture(id: number, signal: AbortSignal): Promise<Capture | null> {
    const obtained = await this.#obtain(new URL(`pokemon/${id}/`, this.#base), pokemonOf(id), signal)
    return obtained && { pokemon: obtained.value, time: new Date(this.#date()).toISOString(), origin: obtained.origin }
  }

  async confirm(id: number, signal: AbortSignal): Promise<void> {
    await this.#request(new URL(`pokemon/${id}/`, this.#base), pokemonOf(id), signal, this.#wire)
  }

  /** Aborts what is under way. */
  async close(): Promise<void> {
    const closed = this.#connections.destroy()
    this.#limit.close()
    await closed
    this.#cache.close()
  }

  /** @returns null where the API answers 404 */
  async #obtain<T>(url: URL, wanted: Wanted<T>, signal: AbortSignal): Promise<Obtained<T> | null> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#request(url, wanted, signal)
      if (response === null) return null
      const value = wanted.read(response.body)
      if (value !== null) return { value, origin: response.headers['x-poke-api-origin'] === 'bundled' ? 'bundled' : 'live' }
      // What came over the wire was checked, so this is a cache whose content was changed by other hands.
      this.#forget(url)
      if (attempt === 2)
        throw new PokeApiError('cache', `the cache gave something else than what it got for ${url}: remove it; it fills by itself`)
    }
  }

  async #request<T>(
    url: URL,
    { wanted, reduce }: Wanted<T>,
    signal: AbortSignal,
    dispatcher: Dispatcher = this.#dispatcher,
  ): Promise<Response | null> {
    const exchange: Exchange = { url: url.href, proxy: this.#proxy, wanted, reduce, attempts: 0, began: 0, status: 0, distrusted: false }
    try {
      const response = await dispatcher.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: 'GET',
        headers: this.#headers,
        signal,
        opaque: exchange,
      })
      const body = Buffer.from(await response.body.arrayBuffer())
      // Answers from the cache come without a turn of the event loop: a thousand of them in a row would keep everybody else waiting.
      if (exchange.attempts === 0) await nextTurn()
      this.#observer.requested(outcomeOf(exchange))
      return response.statusCode === 404 ? null : { headers: response.headers, body }
    } catch (error) {
      signal.throwIfAborted()
      this.#observer.requested('failed')
      throw error instanceof FailedAttempt ? finalError(error, exchange) : error
    }
  }

  #forget(url: URL): void {
    this.#cache.delete({ origin: url.origin, method: 'GET', path: url.pathname + url.search })
  }

  /** The pages are asked for anew next time: each of them is a list, but together they are not. */
  #noList(pages: readonly URL[], why: string): PokeApiError {
    for (const page of pages) this.#forget(page)
    return new PokeApiError('not-a-list', `PokeAPI at ${pages.at(-1)} ${why}: ${ADVICE['not-a-list']}`)
  }
}

const silent: PokeApiObserver = { requested() {}, attempted() {}, cacheFailed() {} }

function pokemonOf(id: number): Wanted<PokemonEvent> {
  return { wanted: 'pokemon', reduce: (body) => reducePokemonBody(body, id), read: (kept) => readReducedPokemon(kept, id) }
}

function outcomeOf({ attempts, status }: Exchange): RequestOutcome {
  if (attempts === 0) return 'hit'
  return status === 304 ? 'revalidated' : 'fetched'
}

const CHECK_URL = 'check what answers there, and POKE_API_URL'
const LATER = 'it is tried again later'
const ADVICE: Record<AttemptFailureKind, string> = {
  unreachable: `check the network and POKE_API_URL; ${LATER}`,
  tls: LATER,
  deadline: LATER,
  status: LATER,
  'rate-limited': `lower POKE_API_MAX_RATE; ${LATER}`,
  redirected: 'set POKE_API_URL to the API itself',
  'too-large': CHECK_URL,
  'not-a-pokemon': CHECK_URL,
  'not-a-list': CHECK_URL,
  proxy: `check the proxy, and HTTP_PROXY, HTTPS_PROXY and NO_PROXY; ${LATER}`,
}

function finalError(failure: FailedAttempt, { url, attempts, proxy }: Exchange): PokeApiError {
  const times = attempts > 1 ? ` in the last of ${attempts} attempts` : ''
  // A failure of the proxy names it already.
  const by = proxy === null || failure.kind === 'proxy' ? '' : ` (by the proxy ${proxy})`
  // What comes through a proxy may be the proxy's own: another program on its port, say.
  const advice =
    proxy !== null && failure.kind === 'unreachable' ? ADVICE.proxy.replace('the proxy,', 'the network, the proxy,') : ADVICE[failure.kind]
  return new PokeApiError(failure.kind, `PokeAPI at ${url}${by} ${failure.message}${times}: ${advice}`, {
    cause: failure,
    reason: failure.reason,
  })
}
