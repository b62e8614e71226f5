/**
 * The connections to the API, direct or through a proxy. A proxy gets requests to `http://` whole; for `https://` it opens a tunnel (CONNECT;
 * RFC 9110, 9.3.6), so that it learns the host but nothing of the content.
 */
import { buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { layer } from './exchange.ts'
import { withoutInterimAnswers } from './interim-answers.ts'

export interface ConnectionsOptions {
  /** Scheme, host and port of the API. */
  readonly origin: string
  readonly proxy: URL | null
  /** Most connections. */
  readonly most: number
  /** Longest time to connect, and between two pieces of a body, in ms. */
  readonly silence: number
  /** Longest time until an answer begins, in ms. */
  readonly timeout: number
  /** Largest body on the wire, in bytes. */
  readonly maxBody: number
}

/** Requests with the API's origin go to it. `destroy` ends all of them. */
export function openConnections({ origin, proxy, most, silence, timeout, maxBody }: ConnectionsOptions): Dispatcher {
  const pool = (to: string, connect: buildConnector.connector) =>
    new Pool(to, {
      connections: most,
      allowH2: false, // A few connections are enough, and HTTP/1.1 has fewer ways to fail.
      connect: withoutInterimAnswers(connect),
      headersTimeout: timeout,
      bodyTimeout: silence,
      maxResponseSize: maxBody,
    })
  const direct = buildConnector({ timeout: silence, allowH2: false })
  if (proxy === null) return pool(origin, direct)
  if (new URL(origin).protocol === 'http:') return pool(proxy.origin, direct).compose(sentTo(proxy))
  return new ProxyAgent({
    uri: proxy.href,
    allowH2: false,
    connectTimeout: silence,
    // Without this, the library's connections to the API would not have our limits.
    factory: (to, { connect }: { connect: buildConnector.connector }) => pool(String(to), connect),
    clientFactory: (to, options) => new Pool(to, { ...options, headersTimeout: timeout }),
  })
}

/** Sends requests to the proxy with the absolute URL (RFC 9112, 3.2.2). It is the lowest layer, so no other one sees the login. */
function sentTo(proxy: URL): Dispatcher.DispatcherComposeInterceptor {
  const { origin, hostname, protocol, username, password } = proxy
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const authorization = username === '' && password === '' ? {} : { 'proxy-authorization': `Basic ${login}` }
  // By default undici would expect the name of the header Host in the proxy's certificate.
  const servername = protocol === 'https:' ? { servername: hostname } : {}
  return layer((below) => (request, handler) => {
    const target = new URL(String(request.origin))
    const headers = { ...request.headers, host: target.host, ...authorization }
    return below({ ...request, ...servername, origin, path: target.origin + request.path, headers }, handler)
  })
}
