/** Authorities that only `.env` names are trusted by a process that reads it itself. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { getCACertificates, rootCertificates, setDefaultCACertificates } from 'node:tls'
import { trustExtraAuthorities } from '../src/extra-authorities.ts'

const authorities = getCACertificates()
const [first = '', second = '', third = ''] = rootCertificates
/** The authorities that this process trusts. */
const trusted = () => getCACertificates().map(fingerprintOf).sort()
const fingerprintOf = (certificate: string) => new X509Certificate(certificate).fingerprint256
let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'authorities-'))
  setDefaultCACertificates([first])
})
after(() => {
  setDefaultCACertificates(authorities)
  rmSync(folder, { recursive: true })
})

test('nothing changes if the process was started with the variable, or if it is not set', () => {
  for (const given of [{ NODE_EXTRA_CA_CERTS: '/nowhere' }, { NODE_EXTRA_CA_CERTS: '' }]) trustExtraAuthorities(given, given)
  trustExtraAuthorities({}, {})
  assert.deepEqual(trusted(), [fingerprintOf(first)])
})

test('a file without certificates and a missing file are a wrong setting', () => {
  const file = join(folder, 'none.pem')
  writeFileSync(file, '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n')
  writeFileSync(join(folder, 'empty.pem'), '')
  for (const path of [file, join(folder, 'missing.pem'), join(folder, 'empty.pem')])
    assert.throws(() => trustExtraAuthorities({ NODE_EXTRA_CA_CERTS: path }, {}), {
      exitCode: 78,
      message: /^NODE_EXTRA_CA_CERTS of \.env is ".*\.pem", and its certificates cannot be read \(.+\): name a file of certificates/,
    })
  assert.deepEqual(trusted(), [fingerprintOf(first)])
})

test('its authorities are trusted in addition to the others', () => {
  const file = join(folder, 'authority.pem')
  writeFileSync(file, `The authority of our proxy:\r\n${second}\n\n${third}\n`)
  trustExtraAuthorities({ NODE_EXTRA_CA_CERTS: file }, {})
  assert.deepEqual(trusted(), [first, second, third].map(fingerprintOf).sort())
})
