/** The proxy of HTTP requests, from the variables that curl, Python and others use: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, also in lower case. */
import { BlockList, isIP } from 'node:net'
import { optional, type SettingKind, text } from './setting-kinds.ts'
import { type SettingValues, setting } from './settings.ts'

export const PROXY_SETTINGS = {
  HTTP_PROXY: setting(optional(proxyUrl()), '', 'The proxy of requests to `http://` addresses. Requests to this machine go to no proxy.'),
  HTTPS_PROXY: setting(
    optional(proxyUrl()),
    '',
    'The proxy of requests to `https://` addresses. The requests pass through it encrypted (CONNECT).',
  ),
  ALL_PROXY: setting(
    optional(proxyUrl()),
    '',
    'The proxy for each of the two above that is not set. A SOCKS proxy is not used, and the service warns of it.',
  ),
  NO_PROXY: setting(
    optional(text(/./, 'hosts, domains (with their subdomains), addresses and networks, each with or without a port; `*`: all')),
    '',
    'Destinations that are reached without a proxy, separated by commas. If `no_proxy` is set too, both lists apply.',
  ),
}
type ProxyValues = SettingValues<typeof PROXY_SETTINGS>

/** The loopback addresses of this machine. */
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/**
 * The environment with one name for each variable of a proxy, for `readSettings`. A lower-case name takes precedence, as with curl.
 * FTP_PROXY is left out, so that it is not reported as a misspelt setting.
 */
export function withProxyNames(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  const { http_proxy, https_proxy, all_proxy, ALL_PROXY, no_proxy, ftp_proxy: _, FTP_PROXY: __, ...named } = env
  const both = [no_proxy, env.NO_PROXY].filter((value) => value?.trim()).join()
  const all = all_proxy?.trim() ? all_proxy : ALL_PROXY
  return {
    ...named,
    ...first('HTTP_PROXY', http_proxy),
    ...first('HTTPS_PROXY', https_proxy),
    ...first('ALL_PROXY', isSocks(all) ? '' : all),
    ...first('NO_PROXY', both),
  }
}

/**
 * Warns where a SOCKS proxy is the only proxy for this URL, because it is not used. Desktops often set one beside the HTTP proxies, which is fine.
 * @param env the environment, before `withProxyNames`
 * @param target the URL that is requested
 * @returns sentences for the log
 */
export function proxyWarnings(env: Readonly<Record<string, string | undefined>>, target: string, values: ProxyValues): string[] {
  const socks = isSocks(env.all_proxy?.trim() ? env.all_proxy : env.ALL_PROXY)
  const { protocol } = new URL(target)
  const [proxy, name] = protocol === 'https:' ? [values.HTTPS_PROXY, 'HTTPS_PROXY'] : [values.HTTP_PROXY, 'HTTP_PROXY']
  if (!socks || proxy !== null || !usesProxy(target, values)) return []
  return [
    `ALL_PROXY is a SOCKS proxy, which this service cannot use: requests are sent without a proxy; set ${name} to an HTTP proxy, or NO_PROXY`,
  ]
}

function isSocks(proxy: string | undefined): boolean {
  return /^\s*socks/i.test(proxy ?? '')
}

function first(name: string, value: string | undefined): Record<string, string> {
  return value?.trim() ? { [name]: value } : {}
}

/** The proxy of requests to this URL; null if none is set, or if NO_PROXY or the loopback rule excludes the URL. */
export function proxyFor(target: string, values: ProxyValues): URL | null {
  const { HTTP_PROXY, HTTPS_PROXY, ALL_PROXY } = values
  const proxy = (new URL(target).protocol === 'https:' ? HTTPS_PROXY : HTTP_PROXY) ?? ALL_PROXY
  return proxy !== null && usesProxy(target, values) ? proxy : null
}

/** Whether requests to this URL use a proxy, if one is set. */
function usesProxy(target: string, { NO_PROXY }: ProxyValues): boolean {
  const url = new URL(target)
  const host = plainHost(url.hostname)
  const port = url.port || (DEFAULT_PORTS[url.protocol] ?? '')
  return !isLoopback(host) && !(NO_PROXY ?? '').split(/[\s,;]+/).some((entry) => entry !== '' && covers(entry, host, port))
}

/** A proxy as it may be shown: without user and password. */
export function shownProxy(proxy: URL): string {
  return proxy.origin
}

/** `http://user:password@host:port`; without a scheme it is http, as with curl. It is never shown, because it may contain a password. */
function proxyUrl(): SettingKind<URL> {
  return {
    accepts: 'http:// or https://, host and port of a proxy, with user:password@ before the host if it needs a login',
    isSecret: true,
    parse(given) {
      const refuse = (why: string) => ({ ok: false, why }) as const
      const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http://${given}`)
      if (/[\s"'`\p{C}]/u.test(given)) return refuse('it contains spaces, quotation marks or unprintable characters')
      if (url === null) return refuse('it is not a URL')
      if (!/^https?:$/.test(url.protocol)) return refuse('its scheme is neither http:// nor https://')
      const leftOver = 'in user and password, characters such as @ / ? # % need percent-encoding: %40 %2F %3F %23 %25'
      if (given.split('@').length > 2 || url.search || url.hash || url.pathname !== '/' || !isEncoded(url)) return refuse(leftOver)
      return { ok: true, value: url }
    },
  }
}

function isEncoded({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

/** @param host as `plainHost` gives it */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isIn(LOOPBACK, host)
}

/** Whether an entry of NO_PROXY covers this host and port. */
function covers(entry: string, host: string, port: string): boolean {
  const [, bracketed, plain, entryPort] = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? [null, null, entry, undefined]
  if (entryPort !== undefined && entryPort !== port) return false
  const name = bracketed ?? plain ?? ''
  if (name === '*') return true
  const [address = '', length] = name.split('/')
  if (isIP(address) > 0) {
    const list = new BlockList()
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    const bits = length === undefined ? (family === 'ipv4' ? 32 : 128) : Number(length)
    if (!(Number.isInteger(bits) && bits >= 0 && bits <= (family === 'ipv4' ? 32 : 128))) return false
    list.addSubnet(address, bits, family)
    return isIn(list, host)
  }
  const domain = plainHost(name.replace(/^\*?\./, ''))
  return domain !== '' && (host === domain || host.endsWith(`.${domain}`))
}

function isIn(list: BlockList, host: string): boolean {
  const family = isIP(host)
  return family > 0 && list.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

/** In lower case, without the brackets of an address and the dot of the root. */
function plainHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/(.)\.$/, '$1')
}
