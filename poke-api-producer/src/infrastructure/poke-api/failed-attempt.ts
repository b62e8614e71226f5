/** Why one attempt on the wire brought no answer, and whether another may. */
import { printable, tlsFailure } from '@poke-api-pipeline/service-kit'
import type { PokeApiErrorKind } from '../../errors.ts'
import type { Exchange } from './exchange.ts'

export type AttemptFailureKind = Exclude<PokeApiErrorKind, 'cache'>

/** Characters of what others say. */
const MOST_DETAILS = 500
const AUTHORITY = 'name a file with the certificate of that authority in NODE_EXTRA_CA_CERTS'

export interface FailedAttemptOptions extends ErrorOptions {
  /** Whether it is worth to try once more at once. Default: true. */
  readonly retry?: boolean
  /** What the answer's Retry-After asks to wait, in ms. */
  readonly retryAfter?: number | null
  /** What is wrong, in few words. Default: the message. */
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

/** A body that is not what was asked for. @param why follows "gave …" */
export function unfit(wanted: Exchange['wanted'], why: string, options?: FailedAttemptOptions): FailedAttempt {
  return new FailedAttempt(wanted === 'list' ? 'not-a-list' : 'not-a-pokemon', `gave ${why}`, options)
}

/**
 * What undici, the network or a decompressor reported, in our words.
 * @returns the same error where it is none of theirs: a mistake in the program is not tried again
 */
export function failedAttempt(error: Error & { code?: string }, { url, wanted, proxy }: Exchange): Error {
  // undici gives it no code where what came is no HTTP at all.
  if (error.name === 'HTTPParserError')
    return new FailedAttempt('unreachable', `gave something else than HTTP (${printable(error.message, MOST_DETAILS)})`, { cause: error })
  if (error instanceof FailedAttempt || typeof error.code !== 'string') return error
  const details = detailsOf(error)
  const options = { cause: error }
  if (proxy !== null && isOfTunnel(error, url))
    return new FailedAttempt('deadline', `did not begin TLS in time through the tunnel that the proxy opened (${details})`, options)
  if (proxy !== null && isOfProxy(error)) return proxyFailure(proxy, error, details)
  switch (error.code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return new FailedAttempt('deadline', `did not go on with its answer in time (${details})`, options)
    case 'UND_ERR_CONNECT_TIMEOUT':
      return new FailedAttempt('unreachable', `could not be connected to in time (${details})`, options)
    case 'UND_ERR_RES_EXCEEDED_MAX_SIZE':
      return new FailedAttempt('too-large', `gave a body that is larger than any Pokémon (${details})`, { ...options, retry: false })
    case 'UND_ERR_REDIRECT_MAX':
    case 'UND_ERR_INVALID_ARG': {
      const endless = error.code === 'UND_ERR_REDIRECT_MAX' || error.message.startsWith('Redirect loop')
      const where = endless ? 'from place to place without end' : 'to an address that is none of the web'
      return new FailedAttempt('redirected', `sends on ${where} (${details})`, { ...options, retry: false })
    }
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_DESTROYED':
      return new FailedAttempt('unreachable', 'was not asked, because the client is closed', { ...options, retry: false })
  }
  if (isOfConnecting(error)) return new FailedAttempt('unreachable', `could not be reached: ${details}`, options)
  // zlib's codes.
  if (/^(Z_|ERR_.*DECOMPRESSION|ERR__ERROR_|ZSTD_)/.test(error.code))
    return unfit(wanted, `a body that cannot be decompressed (${details})`, options)
  const tls = tlsFailure([error, ...(error instanceof AggregateError ? error.errors : [])], AUTHORITY)
  if (tls !== null) return new FailedAttempt('tls', tls, options)
  return new FailedAttempt('unreachable', `could not be reached, or broke off (${details})`, options)
}

/** undici's words for a tunnel that the proxy did not open. */
const REFUSED_TUNNEL = /^Proxy response \((\d+)\)/

/** Through a proxy, the proxy alone is connected to: what fails before there is a connection to the API is its failure. */
function isOfProxy(error: Error & { code?: string }): boolean {
  return (
    isOfConnecting(error) ||
    ['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_PRX_CONN', 'UND_ERR_PRX_TLS'].includes(error.code ?? '') ||
    REFUSED_TUNNEL.test(error.message)
  )
}

/** The proxy has opened its tunnel, or says so, and nothing comes through: undici takes TLS with the API for a part of connecting to it. */
function isOfTunnel({ code, message }: Error & { code?: string }, url: string): boolean {
  const { hostname, port } = new URL(url)
  return code === 'UND_ERR_CONNECT_TIMEOUT' && message.includes(`attempted address: ${hostname}:${port || 443},`)
}

/** There was no connection, not even for a moment. */
function isOfConnecting(error: Error): boolean {
  const errors = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [error as NodeJS.ErrnoException]
  return errors.some(({ syscall }) => syscall === 'connect' || syscall === 'getaddrinfo')
}

function proxyFailure(proxy: string, error: Error, details: string): FailedAttempt {
  const status = REFUSED_TUNNEL.exec(error.message)?.[1]
  if (status === undefined) {
    const hungUp = (error as NodeJS.ErrnoException).code === 'UND_ERR_PRX_CONN'
    const why = hungUp ? 'broke the connection off before it had passed the request on' : `cannot be reached (${details})`
    return new FailedAttempt('proxy', `was not asked, because the proxy ${proxy} ${why}`, { cause: error })
  }
  return refusedByProxy(proxy, Number(status), error)
}

/** A proxy that does not pass a request on. */
export function refusedByProxy(proxy: string, status: number, cause?: Error): FailedAttempt {
  const why = status === 407 ? 'asks for a user and a password, or refuses those that it was given' : 'refused to pass the request on'
  // What it thinks of the user does not change within seconds.
  return new FailedAttempt('proxy', `was not asked, because the proxy ${proxy} ${why} (status ${status})`, { cause, retry: status >= 500 })
}

/** Where several addresses were tried, the sum of the errors has no message of its own. */
function detailsOf(error: Error): string {
  const details =
    error instanceof AggregateError && error.errors.length > 0
      ? error.errors.map((each) => (each as Error).message).join('; ')
      : error.message
  return printable(details, MOST_DETAILS)
}
