/** Kinds of settings: durations, sizes, addresses. Each kind parses a text, and says which texts it accepts. */
import { readFileSync } from 'node:fs'
import { printable } from './foreign-text.ts'
import { ownError } from './own-errors.ts'
import { HIDDEN, isPlainServerUrl, shownUrl } from './shown-setting.ts'

/** The result of parsing; `why` explains a refusal where "accepted: …" alone does not. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why?: string }

export interface SettingKind<T> {
  /** Completes "accepted: …". */
  readonly accepts: string
  parse(text: string): Parsed<T>
  /** An accepted text without its secrets. A kind without this method has none. Refused texts are shown by `shownRefused`. */
  show?(text: string): string
  /** No text of this setting is ever shown. */
  readonly isSecret?: true
}

const accept = <T>(value: T): Parsed<T> => ({ ok: true, value })
const refuse = (why?: string): Parsed<never> => (why === undefined ? { ok: false } : { ok: false, why })

export interface Bounds {
  readonly min?: number
  readonly max?: number
}

const within = (value: number, { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Bounds) => value >= min && value <= max

/** A whole number. */
export function integer(bounds: { readonly min: number; readonly max: number }): SettingKind<number> {
  return {
    accepts: `a whole number from ${bounds.min} to ${bounds.max}`,
    parse(text) {
      const value = Number(text)
      return /^-?\d{1,15}$/.test(text) && within(value, bounds) ? accept(value) : refuse()
    },
  }
}

/** A number, as `0.5`. */
export function number(bounds: { readonly min: number; readonly max: number }): SettingKind<number> {
  return {
    accepts: `a number from ${bounds.min} to ${bounds.max}`,
    parse(text) {
      const value = Number(text)
      return /^\d{1,15}(\.\d{1,9})?$/.test(text) && within(value, bounds) ? accept(value) : refuse()
    },
  }
}

const DURATION_UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** A length of time with its unit, as `60s`; in ms. The bounds are texts of the same form. */
export function duration(bounds: { readonly min: string; readonly max: string }): SettingKind<number> {
  return quantity('a duration', DURATION_UNITS, bounds)
}

/** An amount of memory with its unit, as `4MiB`; in bytes. The bounds are texts of the same form. */
export function size(bounds: { readonly min: string; readonly max: string }): SettingKind<number> {
  return quantity('a size', SIZE_UNITS, bounds)
}

function quantity(
  what: string,
  units: Readonly<Record<string, number>>,
  bounds: { readonly min: string; readonly max: string },
): SettingKind<number> {
  const names = Object.keys(units)
  const form = new RegExp(`^(\\d{1,9}(?:\\.\\d{1,3})?) ?(${names.join('|')})$`)
  const read = (text: string): number | null => {
    const [, amount, unit] = form.exec(text) ?? []
    return amount === undefined || unit === undefined ? null : Math.round(Number(amount) * (units[unit] as number))
  }
  const limits = { min: read(bounds.min) as number, max: read(bounds.max) as number }
  return {
    accepts: `${what} with its unit (${names.join(', ')}), from ${bounds.min} to ${bounds.max}`,
    parse(text) {
      const value = read(text)
      return value !== null && within(value, limits) ? accept(value) : refuse()
    },
  }
}

/** One of the given words. */
export function oneOf<const T extends string>(...words: readonly [T, ...T[]]): SettingKind<T> {
  return {
    accepts: words.length === 1 ? words[0] : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`,
    parse: (text) => ((words as readonly string[]).includes(text) ? accept(text as T) : refuse()),
  }
}

/** A text that matches `form`. @param accepts completes "accepted: …" */
export function text(form: RegExp, accepts: string): SettingKind<string> {
  return { accepts, parse: (given) => (form.test(given) ? accept(given) : refuse()) }
}

/** A path of the file system, absolute or relative to the working directory. */
export function path(of: 'file' | 'folder'): SettingKind<string> {
  return {
    accepts: `the path of a ${of}, absolute or from the working directory`,
    parse(given) {
      const why = whyNoPath(given) ?? (of === 'file' ? whyNoFile(given) : null)
      return why === null ? accept(given) : refuse(why)
    },
  }
}

/** Why this is probably not the path that was meant; null if it looks right. */
function whyNoPath(given: string): string | null {
  if (given.includes('\0')) return 'it contains a zero byte'
  if (/^(["'`]).*\1$/s.test(given)) return 'it is in quotation marks: remove them'
  return /^~/.test(given) ? HOME : null
}

function whyNoFile(given: string): string | null {
  return /(?:^|[/\\])\.{0,2}$/.test(given) ? 'it is the path of a folder: add the name of a file' : null
}

const HOME = 'only shells replace ~ by the home folder: write the whole path (or ./~ for a file of that name)'

/** Names separated by commas; none is allowed. */
export function names(form: RegExp, accepts: string): SettingKind<readonly string[]> {
  return {
    accepts,
    parse(given) {
      const list = splitList(given)
      return list.every((name) => form.test(name)) ? accept(list) : refuse()
    },
  }
}

