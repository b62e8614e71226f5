/** The base of every error that a service expects: it has a code, says whether to retry, and has the exit code of a service that it ends. */

import { printableLines } from './foreign-text.ts'

/** One kind of failure in the closed list of a service. */
export interface ErrorKind {
  /** Whether a later attempt can succeed without a restart of the service. */
  readonly retriable: boolean
  /** The exit code of a process that this failure ends: see `EXIT`. */
  readonly exitCode: number
  /** One sentence for the documentation: what happened. */
  readonly meaning: string
  /** For the documentation: what to do. */
  readonly remedy: string
}

/** Exit codes, with the meanings of BSD's sysexits.h. */
export const EXIT = {
  ok: 0,
  /** The work is done except for parts that the output names. */
  incomplete: 1,
  /** The command line is not understood. */
  usage: 64,
  /** Something that must exist is missing or damaged. */
  data: 65,
  /** A mistake in the program. */
  software: 70,
  /** Something cannot be created or opened: a port, a folder. */
  cannotCreate: 73,
  /** A later attempt can succeed. */
  temporary: 75,
  /** This user lacks a right. */
  notAllowed: 77,
  /** A setting is wrong. */
  config: 78,
} as const

/** A kind of failure that the service retries for as long as it takes. */
export function retried(meaning: string, remedy: string): ErrorKind {
  return { retriable: true, exitCode: EXIT.temporary, meaning, remedy }
}

/** A kind of failure that ends the service with this exit code, because a retry cannot succeed. */
export function final(exitCode: number, meaning: string, remedy: string): ErrorKind {
  return { retriable: false, exitCode, meaning, remedy }
}

export interface ServiceErrorOptions extends ErrorOptions {
  /** `<area>/<kind>`. It never changes, because documentation and alerts refer to it. */
  readonly code: string
  readonly exitCode: number
  readonly retriable: boolean
}

/** The message says what happened, to which thing, and what to do; it is shown without a stack. */
export class ServiceError extends Error {
  override readonly name: string = 'ServiceError'
  readonly code: string
  readonly exitCode: number
  readonly retriable: boolean

  constructor(message: string, options: ServiceErrorOptions) {
    // Messages can quote a broker, a database or an API.
    super(printableLines(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.code = options.code
    this.exitCode = options.exitCode
    this.retriable = options.retriable
  }
}

/**
 * The class of an area's errors, each of one kind of its closed list, with the code `<area>/<kind>`.
 * @param kinds the closed list
 */
export function errorsOf<Kind extends string>(area: string, kinds: Readonly<Record<Kind, ErrorKind>>) {
  return class extends ServiceError {
    readonly kind: Kind

    constructor(kind: Kind, message: string, options?: ErrorOptions) {
      super(message, { ...options, ...kinds[kind], code: `${area}/${kind}` })
      this.kind = kind
    }
  }
}
