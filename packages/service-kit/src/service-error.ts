/** The base of every error that a service expects: it knows its name, whether waiting helps, and what the process answers if it ends by it. */

import { printableLines } from './foreign-text.ts'

/** One kind of failure, as a service's closed list has it. */
export interface ErrorKind {
  /** Whether trying again later can succeed without anybody doing anything to the service. */
  readonly retriable: boolean
  /** What the process ends with, where this ends it: see `EXIT`. */
  readonly exitCode: number
  /** What happened, and what to do, for the documentation: one sentence each. */
  readonly meaning: string
  readonly remedy: string
}

/** Exit codes, in the sense of BSD's sysexits.h. */
export const EXIT = {
  ok: 0,
  /** The work is done as far as it could be: something of it is missing, which was said. */
  incomplete: 1,
  /** A command line that is not understood. */
  usage: 64,
  /** Something that must exist does not, or is damaged. */
  data: 65,
  /** A mistake in the program. */
  software: 70,
  /** Something cannot be made: a port, a folder. */
  cannotCreate: 73,
  /** Would have gone if tried again later. */
  temporary: 75,
  /** Not allowed to this user. */
  notAllowed: 77,
  /** A setting is wrong. */
  config: 78,
} as const

/** A kind of failure that is tried again for as long as it takes. */
export function retried(meaning: string, remedy: string): ErrorKind {
  return { retriable: true, exitCode: EXIT.temporary, meaning, remedy }
}

/** A kind of failure that no waiting mends: the service ends with this code. */
export function final(exitCode: number, meaning: string, remedy: string): ErrorKind {
  return { retriable: false, exitCode, meaning, remedy }
}

export interface ServiceErrorOptions extends ErrorOptions {
  /** `<area>/<kind>`, the same for ever: what documentation and alerts refer to. */
  readonly code: string
  readonly exitCode: number
  readonly retriable: boolean
}

/** Its message says what happened, to what, and what to do; a service that ends by it shows the message without a stack. */
export class ServiceError extends Error {
  override readonly name: string = 'ServiceError'
  readonly code: string
  readonly exitCode: number
  readonly retriable: boolean

  constructor(message: string, options: ServiceErrorOptions) {
    // Many a message quotes a broker, a database or an API.
    super(printableLines(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.code = options.code
    this.exitCode = options.exitCode
    this.retriable = options.retriable
  }
}
