/** Applies `sslmode` as PostgreSQL's own client does: https://www.postgresql.org/docs/current/libpq-ssl.html */
import { readFileSync } from 'node:fs'
import { type ConnectionOptions, createSecureContext, getCACertificates, rootCertificates } from 'node:tls'
import { StoreError } from '../../errors.ts'
import type { PostgresUrl, SslMode } from './postgres-url.ts'

/** Certificates and a key in PEM, where the URL does not name them. */
export interface StoreCertificates {
  readonly authority: string | null
  readonly certificate: string | null
  readonly key: string | null
}

/** A way to connect to a host: with these TLS options, or unencrypted (false). */
export type ConnectionWay = ConnectionOptions | false

/**
 * | sslmode | encrypted | the certificate is that of |
 * |---|---|---|
 * | disable | never | |
 * | allow, prefer | where the server wants it, where it can | anybody; with an authority's certificate given, of a server that it has signed |
 * | require | always | the same |
 * | verify-ca | always | a server that the authority has signed |
 * | verify-full | always | this host |
 *
 * @returns the ways to connect, in the order in which they are tried
 * @throws StoreError `unusable` where a file cannot be read or used, or where the parts contradict each other
 */
export function connectionWays(url: PostgresUrl, given: StoreCertificates): readonly ConnectionWay[] {
  const { sslMode, sslDirect } = url
  if (sslDirect && !isCertain(sslMode)) throw wrong('sslnegotiation=direct needs sslmode=require, verify-ca or verify-full')
  const authority = given.authority ?? authorityOf(url)
  if (sslMode.startsWith('verify-') && authority === null) {
    throw wrong(
      `sslmode=${sslMode} needs the certificate of the authority that signed the server's: name its file in STORE_CA_FILE or sslrootcert, ` +
        'or use sslrootcert=system for the authorities that this machine trusts',
    )
  }
  const certificate = given.certificate ?? fileOf('sslcert', url.certificate)
  const key = given.key ?? fileOf('sslkey', url.key)
  if ((certificate === null) !== (key === null)) {
    throw wrong('a client certificate and its key belong together: set STORE_CERT_FILE and STORE_KEY_FILE, or sslcert and sslkey')
  }
  const options: ConnectionOptions = { rejectUnauthorized: authority !== null }
  if (authority !== null) options.ca = authority
  if (certificate !== null && key !== null) Object.assign(options, { cert: certificate, key })
  if (url.keyPassword !== null) options.passphrase = url.keyPassword
  if (sslMode !== 'verify-full') options.checkServerIdentity = () => undefined
  try {
    createSecureContext(options)
  } catch (error) {
    throw wrong(`a certificate or key cannot be used (${(error as Error).message})`, error)
  }
  return WAYS[sslMode].map((way) => (way === 'tls' ? options : false))
}

/** Whether every connection uses TLS. */
export function isCertain(mode: SslMode): boolean {
  return !WAYS[mode].includes('plain')
}

const WAYS: Readonly<Record<SslMode, readonly ('tls' | 'plain')[]>> = {
  disable: ['plain'],
  allow: ['plain', 'tls'],
  prefer: ['tls', 'plain'],
  require: ['tls'],
  'verify-ca': ['tls'],
  'verify-full': ['tls'],
}

function authorityOf({ rootCertificate, sslMode }: PostgresUrl): string | string[] | null {
  if (rootCertificate !== 'system') return fileOf('sslrootcert', rootCertificate)
  if (sslMode !== 'verify-full')
    throw wrong(`sslrootcert=system needs sslmode=verify-full, and not ${sslMode}: anybody can have such a certificate`)
  return [...rootCertificates, ...getCACertificates('system')]
}

function fileOf(parameter: string, path: string | null): string | null {
  if (path === null) return null
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw wrong(
      `the file that ${parameter} names cannot be read (${(error as NodeJS.ErrnoException).code}): correct its path, or let this user read it`,
      error,
    )
  }
}

function wrong(why: string, cause?: unknown): StoreError {
  return new StoreError('unusable', `STORE_URL cannot be used: ${why}`, { cause })
}
