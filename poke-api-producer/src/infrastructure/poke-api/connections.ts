/**
 * The connections to the API: straight, or by a proxy. Through a proxy, requests to `http://` are sent to it whole, and `https://` goes through a
 * tunnel that it opens (CONNECT; RFC 9110, 9.3.6), so that it sees where they go and nothing of what is said.
 */
import { buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { layer } from './exchange.ts'
import { withoutInterimAnswers } from './interim-answers.ts'

export interface ConnectionsOptions {
  /** Scheme, host and port of the API. */
  readonly origin: string
  readonly proxy: URL | null
  /** Connections at most. */
  readonly most: number
  /** Longest for a connection to be made, and between two pieces of a body, in ms. */
  readonly silence: number
  /** Longest until an answer begins, in ms. */
  readonly timeout: number
  /** Largest body on the wire, in bytes. */
  readonly maxBody: number
}

/** Requests with the API's origin go to it. `destroy` ends all of them. */
export function openConnections({ origin, proxy, most, silence, timeout, maxBody }: ConnectionsOptions): Dispatcher {
  const pool = (to: string, connect: buildConnector.connector) =>
    new Pool(to, {
      connections: most,
      allowH2: false, // A few connections that stay open are enough, and there is one way for them to fail.
      connect: withoutInterimAnswers(connect),
      headersTimeout: timeout,
      bodyTimeout: silence,
      maxResponseSize: maxBody,
    })
  const straight = buildConnector({ timeout: silence, allowH2: false })
  if (proxy === null) return pool(origin, straight)
  if (new URL(origin).protocol === 'http:') return pool(proxy.origin, straight).compose(handedTo(proxy))
  return new ProxyAgent({
    uri: proxy.href,
    allowH2: false,
    connectTimeout: silence,
    // The library's own connections to the API have no limits of ours.
    factory: (to, { connect }: { connect: buildConnector.connector }) => pool(String(to), connect),
    clientFactory: (to, options) => new Pool(to, { ...options, headersTimeout: timeout }),
  })
}

/** Requests are sent to the proxy with the whole address (RFC 9112, 3.2.2). Below everything else: nobody above sees the login. */
function handedTo(proxy: URL): Dispatcher.DispatcherComposeInterceptor {
  const { origin, hostname, protocol, username, password } = proxy
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const authorization = username === '' && password === '' ? {} : { 'proxy-authorization': `Basic ${login}` }
  // By default undici would take the name that the proxy's certificate is for from the header Host.
  const servername = protocol === 'https:' ? { servername: hostname } : {}
  return layer((below) => (request, handler) => {
    const target = new URL(String(request.origin))
    const headers = { ...request.headers, host: target.host, ...authorization }
    return below({ ...request, ...servername, origin, path: target.origin + request.path, headers }, handler)
  })
}
