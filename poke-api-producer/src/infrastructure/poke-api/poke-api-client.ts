/**
 * The PokeAPI client. A request passes these layers, from the caller to the wire:
 *
 * 1. cache (undici, on `response-cache.ts`): a fresh answer needs no request; a stale one is requested with its ETag
 * 2. `revalidation.ts`: a confirmed answer is fresh for another term
 * 3. retry (undici, by `retry-policy.ts`): back-off with jitter, or as long as Retry-After says
 * 4. `answer-check.ts`: a deadline for the whole answer; only a valid one passes, reduced to the facts that are kept
 * 5. decompress (undici), with a bound on the result
 * 6. redirect (undici), a few hops
 * 7. `same-origin.ts`: no redirect to another origin
 * 8. `request-limit.ts`: a bound on requests a second, and on requests at once
 * 9. `connections.ts`: a pool of connections (undici), direct or through a proxy: time-outs, and a bound on the body
 *
 * The cache is above the check, so only Pokémon and lists are ever cached, whatever the headers allow; and an entry has the 100 bytes of the event
 * rather than the body of 105 kB.
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
  /** The URL of the API, including its version: `https://pokeapi.co/api/v2`, with or without a slash at the end. */
  readonly url: string
  /** The proxy for all requests. Default: none. */
  readonly proxy?: URL | null
  /** Most requests a second on the wire; 0: unlimited. */
  readonly maxRate: number
  /** Most requests at once on the wire. Default: 32. */
  readonly maxAtOnce?: number
  /** The SQLite file of the cache, in a folder that exists. */
  readonly cacheFile: string
  /** How long one answer may take, in ms. Default: 30 s. */
  readonly timeout?: number
  /** Most attempts at one request. Default: 5. */
  readonly maxAttempts?: number
  /** Largest body, in bytes. Default: 4 MiB; PokeAPI's largest Pokémon has 0.6 MiB. */
  readonly maxBody?: number
  /** Names this service to the API. */
  readonly userAgent?: string
  readonly observer?: PokeApiObserver
  /** For delays: the system's date may be set while the client waits. */
  readonly clock?: Clock
  /** For captures and the cache: ms since 1970. */
  readonly date?: () => number
}

/** Requests the whole list in one page. If the API answers with several pages all the same, they are followed. */
const WHOLE_LIST = `pokemon?limit=${MOST_POKEMON}`
/** All pages of a list together may take this many times as long as one answer. */
const LONGEST_LIST = 10
const MOST_REDIRECTS = 3
/** Longest time to connect, and between two pieces of a body, in ms. */
const LONGEST_SILENCE = 10_000

/** What is requested. */
interface Wanted<T> {
  readonly wanted: Exchange['wanted']
  /** Reduces a whole body to the facts that are kept. @throws FailedAttempt where it is something else */
  readonly reduce: (body: Buffer) => Buffer
  /** Reads the result of `reduce`; null where it is something else. */
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
      // After an answer, undici first checks whether the other side closes the connection; meanwhile the next request needs another one.
      most: 2 * maxAtOnce,
      silence: Math.min(timeout, LONGEST_SILENCE),
      timeout,
      maxBody,
    })
    const policy = retryPolicy({ maxAttempts, clock, pauseFor: (ms) => this.#limit.pauseFor(ms) })
    // undici composes layers from the wire to the caller.
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
      if (next?.origin !== url.origin) throw this.#noList(pages, `names a next page at another origin, ${page.next}`)
      // Each page must have new ids, and all pages together no more than `count`, so the pages come to an end.
      if (ids.size === before || ids.size > count) throw this.#noList(pages, 'names next pages without end')
      if (performance.now() - began > this.#longestList)
        throw this.#noList(pages, `did not finish its list within ${this.#longestList / 1000} s, in ${pages.length} pages`)
      url = next
    }
    // A truncated list would silently leave Pokémon out.
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

  /** Aborts all requests. */
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
      // Answers from the wire are checked, so somebody has changed the content of the cache.
      this.#forget(url)
      if (attempt === 2)
        throw new PokeApiError('cache', `the cache has a changed entry for ${url}: remove the file of the cache; it is filled again`)
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
      // Answers from the cache take no turn of the event loop: a thousand of them in a row would block everything else.
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

  /** Removes the pages from the cache, so that they are requested again: each page is valid, but together they are not a list. */
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

const CHECK_URL = 'check which server answers there, and POKE_API_URL; this is retried later'
const LATER = 'this is retried later'
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
  // The message of a proxy's failure names the proxy already.
  const through = proxy === null || failure.kind === 'proxy' ? '' : ` (through the proxy ${proxy})`
  // The cause may be the proxy, or another program on its port.
  const advice =
    proxy !== null && failure.kind === 'unreachable' ? ADVICE.proxy.replace('the proxy,', 'the network, the proxy,') : ADVICE[failure.kind]
  return new PokeApiError(failure.kind, `PokeAPI at ${url}${through} ${failure.message}${times}: ${advice}`, {
    cause: failure,
    reason: failure.reason,
  })
}
