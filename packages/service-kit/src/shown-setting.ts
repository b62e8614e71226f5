/** The one place that decides what of a setting may be shown: in a text that was refused, a password may stand anywhere. */
import { printable } from './foreign-text.ts'

/** Stands for what is not shown. */
export const HIDDEN = '***'

/** Characters of a setting that are shown. */
const MOST_SHOWN = 200
/** What a user, a password or a parameter comes with: an `@`, a query, a fragment, an assignment, a colon that no port follows. */
const MAY_BE_SECRET = /[@?#=]|:(?!\d{1,5}(?![^,/\s"'\]]))/

/** A setting that was refused: the text itself where nothing in it can be a password, as in `65536` or `localhost`; else `***`. */
export function shownRefused(given: string): string {
  const withoutScheme = given.replace(/^["']?[a-z][a-z0-9+.-]*:\/\//i, '')
  return MAY_BE_SECRET.test(withoutScheme) ? HIDDEN : printable(given, MOST_SHOWN)
}

/** The parts of a URL of a server, for one or several hosts; without anything left over that would be part of a password. */
const SERVER_URL =
  /^(?<scheme>[a-z][a-z0-9+.-]*:\/\/)(?:(?<user>[^:/?#@]*)(?::[^/?#@]*)?@)?(?<place>[^/?#@]*(?:\/[^?#@]*)?)(?:\?(?<query>[^#@]*))?$/i

/** Whether a URL of a server has parts that cannot be mistaken for each other. */
export function isPlainServerUrl(given: string): boolean {
  return SERVER_URL.test(given)
}

/**
 * A URL as it may be shown: scheme, user, hosts and path; never the password, nor the query, which may have one too.
 * Where its parts cannot be told from each other, nothing but `***`.
 */
export function shownUrl(given: string): string {
  const parts = SERVER_URL.exec(given)?.groups
  if (parts === undefined) return HIDDEN
  const { scheme = '', user, place = '' } = parts
  return printable(`${scheme}${user ? `${user}@` : ''}${place}`, MOST_SHOWN)
}
