/** Decides which parts of a setting may be shown. A refused text can contain a password anywhere. */
import { printable } from './foreign-text.ts'

/** Takes the place of a hidden text. */
export const HIDDEN = '***'

/** Characters of a setting that are shown. */
const MOST_SHOWN = 200
/** A text with a user, a password or a parameter contains an `@`, a query, a fragment, an assignment, or a colon without a port. */
const MAY_BE_SECRET = /[@?#=]|:(?!\d{1,5}(?![^,/\s"'\]]))/

/** A refused text: as it is if nothing in it can be a password, as in `65536` or `localhost`; otherwise `***`. */
export function shownRefused(given: string): string {
  const withoutScheme = given.replace(/^["']?[a-z][a-z0-9+.-]*:\/\//i, '')
  return MAY_BE_SECRET.test(withoutScheme) ? HIDDEN : printable(given, MOST_SHOWN)
}

/** The parts of a server's URL with one or several hosts. A URL with unencoded special characters in its password does not match. */
const SERVER_URL =
  /^(?<scheme>[a-z][a-z0-9+.-]*:\/\/)(?:(?<user>[^:/?#@]*)(?::[^/?#@]*)?@)?(?<place>[^/?#@]*(?:\/[^?#@]*)?)(?:\?(?<query>[^#@]*))?$/i

/** Whether the parts of a server's URL are unambiguous. */
export function isPlainServerUrl(given: string): boolean {
  return SERVER_URL.test(given)
}

/**
 * A URL without its secrets: scheme, user, hosts and path. The password is left out, and so is the query, which can contain one.
 * A URL with ambiguous parts becomes `***`.
 */
export function shownUrl(given: string): string {
  const parts = SERVER_URL.exec(given)?.groups
  if (parts === undefined) return HIDDEN
  const { scheme = '', user, place = '' } = parts
  return printable(`${scheme}${user ? `${user}@` : ''}${place}`, MOST_SHOWN)
}
