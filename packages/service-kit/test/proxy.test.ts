/** The proxy of a request, chosen by environment variables. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PROXY_SETTINGS, proxyFor, proxyWarnings, shownProxy, withProxyNames } from '../src/proxy.ts'
import type { ServiceError } from '../src/service-error.ts'
import { readSettings } from '../src/settings.ts'

const POKE_API = 'https://pokeapi.co/api/v2'

function proxyOf(target: string, env: Record<string, string>): string | null {
  const { values, warnings } = readSettings(PROXY_SETTINGS, withProxyNames(env))
  assert.deepEqual(warnings, [])
  return proxyFor(target, values)?.href ?? null
}

describe('the variables', () => {
  for (const [target, env, proxy] of [
    [POKE_API, {}, null],
    [POKE_API, { HTTPS_PROXY: 'http://p:3128' }, 'http://p:3128/'],
    [POKE_API, { https_proxy: 'http://p:3128' }, 'http://p:3128/'],
    [POKE_API, { https_proxy: 'http://small:1', HTTPS_PROXY: 'http://large:2' }, 'http://small:1/'],
    [POKE_API, { https_proxy: ' ', HTTPS_PROXY: 'http://large:2' }, 'http://large:2/'],
    [POKE_API, { HTTP_PROXY: 'http://p:3128' }, null],
    [POKE_API, { HTTPS_PROXY: 'p:3128' }, 'http://p:3128/'],
    [POKE_API, { HTTPS_PROXY: 'https://p' }, 'https://p/'],
    [POKE_API, { HTTPS_PROXY: 'http://ash:pi%40ka@p:3128/' }, 'http://ash:pi%40ka@p:3128/'],
    ['http://mirror/api/v2', { HTTP_PROXY: 'http://p:3128', HTTPS_PROXY: 'http://q:3128' }, 'http://p:3128/'],
    [POKE_API, { HTTPS_PROXY: 'http://p:1', FTP_PROXY: 'http://f:1', ftp_proxy: 'x', ALL_PROXY: 'socks5://s:1' }, 'http://p:1/'],
    [POKE_API, { ALL_PROXY: 'http://a:1' }, 'http://a:1/'],
    [POKE_API, { all_proxy: 'a:1', ALL_PROXY: 'http://large:1' }, 'http://a:1/'],
    [POKE_API, { ALL_PROXY: 'http://a:1', HTTPS_PROXY: 'http://p:1' }, 'http://p:1/'],
    [POKE_API, { ALL_PROXY: 'http://a:1', HTTP_PROXY: 'http://p:1' }, 'http://a:1/'],
    [POKE_API, { ALL_PROXY: 'http://a:1', NO_PROXY: '.co' }, null],
    ['http://mirror/api/v2', { ALL_PROXY: 'http://a:1' }, 'http://a:1/'],
    [POKE_API, { ALL_PROXY: 'socks5h://s:1' }, null],
    [POKE_API, { all_proxy: 'SOCKS://s:1', ALL_PROXY: 'http://a:1' }, null],
  ] as const) {
    test(`${target} with ${JSON.stringify(env)}: ${proxy ?? 'straight'}`, () => assert.equal(proxyOf(target, { ...env }), proxy))
  }

  test('a SOCKS proxy is reported if it is the only proxy, and its URL is never shown', () => {
    const warnings = (target: string, env: Record<string, string>) =>
      proxyWarnings(env, target, readSettings(PROXY_SETTINGS, withProxyNames(env)).values)
    const [warning, ...more] = warnings(POKE_API, { ALL_PROXY: 'socks5://ash:pikachu@s:1080', HTTP_PROXY: 'http://p:1' })
    assert.deepEqual(more, [])
    assert.match(
      warning ?? '',
      /^ALL_PROXY is a SOCKS proxy, which this service cannot use: requests are sent without a proxy; set HTTPS_PROXY /,
    )
    assert.doesNotMatch(warning ?? '', /pikachu/)
    assert.match(warnings('http://mirror/', { all_proxy: 'socks://s:1' })[0] ?? '', /set HTTP_PROXY /)
    for (const env of [
      { ALL_PROXY: 'socks5://s:1', HTTPS_PROXY: 'http://p:1' },
      { ALL_PROXY: 'socks5://s:1', NO_PROXY: '*' },
      { ALL_PROXY: 'http://a:1' },
      {},
    ])
      assert.deepEqual(warnings(POKE_API, env), [])
    assert.deepEqual(warnings('http://127.0.0.1:8082/', { ALL_PROXY: 'socks5://s:1' }), [])
  })

  test('requests to this machine use no proxy, whichever of its names is used', () => {
    for (const host of ['localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1', '127.9.8.7', '[::1]', '127.1'])
      assert.equal(proxyOf(`http://${host}:8082/api/v2`, { HTTP_PROXY: 'http://p:1' }), null, host)
    for (const host of ['localhost.example', 'notlocalhost', '128.0.0.1', '[::2]', '127.example'])
      assert.notEqual(proxyOf(`http://${host}:8082/api/v2`, { HTTP_PROXY: 'http://p:1' }), null, host)
  })

  test('a proxy is shown without its login', () => {
    assert.equal(shownProxy(new URL('http://ash:secret@p:3128/')), 'http://p:3128')
  })
})

describe('NO_PROXY', () => {
  const straight = (target: string, noProxy: string) => {
    assert.equal(proxyOf(target, { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://p:1', NO_PROXY: noProxy }), null, `${target}, ${noProxy}`)
  }
  const byProxy = (target: string, noProxy: string) => {
    assert.notEqual(
      proxyOf(target, { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://p:1', NO_PROXY: noProxy }),
      null,
      `${target}, ${noProxy}`,
    )
  }

  test('excludes hosts, and domains with their subdomains', () => {
    for (const entries of [
      'pokeapi.co',
      '.co',
      'co',
      'a,pokeapi.co',
      'a pokeapi.co',
      'a;pokeapi.co',
      ' a , POKEAPI.CO. ',
      '*',
      'x,*',
      '*.co',
    ])
      straight(POKE_API, entries)
    for (const entries of ['okeapi.co', 'www.pokeapi.co', 'pokeapi', '', ',', '.', 'pokeapi.co.uk', '*pokeapi.co'])
      byProxy(POKE_API, entries)
    straight('https://a.b.example/', '.b.example')
    straight('https://b.example/', '.b.example')
  })

  test('excludes a single port if an entry has one', () => {
    for (const entries of ['pokeapi.co:443', '*:443']) straight(POKE_API, entries)
    for (const entries of ['pokeapi.co:80', 'pokeapi.co:4433', '*:80']) byProxy(POKE_API, entries)
    straight('http://10.1.2.3:8000/', '10.1.2.3:8000')
    byProxy('http://10.1.2.3:8001/', '10.1.2.3:8000')
  })

  test('excludes addresses and networks', () => {
    for (const entries of ['10.1.2.3', '10.0.0.0/8', '10.1.2.0/24', '0.0.0.0/0']) straight('http://10.1.2.3/', entries)
    for (const entries of ['10.1.2.4', '10.2.0.0/16', '10.0.0.0/33', '10.0.0.0/x', 'fd00::/8']) byProxy('http://10.1.2.3/', entries)
    for (const entries of ['fd00::1', '[fd00::1]', 'fd00:0::1', 'fd00::/8', '[fd00::1]:80']) straight('http://[fd00::1]/', entries)
    for (const entries of ['fd00::2', '[fd00::1]:81', 'fe00::/16', '10.0.0.0/8']) byProxy('http://[fd00::1]/', entries)
  })

  test('applies in lower case and in upper case together', () => {
    const env = { HTTPS_PROXY: 'http://p:1', no_proxy: 'a.example', NO_PROXY: 'b.example' }
    assert.equal(proxyOf('https://a.example/', env), null)
    assert.equal(proxyOf('https://b.example/', env), null)
    assert.equal(proxyOf('https://c.example/', env), 'http://p:1/')
  })

  test('accepts any text without an error', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (noProxy) => void proxyOf(POKE_API, { HTTPS_PROXY: 'http://p:1', NO_PROXY: noProxy })),
    )
  })
})

describe('an invalid proxy', () => {
  const refusal = (value: string): string => {
    try {
      readSettings(PROXY_SETTINGS, withProxyNames({ HTTPS_PROXY: value }))
    } catch (error) {
      assert.equal((error as ServiceError).exitCode, 78)
      return (error as ServiceError).message
    }
    return ''
  }

  for (const [value, why] of [
    ['socks5://p:1080', /its scheme is neither http:\/\/ nor https:\/\//],
    ['"http://p:1"', /quotation marks/],
    ['http://', /it is not a URL/],
    ['http://p:99999', /it is not a URL/],
    ['http://ash:pi@ka@p:1', /percent-encoding/],
    ['http://ash:pi/ka@p:1', /it is not a URL|percent-encoding/],
    ['http://ash:100%@p:1', /percent-encoding/],
    ['http://p:1/path', /percent-encoding/],
  ] as const) {
    test(`${value}: exit code 78, and why`, () => assert.match(refusal(value), why))
  }

  test('is never shown, because it can contain a password anywhere', () => {
    const broken = fc.constantFrom(
      (pw: string) => `http://ash:${pw}@x@p:1`,
      (pw: string) => `"http://ash:${pw}@p:1"`,
      (pw: string) => `socks5://ash:${pw}@p:1`,
      (pw: string) => `http//ash:${pw}@p:1`,
      (pw: string) => `http://ash:${pw}/@p:1`,
      (pw: string) => `http://p:1/${pw}`,
      (pw: string) => `http://p:1?${pw}`,
      (pw: string) => `ash:${pw}`,
      (pw: string) => `http:ash:${pw}@p`,
    )
    const password = fc.stringMatching(/^[A-Za-z0-9@/?#%:]{6,20}$/).map((text) => `Qz${text}`)
    fc.assert(
      fc.property(broken, password, (form, pw) => {
        assert.ok(!refusal(form(pw)).includes(pw))
      }),
    )
  })
})
