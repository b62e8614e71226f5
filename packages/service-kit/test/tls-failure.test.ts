/** Failures of TLS are recognised by the codes of Node and OpenSSL, and distinguished from a server that cannot be reached. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { tlsFailure } from '../src/tls-failure.ts'

const failed = (code: string, message = 'x') => tlsFailure([Object.assign(new Error(message), { code })], 'name the authority')

describe('the reason', () => {
  for (const [code, words] of [
    ['SELF_SIGNED_CERT_IN_CHAIN', /authority that this service does not know .*: name the authority/],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', /name the authority/],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /name the authority/],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', /name the authority/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', /for another name/],
    ['CERT_HAS_EXPIRED', /has expired/],
    ['CERT_NOT_YET_VALID', /not valid yet .*clocks/],
    ['ERR_SSL_WRONG_VERSION_NUMBER', /does not speak TLS on this port/],
    ['ERR_SSL_PACKET_LENGTH_TOO_LONG', /does not speak TLS on this port/],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /requires a client certificate/],
    ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', /requires a client certificate/],
    ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', /requires a client certificate/],
    // A code that has no message of its own.
    ['CERT_REVOKED', /could not agree on TLS \(CERT_REVOKED/],
    ['ERR_SSL_NO_SHARED_CIPHER', /could not agree on TLS/],
    ['ERR_TLS_INVALID_PROTOCOL_VERSION', /could not agree on TLS/],
  ] as const) {
    test(`of ${code}`, () => assert.match(failed(code) ?? 'none', words))
  }

  test('of a handshake that the server interrupted', () => {
    const words = failed('ECONNRESET', 'Client network socket disconnected before secure TLS connection was established')
    assert.match(words ?? 'none', /check whether this port speaks TLS/)
  })

  test('is null if TLS was not the reason', () => {
    for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'PLT_KFK_NETWORK', 'UND_ERR_SOCKET', 'ENOENT'])
      assert.equal(failed(code), null)
  })
})