/** `host:port` of at least one server, separated by commas. */
export function servers(): SettingKind<readonly string[]> {
  const form = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*)):(\d{1,5})$/
  return {
    accepts: 'host:port, several separated by commas',
    parse(given) {
      const list = splitList(given)
      const valid = list.every((server) => {
        const port = Number(form.exec(server)?.[1])
        return port >= 1 && port <= 65_535
      })
      return list.length > 0 && valid ? accept(list) : refuse()
    },
  }
}

/** An HTTP URL without user and password; its value has no slash at the end. */
export function webUrl(): SettingKind<string> {
  return {
    accepts: 'an http:// or https:// URL without user, password, query and fragment',
    parse(given) {
      const why = whyNoUrl(given)
      if (why !== null) return refuse(why)
      const url = URL.parse(given)
      if (url === null || !/^https?:$/.test(url.protocol)) return refuse()
      if (given.includes('@')) return refuse('it contains an @, as before a host that follows a user or a password: remove them')
      if (url.search || url.hash) return refuse('it contains a ? or a #')
      return accept(url.href.replace(/\/+$/, ''))
    },
  }
}

export interface UrlSchemes {
  /** Followed by a path, as `sqlite:data/counts.db`. */
  readonly file: readonly string[]
  /** Followed by `//user@host:port/path`; several hosts are allowed. */
  readonly server: readonly string[]
  /** The setting that can name a file with the password, so that the URL does not have to contain it. */
  readonly passwordSetting: string
}

/** A URL of one of the given schemes; it may contain a password. @param accepts completes "accepted: …" */
export function url({ file, server, passwordSetting }: UrlSchemes, accepts: string): SettingKind<string> {
  const leftOver =
    'its parts are ambiguous, because special characters in user and password need percent-encoding ' +
    `(@ is %40, / is %2F, ? is %3F, # is %23, % is %25); or remove the password, and name a file that contains it in ${passwordSetting}`
  return {
    accepts,
    parse(given) {
      const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/.exec(given) ?? []
      const isFile = file.includes(scheme)
      // A path may have spaces in it.
      const why = whyNoUrl(isFile ? given.replaceAll(' ', '') : given)
      if (why !== null) return refuse(why)
      if (isFile) {
        if (rest === '') return refuse('the path is missing')
        if (/^\/\/(?!\/)|:.*@|\?/.test(rest)) return refuse(`${scheme}: takes the path of a file, without host, user and parameters`)
        if (/^:memory:$|^file:/.test(rest)) return refuse(`${scheme}: takes the path of a file, and nothing else`)
        const whyNot = whyNoPath(rest) ?? whyNoFile(rest)
        return whyNot === null ? accept(given) : refuse(whyNot)
      }
      if (!server.includes(scheme)) return refuse(`it does not begin with ${[...file, ...server].map((known) => `${known}:`).join(' or ')}`)
      if (!rest.startsWith('//')) return refuse(`${scheme}: is not followed by //`)
      if (/%(?![0-9a-f]{2})/i.test(given) || !isPlainServerUrl(given)) return refuse(leftOver)
      return accept(given)
    },
    show: (given) => (file.some((scheme) => given.startsWith(`${scheme}:`)) ? printable(given) : shownUrl(given)),
  }
}

/** Why this is not a URL of any scheme; null if nothing speaks against it. */
function whyNoUrl(given: string): string | null {
  if (/^["'`]|["'`]$/.test(given)) return 'it is in quotation marks: remove them'
  return /[\s\p{C}]/u.test(given) ? 'it contains spaces or unprintable characters' : null
}

/** The path of a file that contains a secret. The path is never shown, because somebody may have set the secret itself by mistake. */
export function secretFile(): SettingKind<string> {
  return {
    accepts: 'the path of a readable file that contains the secret',
    show: () => HIDDEN,
    isSecret: true,
    parse(given) {
      const content = readText(given)
      if (typeof content !== 'string') return content
      return withoutLineEnd(content) === '' ? refuse('the file is empty') : accept(given)
    },
  }
}

/**
 * The secret in a file, without the line break at its end. Call it whenever the secret is needed, so that it can be changed while the service runs.
 * @param setting that names the file
 * @throws ServiceError if the file cannot be read any more. It names the setting and not the path, because `/health/ready` shows the message.
 */
export function readSecret(file: string, setting: string): string {
  try {
    return withoutLineEnd(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException
    throw ownError(
      'config/secret-unreadable',
      `the file that ${setting} names cannot be read any more (${code}): restore it and let this user read it`,
    )
  }
}

/** The path of a text file; its value is the content of the file. */
export function textFile(form: RegExp, accepts: string): SettingKind<string> {
  return {
    accepts,
    parse(given) {
      const content = readText(given)
      if (typeof content !== 'string') return content
      return form.test(content) ? accept(content) : refuse('the file contains something else')
    },
  }
}

/** The same kind, but the setting may be empty; its value is null then. */
export function optional<T>(kind: SettingKind<T>): SettingKind<T | null> {
  return { ...kind, parse: (given) => (given === '' ? accept(null) : kind.parse(given)) }
}

function readText(file: string): string | Parsed<never> {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const why = `the file cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`
    return refuse(file.startsWith('~') ? `${why}; ${HOME}` : why)
  }
}

function withoutLineEnd(content: string): string {
  return content.replace(/\r?\n$/, '')
}

function splitList(given: string): string[] {
  return given
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
