/** Checks the Host header of requests for the page, against DNS rebinding. */
import { isIP } from 'node:net'

/**
 * A web page elsewhere can point a name of its own at 127.0.0.1 and read what answers there (DNS rebinding), but the browser then sends that name as
 * Host. An IP literal cannot be rebound, and `localhost` never leaves the machine (RFC 6761), so these are allowed whatever the address listened on.
 * @param header the request's Host header, with or without a port
 * @param allowed further names, in lower case
 */
export function isAllowedHost(header: string | undefined, allowed: ReadonlySet<string>): boolean {
  if (header === undefined) return false
  const name = hostName(header)
  if (name === null) return false
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0 || allowed.has(name)
}

/** The name in a Host header, in lower case, without port, brackets and the root's dot; null where it is none. */
function hostName(header: string): string | null {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/.exec(header.trim().toLowerCase())
  if (parts === null) return null
  const name = parts[1] ?? parts[2] ?? ''
  return name.endsWith('.') ? name.slice(0, -1) : name
}
