/** Why one attempt on the wire brought no answer, and whether another may. */
import { printable } from 'service-kit'
import type { PokeApiErrorKind } from '../../errors.ts'
import type { Exchange } from './exchange.ts'

export type AttemptFailureKind = Exclude<PokeApiErrorKind, 'cache'>

/** Characters of what others say. */
const MOST_DETAILS = 500

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
export function failedAttempt(error: Error & { code?: string }, { wanted }: Exchange): Error {
  // undici gives it no code where what came is no HTTP at all.
  if (error.name === 'HTTPParserError')
    return new FailedAttempt('unreachable', `gave something else than HTTP (${printable(error.message, MOST_DETAILS)})`, { cause: error })
  if (error instanceof FailedAttempt || typeof error.code !== 'string') return error
  const details = detailsOf(error)
  const options = { cause: error }
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
  // zlib's codes.
  if (/^(Z_|ERR_.*DECOMPRESSION|ERR__ERROR_|ZSTD_)/.test(error.code))
    return unfit(wanted, `a body that cannot be decompressed (${details})`, options)
  return new FailedAttempt('unreachable', `could not be reached, or broke off (${details})`, options)
}

/** Where several addresses were tried, the sum of the errors has no message of its own. */
function detailsOf(error: Error): string {
  const details =
    error instanceof AggregateError && error.errors.length > 0
      ? error.errors.map((each) => (each as Error).message).join('; ')
      : error.message
  return printable(details, MOST_DETAILS)
}
