/** The service's HTTP server: health, metrics, and whatever else the service registers on it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type FastifyInstance, type FastifyPluginAsync, type FastifySchema, fastify } from 'fastify'
import { boundConnections } from './connections.ts'
import type { Health } from './health.ts'
import type { Logger } from './logger.ts'
import type { Registry } from './metrics.ts'
import { ownError } from './own-errors.ts'

/** What a client may send and how long it may take, in bytes and ms: nobody holds a connection by sending slowly. */
const MAX_HEADER_BYTES = 16 * 1024
const MAX_BODY_BYTES = 16 * 1024
const REQUEST_TIMEOUT = 10_000
const KEEP_ALIVE_TIMEOUT = 5000
/** ms in which nothing moves, neither way, after which a connection is closed; twice as many where an answer began and is not read on. */
const IDLE_TIMEOUT = 60_000
/** Connections that the kernel keeps until they are accepted, as far as it allows (`somaxconn`): one that finds no place there is tried again after a second. */
const BACKLOG = 4096

export interface HttpServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly health: Health
  readonly registry: Registry
  readonly logger: Logger
  /** Further routes, for the page and the API. */
  readonly plugins?: readonly FastifyPluginAsync[]
}

export interface HttpServer {
  /** The port it listens on. */
  readonly port: number
  /** `http://host:port`, as a browser on this machine takes it. */
  readonly url: string
  /** The same for a sentence: of a server that listens everywhere, the port alone; by which address others come, it cannot know. */
  readonly shownAddress: string
  close(): Promise<void>
}

/** Listens. @throws ServiceError where the address cannot be had; it names host, port and the setting to change */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, logger } = options
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    serverFactory: (answer) => {
      const server = createServer(
        {
          maxHeaderSize: MAX_HEADER_BYTES,
          headersTimeout: REQUEST_TIMEOUT,
          requestTimeout: REQUEST_TIMEOUT,
          keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
          connectionsCheckingInterval: 1000,
        },
        (request, response) => {
          // What was parsed together with the request for which the connection was closed.
          if (!request.socket.destroyed) answer(request, response)
        },
      )
      boundConnections(server, logger)
      return server.setTimeout(IDLE_TIMEOUT)
    },
    // A client that does not read its answer must not hold up the end of the service.
    forceCloseConnections: true,
  })
  app.addHook('onRequest', async (request, reply) => {
    // Whoever stands between may have looked at the other one (RFC 9112, 3.2).
    if (countOf('host', request.raw.rawHeaders) <= 1) return
    return reply.code(400).send({ statusCode: 400, error: 'Bad Request', message: 'The request has more than one Host header.' })
  })
  addOperatorRoutes(app, options)
  for (const plugin of options.plugins ?? []) app.register(plugin)
  try {
    await app.listen({ host, port, backlog: BACKLOG })
  } catch (error) {
    await app.close()
    throw addressError(error as NodeJS.ErrnoException, host, port)
  }
  const address = app.server.address() as AddressInfo
  const url = `http://${hostInUrl(host)}:${address.port}`
  const shownAddress = isEverywhere(host) ? `port ${address.port} of every address of this machine or container` : url
  return { port: address.port, url, shownAddress, close: () => app.close() }
}

/** `/health/live`: the process turns. `/health/ready`: it can do its work, or why not. `/metrics`: for Prometheus. */
function addOperatorRoutes(app: FastifyInstance, { health, registry, logger }: HttpServerOptions): void {
  app.setErrorHandler(async (error: Error & { statusCode?: number }, request, reply) => {
    const statusCode = error.statusCode ?? 500
    if (statusCode < 500) return reply.code(statusCode).send(error)
    logger.error({ err: error, url: request.url }, 'an HTTP request failed')
    return reply
      .code(statusCode)
      .send({ statusCode, error: 'Internal Server Error', message: 'The request failed; the log of the service says why.' })
  })
  // Hidden from the API's description: they are for operators and probes.
  const schema: FastifySchema & { hide: true } = { hide: true }
  app.get('/health/live', { schema }, async (_, reply) => reply.header('cache-control', 'no-store').send({ status: 'live' }))
  app.get('/health/ready', { schema }, async (_, reply) => {
    const reasons = health.reasons()
    const ready = reasons.length === 0
    return reply
      .code(ready ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ status: ready ? 'ready' : 'not-ready', reasons })
  })
  app.get('/metrics', { schema }, async (_, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}

/** @param rawHeaders names and values in turns, as they came */
function countOf(name: string, rawHeaders: readonly string[]): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) count++
  return count
}

function addressError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const cause = error
  switch (error.code) {
    case 'EADDRINUSE':
      return ownError(
        'http/port-taken',
        `port ${port} of ${host} is taken by another program: end that one, or set HTTP_PORT to another port (0: any free one)`,
        { cause },
      )
    case 'EACCES':
      return ownError(
        'http/port-not-allowed',
        `port ${port} of ${host} is not allowed to this user: set HTTP_PORT to a port above 1023 (0: any free one)`,
        { cause },
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
      return ownError(
        'http/no-such-host',
        `${host} is no address of this machine (${error.code}): correct HTTP_HOST (127.0.0.1: this machine alone; 0.0.0.0: every address)`,
        { cause },
      )
    default:
      return error
  }
}

function isEverywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function hostInUrl(host: string): string {
  if (isEverywhere(host)) return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}
