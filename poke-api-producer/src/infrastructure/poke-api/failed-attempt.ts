/** Why one attempt on the wire failed, and whether a retry can help. */
import { printable, tlsFailure } from '@poke-api-pipeline/service-kit'
import type { PokeApiErrorKind } from '../../errors.ts'
import type { Exchange } from './exchange.ts'

export type AttemptFailureKind = Exclude<PokeApiErrorKind, 'cache'>

/** Most characters that are quoted from others. */
const MOST_DETAILS = 500
const AUTHORITY = 'set NODE_EXTRA_CA_CERTS to a file with the certificate of that authority'

export interface FailedAttemptOptions extends ErrorOptions {
  /** Whether it is retried soon. Default: true. */
  readonly retry?: boolean
  /** How long the answer's Retry-After asks to wait, in ms. */
  readonly retryAfter?: number | null
  /** What is wrong, in a few words. Default: the message. */
  readonly reason?: string
}

/** Its message follows the URL: "https://… answered with status 500". */
export class FailedAttempt extends Error {
  override readonly name = 'FailedAttempt'
  readonly kind: AttemptFailureKind
  readonly retry: boolean
  readonly retryAfter: number | null
  readonly reason: string

  constructor(kind: AttemptFailureKind, message: string, options: FailedAttemptOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.retry = options.retry ?? true
    this.retryAfter = options.retryAfter ?? null
    this.reason = options.reason ?? message
  }
}

/** A body that is not the requested Pokémon or list. @param why follows "returned …" */
export function unfit(wanted: Exchange['wanted'], why: string, options?: FailedAttemptOptions): FailedAttempt {
  return new FailedAttempt(wanted === 'list' ? 'not-a-list' : 'not-a-pokemon', `returned ${why}`, options)
}

/**
 * Describes an error of undici, the network or a decompressor.
 * @returns the same error where it is another one: a mistake in the program is not retried
 */
export function failedAttempt(error: Error & { code?: string }, { url, wanted, proxy }: Exchange): Error {
  // undici gives no code to an answer that is not HTTP.
  if (error.name === 'HTTPParserError')
    return new FailedAttempt('unreachable', `returned something other than HTTP (${printable(error.message, MOST_DETAILS)})`, {
      cause: error,
    })
  if (error instanceof FailedAttempt || typeof error.code !== 'string') return error
  const details = detailsOf(error)
  const options = { cause: error }
  if (proxy !== null && isOfTunnel(error, url))
    return new FailedAttempt('deadline', `did not begin TLS in time through the tunnel of the proxy (${details})`, options)
  if (proxy !== null && isOfProxy(error)) return proxyFailure(proxy, error, details)
  switch (error.code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return new FailedAttempt('deadline', `did not continue its answer in time (${details})`, options)
    case 'UND_ERR_CONNECT_TIMEOUT':
      return new FailedAttempt('unreachable', `could not be connected to in time (${details})`, options)
    case 'UND_ERR_RES_EXCEEDED_MAX_SIZE':
      return new FailedAttempt('too-large', `returned a body that is larger than any Pokémon (${details})`, { ...options, retry: false })
    case 'UND_ERR_REDIRECT_MAX':
    case 'UND_ERR_INVALID_ARG': {
      const endless = error.code === 'UND_ERR_REDIRECT_MAX' || error.message.startsWith('Redirect loop')
      const where = endless ? 'without end' : 'to an address that is not on the web'
      return new FailedAttempt('redirected', `redirects ${where} (${details})`, { ...options, retry: false })
    }
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_DESTROYED':
      return new FailedAttempt('unreachable', 'got no request, because the client is closed', { ...options, retry: false })
  }
  if (isOfConnecting(error)) return new FailedAttempt('unreachable', `could not be reached: ${details}`, options)
  // zlib's codes.
  if (/^(Z_|ERR_.*DECOMPRESSION|ERR__ERROR_|ZSTD_)/.test(error.code))
    return unfit(wanted, `a body that cannot be decompressed (${details})`, options)
  const tls = tlsFailure([error, ...(error instanceof AggregateError ? error.errors : [])], AUTHORITY)
  if (tls !== null) return new FailedAttempt('tls', tls, options)
  return new FailedAttempt('unreachable', `could not be reached, or the connection broke (${details})`, options)
}

/** undici's message for a tunnel that the proxy did not open. */
const REFUSED_TUNNEL = /^Proxy response \((\d+)\)/

/** This service connects only to the proxy. So a failure before there is a connection to the API is the proxy's. */
function isOfProxy(error: Error & { code?: string }): boolean {
  return (
    isOfConnecting(error) ||
    ['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_PRX_CONN', 'UND_ERR_PRX_TLS'].includes(error.code ?? '') ||
    REFUSED_TUNNEL.test(error.message)
  )
}

/** The proxy has opened its tunnel, and nothing comes through it: for undici, TLS with the API is a part of connecting. */
function isOfTunnel({ code, message }: Error & { code?: string }, url: string): boolean {
  const { hostname, port } = new URL(url)
  return code === 'UND_ERR_CONNECT_TIMEOUT' && message.includes(`attempted address: ${hostname}:${port || 443},`)
}

/** Whether no connection was made. */
function isOfConnecting(error: Error): boolean {
  const errors = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [error as NodeJS.ErrnoException]
  return errors.some(({ syscall }) => syscall === 'connect' || syscall === 'getaddrinfo')
}

function proxyFailure(proxy: string, error: Error, details: string): FailedAttempt {
  const status = REFUSED_TUNNEL.exec(error.message)?.[1]
  if (status === undefined) {
    const hungUp = (error as NodeJS.ErrnoException).code === 'UND_ERR_PRX_CONN'
    const why = hungUp ? 'closed the connection before it had forwarded the request' : `cannot be reached (${details})`
    return new FailedAttempt('proxy', `got no request, because the proxy ${proxy} ${why}`, { cause: error })
  }
  return refusedByProxy(proxy, Number(status), error)
}

/** A proxy has refused to forward a request. */
export function refusedByProxy(proxy: string, status: number, cause?: Error): FailedAttempt {
  const why = status === 407 ? 'asks for a user and a password, or rejected the given ones' : 'refused to forward the request'
  // A retry within seconds would not change its decision about the user.
  return new FailedAttempt('proxy', `got no request, because the proxy ${proxy} ${why} (status ${status})`, { cause, retry: status >= 500 })
}

/** The error of several tried addresses has no message of its own. */
function detailsOf(error: Error): string {
  const details =
    error instanceof AggregateError && error.errors.length > 0
      ? error.errors.map((each) => (each as Error).message).join('; ')
      : error.message
  return printable(details, MOST_DETAILS)
}
