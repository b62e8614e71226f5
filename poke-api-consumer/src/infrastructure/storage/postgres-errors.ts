/** Turns errors of PostgreSQL, of poolers and of TLS into the store's closed list of errors. */

import { printable } from '@poke-api-pipeline/service-kit'
import pg from 'pg'
import { StoreError, type StoreErrorKind } from '../../errors.ts'

/** The characters of the server's message that are shown. */
const MOST_DETAILS = 500

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const KINDS: Readonly<Record<string, readonly [kind: StoreErrorKind, what: string]>> = {
  '28000': ['not-authorised', 'refused the login: check the user in STORE_URL and STORE_PASSWORD_FILE'],
  '28P01': ['not-authorised', 'refused the login: check the user in STORE_URL and STORE_PASSWORD_FILE'],
  '42501': ['not-authorised', 'does not allow this user what the store needs: grant it'],
  '3D000': ['unusable', 'does not exist: create the database, or correct STORE_URL'],
  // Two instances that insert the same name wait for each other, so only an id can be a duplicate.
  '23505': [
    'damaged',
    'gives ids that exist already, as a copy by logical replication does: set the sequences of its tables behind their greatest id with setval',
  ],
  '42P01': ['damaged', 'has lost a table'],
  '42703': ['damaged', 'has lost a column'],
  '53100': ['full', 'cannot grow because its disk is full: make room'],
  '53300': ['unreachable', 'has no connection left'],
  '55P03': ['busy', 'is locked by another instance, or waits for a missing standby to confirm a commit'],
  '57014': ['busy', 'took too long for a statement'],
  '25006': ['unreachable', 'is read-only: it has become a standby, or default_transaction_read_only is on'],
  '40001': ['busy', 'had too many conflicting changes'],
  '40P01': ['busy', 'had too many conflicting changes'],
}

/** Refusals of a pooler itself, which another attempt does not help. pgbouncer has one code, 08P01, for all of them: only the text tells them apart. */
const POOLER_REFUSALS: readonly (readonly [form: RegExp, kind: StoreErrorKind, what: string])[] = [
  [
    /^(password|SASL) authentication failed|^no such user/,
    'not-authorised',
    'refused the login: check the user in STORE_URL and STORE_PASSWORD_FILE',
  ],
  [/^(no such database|database ".*" does not exist)/, 'unusable', 'does not exist: create the database, or correct STORE_URL'],
  [
    /transaction blocks not allowed in statement pooling mode/,
    'unsupported',
    'is behind pgbouncer with pool_mode=statement, which allows no transactions: set pool_mode to transaction or session for this database',
  ],
  [
    /unsupported startup parameter/,
    'unsupported',
    'is behind pgbouncer, which refuses a parameter that every client sends: add the name to its ignore_startup_parameters',
  ],
]

/** By the codes of Node's TLS; the first match counts. */
const TLS_FAILURES: readonly (readonly [form: RegExp, what: string])[] = [
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'shows a certificate for another host name: correct the host in STORE_URL, or its certificate'],
  [/^CERT_HAS_EXPIRED$/, 'shows a certificate that has expired: renew it'],
  [/^CERT_NOT_YET_VALID$/, 'shows a certificate that is not valid yet: correct the clock, or the certificate'],
  [
    /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_UNTRUSTED/,
    'shows a certificate that the authority in STORE_CA_FILE or sslrootcert has not signed',
  ],
  [/^ERR_SSL_|^ERR_TLS_|^EPROTO$|CERT/, 'and this service disagree about TLS'],
]

/** @param name of the store, for the message */
export function storeError(name: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const state = sqlState(error)
  const { message, code = '' } = error as NodeJS.ErrnoException
  // Where several addresses were tried, the error has a code and no message.
  const [kind, what] = meaningOf(error, state)
  return new StoreError(kind, `the store ${name} ${what} (${printable(message || code, MOST_DETAILS)}${state && `, ${state}`})`, {
    cause: error,
  })
}

function meaningOf(error: unknown, state: string): readonly [kind: StoreErrorKind, what: string] {
  const { message, code = '' } = error as NodeJS.ErrnoException
  const refusal = POOLER_REFUSALS.find(([form]) => form.test(message))
  if (refusal !== undefined) return [refusal[1], refusal[2]]
  if (state === '') {
    const tls = TLS_FAILURES.find(([form]) => form.test(code))
    if (tls !== undefined) return ['tls', tls[1]]
    if (/server does not support SSL/.test(message))
      return ['tls', 'has no TLS, and sslmode asks for it: turn it on (ssl = on), or change sslmode']
  }
  // The client's own errors have no SQLSTATE: a connection that failed, but also a value that cannot be sent (RangeError, TypeError).
  const isAway = (state === '' && !(error instanceof RangeError) && !(error instanceof TypeError)) || /^(08|57P)/.test(state)
  return KINDS[state] ?? (isAway ? ['unreachable', 'cannot be reached'] : ['io', 'failed'])
}

/** Joins the failures of all servers to one error, which is retriable where one of them is. */
export function failureOf(name: string, failures: readonly { readonly server: string; readonly error: StoreError }[]): StoreError {
  const [first] = failures
  if (first === undefined) return unreachable(name)
  if (failures.length === 1) return first.error
  const { error } = failures.find((failure) => failure.error.retriable) ?? first
  const prefix = `the store ${name} `
  const each = failures.map((failure) => `${failure.server} ${failure.error.message.replace(prefix, '')}`)
  return new StoreError(error.kind, `${prefix}has no usable server: ${each.join('; ')}`, { cause: error.cause })
}

export function unreachable(name: string): StoreError {
  return new StoreError('unreachable', `the store ${name} cannot be reached`)
}

/** Whether the server has refused a statement: then the statement changed nothing. */
export function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError
}

/** @returns the SQLSTATE, PostgreSQL's code of five characters; empty for other errors */
export function sqlState(error: unknown): string {
  return (error instanceof pg.DatabaseError && error.code) || ''
}
