/** Reads a PostgreSQL URL as PostgreSQL's own client (libpq) does: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS */
import { userInfo } from 'node:os'
import { StoreError } from '../../errors.ts'

export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

export interface PostgresUrl {
  /** Hosts, ports and database for messages, without user and password. */
  readonly name: string
  /** Tried in this order. A host that begins with a slash is the folder of a Unix socket. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  /** Whether a server that refuses writes is skipped for the next one. */
  readonly writable: boolean
  readonly user: string
  readonly password: string | null
  readonly database: string
  readonly applicationName: string | null
  /** The time to connect to one host, in ms; null: no limit of its own. */
  readonly connectTimeout: number | null
  /** Settings of each session, for example `search_path`. */
  readonly session: ReadonlyMap<string, string>
  readonly sslMode: SslMode
  /** Whether a connection begins with the TLS handshake, without asking the server first (PostgreSQL 17). */
  readonly sslDirect: boolean
  /** The path of a file of certificates, or `system`. */
  readonly rootCertificate: string | null
  readonly certificate: string | null
  readonly key: string | null
  readonly keyPassword: string | null
  readonly channelBinding: boolean
}

/** The supported parameters, and the environment variable that stands for each where the URL leaves it out. */
const PARAMETERS = {
  host: 'PGHOST',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  application_name: 'PGAPPNAME',
  fallback_application_name: null,
  channel_binding: 'PGCHANNELBINDING',
  client_encoding: 'PGCLIENTENCODING',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  gssencmode: 'PGGSSENCMODE',
  load_balance_hosts: 'PGLOADBALANCEHOSTS',
  options: 'PGOPTIONS',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslmode: 'PGSSLMODE',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslpassword: null,
  sslrootcert: 'PGSSLROOTCERT',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
} as const
type Parameter = keyof typeof PARAMETERS

/** Unsupported parameters of libpq and other clients, which messages name. Any other name may be a piece of a password, and is not shown. */
const NAMED_UNKNOWN =
  /^(hostaddr|passfile|service|require_?auth|requirepeer|require_auth|krbsrvname|gsslib|gssdelegation|ssl|sslcrl|sslcrldir|sslsni|sslcompression|sslcertmode|ssl_(min|max)_protocol_version|(min|max)_protocol_version|keepalives(_idle|_interval|_count)?|tcp_user_timeout|replication|uselibpqcompat|sslaccept|schema|pgbouncer|connection_limit|pool_timeout|statement_timeout|lock_timeout|search_path)$/

