/** Why TLS with a server failed, by the codes of Node and OpenSSL, and what can be done. */
import { printable } from './foreign-text.ts'

/** Certificates that no known authority has signed (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const AUTHORITY = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'INVALID_CA',
])
/** What a server sends that got no certificate from its client, or none that it takes (RFC 8446, 6.2). */
const CLIENT_CERTIFICATE = /CERTIFICATE_REQUIRED$|ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_UNKNOWN|UNKNOWN_CA)$/
/** What comes from a port whose bytes are no TLS. */
const NO_TLS = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNEXPECTED_MESSAGE',
  'ERR_SSL_HTTP_REQUEST',
])
/** Node's words where the connection ended before TLS was there. */
const CUT_OFF = /before secure TLS connection was established/
const MOST_DETAILS = 300

/**
 * What of TLS went wrong.
 * @param errors of a connection, with everything inside them
 * @param authority what to do where the authority is not known
 * @returns follows the server's name: "has a certificate that …"; null where it was not TLS
 */
export function tlsFailure(errors: readonly Error[], authority: string): string | null {
  for (const { message, code } of errors as readonly (Error & { readonly code?: unknown })[]) {
    const details = printable(message, MOST_DETAILS)
    if (CUT_OFF.test(message)) return `cut the connection off before TLS was there (${details}): see whether this port speaks TLS`
    if (typeof code !== 'string') continue
    if (AUTHORITY.has(code)) return `has a certificate of an authority that is not known here (${code}): ${authority}`
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH')
      return `has a certificate for another name (${details}): call it by a name that its certificate has, or have this name put into it`
    if (code === 'CERT_HAS_EXPIRED') return `has a certificate that has expired (${code}): renew it there`
    if (code === 'CERT_NOT_YET_VALID') return `has a certificate that is not valid yet (${code}): see to the clocks of both machines`
    if (NO_TLS.has(code)) return `speaks no TLS on this port (${code}): name a port that does`
    if (CLIENT_CERTIFICATE.test(code))
      return `asks for a client certificate, and this service has none (${code}): name a port that does not, or where it is not required`
    if (/^ERR_(SSL|TLS)_|^CERT_|^CRL_/.test(code)) return `and this service do not agree about TLS (${code}: ${details})`
  }
  return null
}
