/**
 * The layer below the cache: when PokeAPI confirms a cached answer (304), the cache gets the whole answer with the new headers, so it stores the answer
 * for another term (RFC 9111, 4.3.4). Without this layer, undici's cache removes an entry when a 304 has a Cache-Control, and the next request would
 * fetch the body again.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { type Handler, isConditional, layer } from './exchange.ts'
import type { CachedAnswer, ResponseCache } from './response-cache.ts'

export function revalidation(cache: ResponseCache): Dispatcher.DispatcherComposeInterceptor {
  return layer((below) => (request, handler) => {
    if (!isConditional(request)) return below(request, handler)
    const cached = cache.get({ origin: String(request.origin), method: request.method, path: request.path, headers: request.headers })
    return below(request, cached === undefined ? handler : confirming(cached, handler))
  })
}

function confirming(cached: CachedAnswer, handler: Handler): Handler {
  let confirmed = false
  return {
    onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
    onResponseStart(controller, status, headers, message) {
      // A 304 with another ETag confirms another answer: then undici fetches the body.
      confirmed = status === 304 && (headers.etag === undefined || opaqueTag(String(headers.etag)) === opaqueTag(cached.etag ?? ''))
      if (confirmed) handler.onResponseStart?.(controller, cached.statusCode, freshened(cached.headers, headers), cached.statusMessage)
      else handler.onResponseStart?.(controller, status, headers, message ?? '')
    },
    onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
    onResponseEnd(controller, trailers) {
      if (confirmed) handler.onResponseData?.(controller, cached.body)
      handler.onResponseEnd?.(controller, trailers)
    },
    onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
  }
}

/** The new headers over the old ones, without the old date, which would make the answer stale at once. */
function freshened(old: CachedAnswer['headers'], now: IncomingHttpHeaders): IncomingHttpHeaders {
  const { date: _, ...kept } = old
  return { ...kept, ...now }
}

/** Weak comparison (RFC 9110, 8.8.3.2). */
function opaqueTag(etag: string): string {
  return etag.replace(/^W\//, '')
}