const FORM = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?([^#]*))?$/
const DEFAULT_PORT = 5432

/**
 * @param environment for what the URL leaves out, as libpq reads it (PGSSLMODE and the like)
 * @throws StoreError `unusable`; its message has nothing that may be a secret
 */
export function parsePostgresUrl(given: string, environment: Readonly<Record<string, string | undefined>> = {}): PostgresUrl {
  const [form, login = '', authority = '', path = '', query = ''] = FORM.exec(given) ?? []
  if (form === undefined) throw wrong('it is not a URL of the form postgres://user@host:port/database')
  const parameters = readParameters(query)
  const get = (name: Parameter): string | null => {
    const variable = PARAMETERS[name]
    return parameters.get(name) || (variable !== null && environment[variable]) || null
  }
  const oneOf = <T extends string>(name: Parameter, accepted: readonly T[], byDefault: T): T => {
    const value = get(name) ?? byDefault
    if (!(accepted as readonly string[]).includes(value)) throw wrong(`${name} must be ${accepted.join(', ')}`)
    return value as T
  }

  const [givenUser = '', ...passwords] = login.split(':')
  if (passwords.length > 1) throw wrong('a colon in user or password must be written %3A')
  // A parameter wins over the part before the ?, and that part wins over the environment.
  const first = (name: Parameter, before: string): string => parameters.get(name) || before || get(name) || ''
  const user = first('user', decoded(givenUser)) || ownName()
  const database = first('dbname', decoded(path)) || user
  const hosts = readHosts(authority, parameters, get)
  const isShort = authority !== '' && !parameters.has('host') && !parameters.has('port')
  const rootCertificate = get('sslrootcert')
  const sslMode = readSslMode(parameters, oneOf('sslmode', SSL_MODES, rootCertificate === 'system' ? 'verify-full' : 'prefer'))
  const certificate = get('sslcert')
  const key = get('sslkey')
  const seconds = get('connect_timeout') ?? '0'
  if (!/^\d{1,6}$/.test(seconds)) throw wrong('connect_timeout must be a whole number of seconds')
  // The store needs to write, so a standby does not serve.
  const target = oneOf('target_session_attrs', ['any', 'read-write', 'primary'], hosts.length > 1 ? 'read-write' : 'any')
  oneOf('gssencmode', ['disable', 'prefer'], 'prefer')
  oneOf('load_balance_hosts', ['disable'], 'disable')
  if (!/^(utf-?8|auto)$/i.test(get('client_encoding') ?? 'auto')) throw wrong('client_encoding must be UTF8')
  if (get('channel_binding') === 'require') {
    throw wrong('channel_binding=require cannot be ensured by the client of this service: leave it out, or use sslmode=verify-full')
  }
  return {
    name: `postgres://${isShort ? authority : hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${database}`,
    hosts,
    writable: target !== 'any',
    user,
    password: first('password', decoded(passwords[0] ?? '')) || null,
    database,
    applicationName: get('application_name') ?? get('fallback_application_name'),
    connectTimeout: Number(seconds) === 0 ? null : Number(seconds) * 1000,
    session: readOptions(get('options') ?? ''),
    sslMode,
    sslDirect: oneOf('sslnegotiation', ['postgres', 'direct'], 'postgres') === 'direct',
    rootCertificate,
    certificate,
    key,
    keyPassword: get('sslpassword'),
    channelBinding: oneOf('channel_binding', ['disable', 'prefer'], 'disable') === 'prefer',
  }
}

function readParameters(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  for (const [i, pair] of (query === '' ? [] : query.split('&')).entries()) {
    // A second = belongs to the value; libpq itself wants it written %3D.
    const [, name = '', value] = /^([^=]*)(?:=(.*))?$/.exec(pair) ?? []
    const isAlias = name === 'ssl' && value === 'true'
    if (!isAlias && !Object.hasOwn(PARAMETERS, name)) {
      const which = NAMED_UNKNOWN.test(name) ? `the parameter ${name}` : `a parameter (number ${i + 1} behind the ?)`
      throw wrong(`it has ${which} that this service does not know; known are ${Object.keys(PARAMETERS).join(', ')}`)
    }
    if (value === undefined) throw wrong(`the parameter ${name} has no value`)
    if (parameters.has(name)) throw wrong(`the parameter ${name} occurs twice`)
    parameters.set(name, decoded(value))
  }
  return parameters
}

/** `ssl=true` is sslmode=require for libpq, too. */
function readSslMode(parameters: ReadonlyMap<string, string>, sslMode: SslMode): SslMode {
  if (!parameters.has('ssl')) return sslMode
  if (parameters.has('sslmode')) throw wrong('ssl and sslmode say the same: leave ssl out')
  return 'require'
}

/** Hosts of a parameter are not split at colons: a folder of sockets may have a colon in its name, and an address needs no brackets. */
function readHosts(
  authority: string,
  parameters: ReadonlyMap<string, string>,
  get: (name: 'host' | 'port') => string | null,
): PostgresUrl['hosts'] {
  const before = authority === '' ? [] : authority.split(',').map(readHost)
  const own = parameters.get('host') || (before.length === 0 && get('host')) || null
  const hosts = own?.split(',') ?? (before.length > 0 ? before.map(({ host }) => host) : [''])
  const givenPorts = parameters.get('port')?.split(',') ?? before.map(({ port }) => port)
  const ports = givenPorts.some((port) => port !== '') ? givenPorts : (get('port')?.split(',') ?? [])
  if (ports.length > 1 && ports.length !== hosts.length) throw wrong('port must have one port, or one for each host')
  return hosts.map((host, i) => {
    const port = (ports.length === 1 ? ports[0] : ports[i]) || DEFAULT_PORT
    const number = Number(port)
    if (!Number.isInteger(number) || number < 1 || number > 65_535) throw wrong('a port must be a whole number from 1 to 65535')
    return { host: host || 'localhost', port: number }
  })
}

function readHost(given: string): { readonly host: string; readonly port: string } {
  // An address may name its network interface: [fe80::1%25eth0].
  const [, address, name, port = ''] = /^(?:\[([^[\]]+)\]|([^:[\]]*))(?::(\d*))?$/i.exec(given) ?? []
  if (address === undefined && name === undefined)
    throw wrong('a host must be name:port or [address]:port; several are separated by commas')
  return { host: decoded(address ?? name ?? ''), port }
}

/** Reads the options of a server process (`-c name=value`, `--name=value`). They are applied after connecting, which poolers allow. */
function readOptions(options: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>()
  // A backslash escapes the next character. Many programs that make URLs write a space as +.
  const words =
    options
      .replaceAll('+', ' ')
      .match(/(?:\\.|[^\s\\])+/g)
      ?.map((word) => word.replace(/\\(.)/g, '$1')) ?? []
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    const text = word === '-c' ? (words[++i] ?? '') : word.replace(/^(-c|--)/, '')
    const [, name, value] = /^([a-z_][a-z0-9_.-]*)=(.*)$/is.exec(text) ?? []
    if (name === undefined || value === undefined || !word.startsWith('-'))
      throw wrong('options may have settings only, for example -c search_path=counting')
    settings.set(name.replaceAll('-', '_').toLowerCase(), value)
  }
  return settings
}

/** The default user, as in libpq: the user of this process. */
function ownName(): string {
  try {
    return userInfo().username
  } catch {
    // In a container the user may have a number and no name.
    throw wrong('it names no user')
  }
}

function decoded(text: string): string {
  if (text.includes('%00')) throw wrong('it contains a NUL (%00), which PostgreSQL does not accept')
  try {
    return decodeURIComponent(text)
  } catch {
    throw wrong('a % in it is not followed by two hexadecimal digits: write % itself as %25')
  }
}

/** The message repeats nothing of the URL: by mistake a password may be anywhere in it. */
function wrong(why: string): StoreError {
  return new StoreError('unusable', `STORE_URL cannot be used: ${why}`)
}
