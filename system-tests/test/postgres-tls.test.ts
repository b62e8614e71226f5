/** `sslmode` with a real PostgreSQL, with and without TLS: what each mode encrypts, which certificates it accepts, and its message if it does not. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { StoreError } from '@poke-api-pipeline/poke-api-consumer/errors'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { type OwnPostgresServer, query, startOwnPostgres } from '../postgres-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'postgres-tls-'))
const file = (name: string) => join(folder, name)
let encrypted: OwnPostgresServer
let plain: OwnPostgresServer

before(async () => {
  authority('ca')
  authority('stranger')
  // A certificate for localhost, and not for its address.
  signed('server', '/CN=localhost', 'DNS:localhost')
  signed('poke', '/CN=poke', 'DNS:poke')
  ownedByPostgres(file('server.key'))
  ownedByPostgres(file('server.pem'))
  ownedByPostgres(file('ca.pem'))
  encrypted = await startOwnPostgres([
    'ssl=on',
    `ssl_cert_file=${file('server.pem')}`,
    `ssl_key_file=${file('server.key')}`,
    `ssl_ca_file=${file('ca.pem')}`,
  ])
  plain = await startOwnPostgres()
})
after(async () => {
  await Promise.all([encrypted.stop(), plain.stop()])
  rmSync(folder, { recursive: true })
})

function authority(name: string): void {
  const files = ['-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)]
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, ...files)
}

function signed(name: string, subject: string, names: string): void {
  const request = ['-newkey', 'rsa:2048', '-nodes', '-subj', subject, '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)]
  const by = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=CA:FALSE']
  openssl('req', '-x509', ...request, ...by, '-days', '2')
}

function openssl(...words: string[]): void {
  execFileSync('openssl', words, { stdio: 'ignore' })
}

/** PostgreSQL does not run as root, and reads no key that others may read. */
function ownedByPostgres(path: string): void {
  chmodSync(folder, 0o755)
  chmodSync(path, 0o600)
  if (process.getuid?.() !== 0) return
  const id = (which: string) => Number(execFileSync('id', [which, 'postgres'], { encoding: 'utf8' }))
  chownSync(path, id('-u'), id('-g'))
}

/** @returns whether the store's connection is encrypted, and with which client certificate; or the kind of the error and its message */
async function opened(server: OwnPostgresServer, parameters: string, host = 'localhost') {
  const direct = await server.createDatabase()
  const url = `${direct.replace('127.0.0.1', host)}?${parameters}`
  try {
    const store = await openStore(url, { groupId: 'group', environment: {} })
    const sessions = await query(
      direct,
      `SELECT ssl, client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
       WHERE application_name = 'poke-api-consumer' AND datname = current_database()`,
    )
    await store.close()
    const [session] = sessions
    return session?.ssl === true ? `encrypted${session.client_dn === null ? '' : ` as ${session.client_dn}`}` : 'plain'
  } catch (error) {
    assert.ok(error instanceof StoreError, String(error))
    return `${error.code}: ${error.message}`
  }
}

describe('a PostgreSQL with TLS', () => {
  const known = () => `sslrootcert=${file('ca.pem')}`
  const strange = () => `sslrootcert=${file('stranger.pem')}`

  test('is used as each mode says', async () => {
    const modes = ['disable', 'allow', 'prefer', 'require']
    const found = await Promise.all(modes.map((mode) => opened(encrypted, `sslmode=${mode}`, '127.0.0.1')))
    assert.deepEqual(found, ['plain', 'plain', 'encrypted', 'encrypted'])
    assert.equal(await opened(encrypted, ''), 'encrypted')
  })

  test('of another authority is refused by the modes that check the authority, with what to correct', async () => {
    assert.equal(await opened(encrypted, `sslmode=verify-ca&${known()}`, '127.0.0.1'), 'encrypted')
    assert.equal(await opened(encrypted, `sslmode=require&${known()}`, '127.0.0.1'), 'encrypted')
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      const said = await opened(encrypted, `sslmode=${mode}&${strange()}`)
      assert.match(said, /^store\/tls: the store .* shows a certificate that the authority in STORE_CA_FILE or sslrootcert has not signed/)
    }
    assert.match(await opened(encrypted, 'sslrootcert=system'), /^store\/tls: .* has not signed/)
  })

  test('under another name is refused by verify-full alone', async () => {
    assert.equal(await opened(encrypted, `sslmode=verify-full&${known()}`), 'encrypted')
    assert.match(
      await opened(encrypted, `sslmode=verify-full&${known()}`, '127.0.0.1'),
      /^store\/tls: the store .* shows a certificate for another host name: correct the host in STORE_URL/,
    )
  })

  test('gets the certificate of this service', async () => {
    const own = `sslcert=${file('poke.pem')}&sslkey=${file('poke.key')}`
    assert.equal(await opened(encrypted, `sslmode=verify-full&${known()}&${own}`), 'encrypted as /CN=poke')
  })
})

test('a PostgreSQL without TLS is used unencrypted if the mode allows it, and refused with a message if not', async () => {
  const found = await Promise.all(['disable', 'allow', 'prefer'].map((mode) => opened(plain, `sslmode=${mode}`)))
  assert.deepEqual(found, ['plain', 'plain', 'plain'])
  assert.match(await opened(plain, 'sslmode=require'), /^store\/tls: the store .* has no TLS, and sslmode asks for it: turn it on/)
})

test('of several hosts the one that works is used; an unreachable and a refusing one are named', async () => {
  const url = new URL(await plain.createDatabase())
  const of = (hosts: string, rest = '') => `postgres://poke:pikachu@${hosts}${url.pathname}${rest}`
  const store = await openStore(of(`127.0.0.1:1,127.0.0.1:${url.port}`), { groupId: 'group', environment: {} })
  await store.close()
  const standby = await plain.startStandby()
  try {
    await openStore(of(`127.0.0.1:${standby.port},127.0.0.1:${url.port}`), { groupId: 'group', environment: {} }).then((each) =>
      each.close(),
    )
    await assert.rejects(openStore(of(`127.0.0.1:1,127.0.0.1:${standby.port}`), { groupId: 'group', environment: {} }), (error) => {
      assert.ok(error instanceof StoreError && error.kind === 'unreachable', String(error))
      assert.match(
        error.message,
        /has no usable server: 127\.0\.0\.1:1 cannot be reached \(.*ECONNREFUSED.*\); 127\.0\.0\.1:\d+ is a standby/,
      )
      return true
    })
  } finally {
    await standby.stop()
  }
})
