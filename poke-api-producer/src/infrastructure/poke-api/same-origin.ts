/** The layer below redirects: it refuses redirects to another origin, so that no other server can answer for the API or see our requests. */
import type { Dispatcher } from 'undici'
import { layer } from './exchange.ts'
import { FailedAttempt } from './failed-attempt.ts'

/** @param origin scheme, host and port of the API, as `URL.origin` writes it */
export function sameOrigin(origin: string): Dispatcher.DispatcherComposeInterceptor {
  return layer((below) => (request, handler) => {
    const target = String(request.origin)
    if (target === origin) return below(request, handler)
    handler.onResponseError?.(
      null as never, // no connection was made, so there is no controller
      new FailedAttempt('redirected', `redirects to another origin, ${target}, which is not followed`, { retry: false }),
    )
    return true
  })
}
