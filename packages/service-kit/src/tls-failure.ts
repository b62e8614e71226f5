/** Explains why TLS with a server failed, by the codes of Node and OpenSSL, and what to do. */
import { printable } from './foreign-text.ts'

/** Codes for certificates that no known authority has signed (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
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
/** Alerts of a server that received no client certificate, or one that it does not accept (RFC 8446, 6.2). */
const CLIENT_CERTIFICATE = /CERTIFICATE_REQUIRED$|ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_UNKNOWN|UNKNOWN_CA)$/
/** Codes for a port that does not speak TLS. */
const NO_TLS = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNEXPECTED_MESSAGE',
  'ERR_SSL_HTTP_REQUEST',
])
/** Node's message if the server closed the connection during the TLS handshake. */
const CUT_OFF = /before secure TLS connection was established/
const MOST_DETAILS = 300

/**
 * @param errors of a connection, with their causes
 * @param authority what to do if the authority is not known
 * @returns a text that follows the server's name: "has a certificate that …"; null if TLS was not the reason
 */
export function tlsFailure(errors: readonly Error[], authority: string): string | null {
  for (const { message, code } of errors as readonly (Error & { readonly code?: unknown })[]) {
    const details = printable(message, MOST_DETAILS)
    if (CUT_OFF.test(message)) return `closed the connection during the TLS handshake (${details}): check whether this port speaks TLS`
    if (typeof code !== 'string') continue
    if (AUTHORITY.has(code)) return `has a certificate of an authority that this service does not know (${code}): ${authority}`
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH')
      return `has a certificate for another name (${details}): use a name that is in the certificate, or have a certificate issued for this name`
    if (code === 'CERT_HAS_EXPIRED') return `has a certificate that has expired (${code}): renew the certificate`
    if (code === 'CERT_NOT_YET_VALID') return `has a certificate that is not valid yet (${code}): check the clocks of both machines`
    if (NO_TLS.has(code)) return `does not speak TLS on this port (${code}): use a port that does`
    if (CLIENT_CERTIFICATE.test(code))
      return `requires a client certificate, which this service does not have (${code}): use a port that does not require one`
    if (/^ERR_(SSL|TLS)_|^CERT_|^CRL_/.test(code)) return `and this service could not agree on TLS (${code}: ${details})`
  }
  return null
}
