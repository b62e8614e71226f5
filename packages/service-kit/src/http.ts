/** The service's HTTP server: health, metrics, and the routes that the service adds. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type FastifyInstance, type FastifyPluginAsync, type FastifySchema, fastify } from 'fastify'
import { boundConnections } from './connections.ts'
import type { Health } from './health.ts'
import type { Logger } from './logger.ts'
import type { Registry } from './metrics.ts'
import { type OwnErrorCode, ownError } from './own-errors.ts'

/** Limits of a request, in bytes and ms, so that no client holds a connection by sending slowly. */
const MAX_HEADER_BYTES = 16 * 1024
const MAX_BODY_BYTES = 16 * 1024
const REQUEST_TIMEOUT = 10_000
const KEEP_ALIVE_TIMEOUT = 5000
/** A connection without traffic in both directions is closed after this long, in ms; after twice as long if its client does not read an answer. */
const IDLE_TIMEOUT = 60_000
/** Connections that the kernel queues until they are accepted, up to `somaxconn`. A client whose connection does not fit retries after a second. */
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
  /** `http://host:port`, for a browser on this machine. */
  readonly url: string
  /** The address for a message. A server that listens on every address names its port alone, because it cannot know which address others use. */
  readonly shownAddress: string
  close(): Promise<void>
}

/** Starts to listen. @throws ServiceError if the address cannot be used; it names host, port and the setting to change */
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
          // Skips requests that were parsed together with the one for which the connection was closed.
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
    // A proxy may have checked the other header (RFC 9112, 3.2).
    if ((request.raw.headersDistinct.host?.length ?? 0) <= 1) return
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

/** `/health/live`: the process answers. `/health/ready`: the service can work, or why not. `/metrics`: for Prometheus. */
function addOperatorRoutes(app: FastifyInstance, { health, registry, logger }: HttpServerOptions): void {
  app.setErrorHandler(async (error: Error & { statusCode?: number }, request, reply) => {
    const statusCode = error.statusCode ?? 500
    if (statusCode < 500) return reply.code(statusCode).send(error)
    logger.error({ err: error, url: request.url }, 'an HTTP request failed')
    return reply
      .code(statusCode)
      .send({ statusCode, error: 'Internal Server Error', message: 'The request failed; the log of the service says why.' })
  })
  // The description of the API leaves these routes out: they are for operators and probes.
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

/** How many headers have this name. @param rawHeaders names and values in turns */
function addressError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const failed = (code: OwnErrorCode, message: string) => ownError(code, message, { cause: error })
  switch (error.code) {
    case 'EADDRINUSE':
      return failed(
        'http/port-taken',
        `port ${port} of ${host} is taken by another program: end that program, or set HTTP_PORT to another port (0: any free one)`,
      )
    case 'EACCES':
      return failed(
        'http/port-not-allowed',
        `this user may not use port ${port} of ${host}: set HTTP_PORT to a port above 1023 (0: any free one)`,
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
      return failed(
        'http/no-such-host',
        `${host} is not an address of this machine (${error.code}): correct HTTP_HOST (127.0.0.1: this machine alone; 0.0.0.0: every address)`,
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
