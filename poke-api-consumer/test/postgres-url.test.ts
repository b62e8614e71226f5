/** Parsing PostgreSQL URLs as PostgreSQL's own client does. Unusable URLs are refused before any connection. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { readConfig } from '../src/config.ts'
import { StoreError } from '../src/errors.ts'
import { connectionWays } from '../src/infrastructure/storage/postgres-tls.ts'
import { parsePostgresUrl } from '../src/infrastructure/storage/postgres-url.ts'

const NO_FILES = { authority: null, certificate: null, key: null }
const folder = mkdtempSync(join(tmpdir(), 'postgres-url-'))
after(() => rmSync(folder, { recursive: true }))

/** @returns the message */
function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof StoreError && error.kind === 'unusable', String(error))
    return error.message
  }
  return assert.fail('it was accepted')
}

describe('a PostgreSQL URL', () => {
  test('names hosts, user, password and database', () => {
    const { hosts, user, password, database, name, writable, sslMode } = parsePostgresUrl('postgres://ash:p%40ss%3A1@db.example:6432/poke')
    assert.deepEqual(
      { hosts, user, password, database, name, writable, sslMode },
      {
        hosts: [{ host: 'db.example', port: 6432 }],
        user: 'ash',
        password: 'p@ss:1',
        database: 'poke',
        name: 'postgres://db.example:6432/poke',
        writable: false,
        sslMode: 'prefer',
      },
    )
  })

  test('can name several hosts with ports, of which the writable one is used', () => {
    const { hosts, name, writable } = parsePostgresUrl('postgresql://u@a:1,[::1]:2,c/db?connect_timeout=3')
    assert.deepEqual(hosts, [
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
      { host: 'c', port: 5432 },
    ])
    assert.deepEqual([name, writable], ['postgres://a:1,[::1]:2,c/db', true])
  })

  test('is overridden by its parameters, as with PostgreSQL’s own client, and overrides the environment', () => {
    const given = 'postgres://ash:pikachu@a:1,b:2/kanto?host=c,d&user=misty&password=starmie&dbname=johto'
    const { hosts, user, password, database, name } = parsePostgresUrl(given)
    assert.deepEqual([user, password, database, name], ['misty', 'starmie', 'johto', 'postgres://c:1,d:2/johto'])
    assert.deepEqual(hosts, [
      { host: 'c', port: 1 },
      { host: 'd', port: 2 },
    ])
    assert.deepEqual(parsePostgresUrl('postgres://a:1/db?port=77').hosts, [{ host: 'a', port: 77 }])
    assert.deepEqual(parsePostgresUrl('postgres://a,b/db?port=77').hosts, [
      { host: 'a', port: 77 },
      { host: 'b', port: 77 },
    ])
    const environment = { PGHOST: 'e', PGPORT: '5', PGUSER: 'e', PGPASSWORD: 'e', PGDATABASE: 'e' }
    const own = parsePostgresUrl('postgres://ash:pikachu@a:1/kanto', environment)
    assert.deepEqual([own.hosts, own.user, own.password, own.database], [[{ host: 'a', port: 1 }], 'ash', 'pikachu', 'kanto'])
    const left = parsePostgresUrl('postgres://', environment)
    assert.deepEqual([left.hosts, left.user, left.password, left.database], [[{ host: 'e', port: 5 }], 'e', 'e', 'e'])
  })

  test('can name a socket folder that contains colons, and an address with a zone', () => {
    const folder = '/cloudsql/poke:europe-west6:kanto'
    assert.deepEqual(parsePostgresUrl(`postgres://ash@/db?host=${folder}`).hosts, [{ host: folder, port: 5432 }])
    assert.deepEqual(parsePostgresUrl(`postgres://ash@${encodeURIComponent(folder)}/db`).hosts, [{ host: folder, port: 5432 }])
    assert.deepEqual(parsePostgresUrl('postgres://ash@[fe80::1%25eth0]:6432/db').hosts, [{ host: 'fe80::1%eth0', port: 6432 }])
    assert.deepEqual(parsePostgresUrl('postgres://ash@/db?host=::1').hosts, [{ host: '::1', port: 5432 }])
    assert.match(
      refusal(() => parsePostgresUrl('postgres://ash@host/d%00b')),
      /a NUL \(%00\)/,
    )
  })

  test('can name hosts, ports and a socket folder by parameters', () => {
    assert.deepEqual(parsePostgresUrl('postgres:///db?host=a,b&port=1,2').hosts, [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ])
    assert.deepEqual(parsePostgresUrl('postgres:///db?host=/run/postgresql').hosts, [{ host: '/run/postgresql', port: 5432 }])
    assert.deepEqual(parsePostgresUrl('postgres://%2Frun%2Fpostgresql/db').hosts, [{ host: '/run/postgresql', port: 5432 }])
  })

  test('target_session_attrs must select a writable server', () => {
    const writable = (attrs: string) => parsePostgresUrl(`postgres://u@a,b/db?target_session_attrs=${attrs}`).writable
    assert.deepEqual([writable('read-write'), writable('primary'), writable('any')], [true, true, false])
    assert.match(
      refusal(() => writable('standby')),
      /target_session_attrs must be any, read-write, primary$/,
    )
  })

  test('options become settings of the session', () => {
    const options = encodeURIComponent('-c search_path=counting,public --synchronous-commit=remote_apply -cwork_mem=4\\ MB')
    assert.deepEqual(
      [...parsePostgresUrl(`postgres://u@a/db?options=${options}`).session],
      [
        ['search_path', 'counting,public'],
        ['synchronous_commit', 'remote_apply'],
        ['work_mem', '4 MB'],
      ],
    )
    for (const given of ['-c%20search_path=counting', '-c%20search_path%3Dcounting', '-c+search_path%3Dcounting']) {
      assert.equal(parsePostgresUrl(`postgres://u@a/db?options=${given}`).session.get('search_path'), 'counting')
    }
    assert.match(
      refusal(() => parsePostgresUrl('postgres://u@a/db?options=search_path')),
      /options may have settings only, for example -c/,
    )
  })

  test('is completed by the variables of PostgreSQL’s own client', () => {
    const environment = {
      PGUSER: 'misty',
      PGPASSWORD: 'starmie',
      PGSSLMODE: 'require',
      PGHOST: 'elsewhere',
      PGTARGETSESSIONATTRS: 'primary',
    }
    const { hosts, user, password, sslMode, writable } = parsePostgresUrl('postgres://db/poke', environment)
    assert.deepEqual([hosts[0]?.host, user, password, sslMode, writable], ['db', 'misty', 'starmie', 'require', true])
    assert.equal(parsePostgresUrl('postgres://u@db/poke?sslmode=disable', environment).sslMode, 'disable')
  })

  test('an unknown or unsupported parameter is refused, by name if the name cannot be a secret', () => {
    const of = (query: string) => refusal(() => parsePostgresUrl(`postgres://u:pw@a/db?${query}`))
    assert.match(of('uselibpqcompat=true'), /the parameter uselibpqcompat that this service does not know; known are host, port,/)
    assert.match(of('sslmode=no-verify'), /sslmode must be disable, allow, prefer, require, verify-ca, verify-full/)
    assert.match(of('channel_binding=require'), /channel_binding=require cannot be ensured/)
    assert.match(of('sslmode=require&sslmode=disable'), /sslmode occurs twice/)
    assert.match(of('gssencmode=require'), /gssencmode must be disable, prefer/)
    assert.doesNotMatch(of('sslmode=require&2026secret=1'), /2026secret/)
  })

  test('an invalid URL is refused without repeating any part of the password', () => {
    const password = fc.string({ minLength: 6, maxLength: 20 }).filter((text) => !/^[\s.,:]*$/.test(text))
    const forms = [
      (pw: string) => `postgres://poke:${pw}@host/db`,
      (pw: string) => `postgres://poke:${pw}@a:1,b:x/db`,
      (pw: string) => `postgres://poke:x@host/db?${pw}`,
      (pw: string) => `postgres://poke:x@host/db?password=${pw}&sslmode=${pw}`,
      (pw: string) => `postgres://poke:x@host/db?options=${pw}`,
      (pw: string) => `postgres:poke:${pw}@host/db`,
      (pw: string) => `postgres://poke:x@host:${pw}/db`,
    ]
    fc.assert(
      fc.property(password, fc.constantFrom(...forms), (secret, form) => {
        // Words that a message has in any case do not count.
        const marked = `zQ7${secret}Zq9`
        try {
          const { name } = parsePostgresUrl(form(marked))
          assert.ok(!name.includes('zQ7') || form !== forms[0], name)
        } catch (error) {
          assert.ok(error instanceof StoreError, String(error))
          assert.ok(!/zQ7|Zq9/.test(error.message), error.message)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('sslmode', () => {
  const file = (name: string, content: string) => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  const ways = (query: string) => connectionWays(parsePostgresUrl(`postgres://u@db/poke?${query}`), NO_FILES)
  const authority = () => {
    const [key, certificate] = [join(folder, 'ca.key'), join(folder, 'ca.pem')]
    const subject = ['-subj', '/CN=authority', '-days', '2', '-nodes', '-newkey', 'rsa:2048']
    execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
    return { key, certificate }
  }

  test('decides whether TLS is used, and in which order it is tried', () => {
    const kinds = (mode: string) => ways(`sslmode=${mode}`).map((way) => (way === false ? 'plain' : 'tls'))
    assert.deepEqual(Object.fromEntries(['disable', 'allow', 'prefer', 'require'].map((mode) => [mode, kinds(mode)])), {
      disable: ['plain'],
      allow: ['plain', 'tls'],
      prefer: ['tls', 'plain'],
      require: ['tls'],
    })
  })

  test('require verifies nothing, but with an authority it is verify-ca; verify-full checks the host as well', () => {
    const { certificate } = authority()
    const look = (query: string) => {
      const [way] = ways(query)
      assert.ok(way)
      return { verifies: way.rejectUnauthorized, looksAtHost: way.checkServerIdentity === undefined }
    }
    assert.deepEqual(look('sslmode=require'), { verifies: false, looksAtHost: false })
    assert.deepEqual(look(`sslmode=require&sslrootcert=${certificate}`), { verifies: true, looksAtHost: false })
    assert.deepEqual(look(`sslmode=verify-ca&sslrootcert=${certificate}`), { verifies: true, looksAtHost: false })
    assert.deepEqual(look(`sslmode=verify-full&sslrootcert=${certificate}`), { verifies: true, looksAtHost: true })
    assert.deepEqual(look('sslrootcert=system'), { verifies: true, looksAtHost: true })
  })

  test('missing and contradictory parameters are wrong settings', () => {
    const { key, certificate } = authority()
    assert.match(
      refusal(() => ways('sslmode=verify-ca')),
      /needs the certificate of the authority .* STORE_CA_FILE or sslrootcert/,
    )
    assert.match(
      refusal(() => ways('sslmode=require&sslrootcert=system')),
      /needs sslmode=verify-full, and not require/,
    )
    assert.match(
      refusal(() => ways(`sslmode=require&sslcert=${certificate}`)),
      /a client certificate and its key belong together/,
    )
    assert.match(
      refusal(() => ways(`sslcert=${certificate}&sslkey=${file('no.key', 'x')}`)),
      /a certificate or key cannot be used/,
    )
    assert.match(
      refusal(() => ways('sslmode=prefer&sslnegotiation=direct')),
      /sslnegotiation=direct needs sslmode=require/,
    )
    assert.equal(ways(`sslmode=require&sslcert=${certificate}&sslkey=${key}`).length, 1)
  })

  test('a missing file ends the service with exit code 78, with its parameter', () => {
    const wrong = (env: Record<string, string>, message: RegExp) =>
      assert.throws(
        () => readConfig(env),
        (error) => {
          const { exitCode, message: said } = error as StoreError
          assert.equal(exitCode, 78)
          assert.match(said, message)
          return true
        },
      )
    wrong({ STORE_URL: 'postgres://u@db/poke?sslrootcert=/no/such/file' }, /the file that sslrootcert names cannot be read \(ENOENT\)/)
    wrong({ STORE_URL: 'postgres://u@db/poke', STORE_CA_FILE: '/no/such/file' }, /STORE_CA_FILE/)
    const { certificate } = authority()
    wrong(
      { STORE_URL: 'postgres://u@db/poke', STORE_CA_FILE: certificate },
      /sslmode=prefer also connects without encryption\. Add sslmode=verify-full/,
    )
    wrong({ STORE_CA_FILE: certificate }, /STORE_CA_FILE is set, but STORE_URL names an SQLite file/)
    readConfig({ STORE_URL: 'postgres://u@db/poke?sslmode=verify-full', STORE_CA_FILE: certificate })
  })
})
