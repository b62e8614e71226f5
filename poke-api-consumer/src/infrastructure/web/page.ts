/** The page and the HTTP API: a Fastify plugin for the service's HTTP server, beside health and metrics. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import serveFiles from '@fastify/static'
import swagger from '@fastify/swagger'
import { pause, printable, printableJson } from '@poke-api-pipeline/service-kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { TypeCounts } from '../../entities/tally.ts'
import type { GroupProgress } from '../group-progress.ts'
import { addApi, refuse } from './api.ts'
import { EventStream } from './event-stream.ts'
import { type GroupStore, watchGroup } from './group-watch.ts'
import { isAllowedHost } from './host-check.ts'
import type { LiveState } from './live-state.ts'

/** The page loads everything from its own server, and text that it shows can never run as a script or style. */
const CONTENT_SECURITY_POLICY = {
  'default-src': ["'none'"],
  'script-src': ["'self'"],
  'style-src': ["'self'"],
  'img-src': ["'self'"],
  'connect-src': ["'self'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
}

const MAX_PAGES = 250
/** The page's own files. The terminal uses the colours of types, too. */
const FOLDERS = ['./public/', '../type-colours/'].map((folder) => fileURLToPath(new URL(folder, import.meta.url)))

export interface WebPageOptions {
  readonly state: LiveState
  /** Gets the partitions of each poll of the store. */
  readonly progress: Pick<GroupProgress, 'readingStore' | 'storeRead' | 'isKnown'>
  readonly store: GroupStore
  /** @returns the published document of these counts, byte for byte */
  readonly document: (counts: TypeCounts) => string
  /** The names that a request's Host header may have besides localhost and IP addresses (`HTTP_ALLOWED_HOSTS`). */
  readonly allowedHosts: readonly string[]
  /** The number of pages with a stream. More of them get a snapshot every five seconds. */
  readonly maxPages?: number
}

/**
 * Serves `/` and `/api`. The server's other routes accept every Host.
 * @returns a plugin without a prefix; it polls the store from `ready` until the server closes
 */
export function webPage(options: WebPageOptions): FastifyPluginAsync {
  const { state, progress, store, document } = options
  const allowed = new Set(options.allowedHosts.map((name) => name.toLowerCase()))
  const build = hashOf(FOLDERS)
  const stream = new EventStream({
    version: () => state.version,
    snapshot: () => printableJson(JSON.stringify(state.snapshot(build))),
    now: Date.now,
    maxClients: options.maxPages ?? MAX_PAGES,
  })

  return async (app) => {
    app.addHook('onRequest', async (request, reply) => {
      if (isAllowedHost(request.headers.host, allowed)) return
      return refuse(
        reply,
        421,
        'Misdirected Request',
        `This service does not answer to the name "${printable(request.headers.host ?? '', 255)}". To allow it, add it to HTTP_ALLOWED_HOSTS.`,
      )
    })
    await app.register(helmet, {
      contentSecurityPolicy: { useDefaults: false, directives: CONTENT_SECURITY_POLICY },
      frameguard: { action: 'deny' },
      referrerPolicy: { policy: 'no-referrer' },
      // These three concern other origins, or demand HTTPS: over plain HTTP a browser ignores them and warns on its console.
      strictTransportSecurity: false,
      crossOriginOpenerPolicy: false,
      originAgentCluster: false,
    })
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'poke-api-consumer',
          description: 'Counts of Pokémon types, each record counted exactly once. Read-only.',
          version: '1',
        },
      },
    })
    await addFiles(app)
    addApi(app, { state, store, document, stream })
    // Its paths are relative to the folder above, so they are right behind any proxy.
    app.get('/api/openapi.json', { schema: { hide: true } }, () => ({ ...app.swagger(), servers: [{ url: '..' }] }))

    const closing = new AbortController()
    let watching = Promise.resolve()
    app.addHook('onReady', async () => {
      watching = watchGroup(store, progress, state, closing.signal, pause, () => performance.now())
    })
    // Before the server waits for its connections: a stream does not end by itself.
    app.addHook('preClose', async () => {
      closing.abort()
      stream.close()
      await watching
    })
  }
}

/** Browsers check the page's own files each time (the answer is 304), and keep ECharts, whose path has its version. */
async function addFiles(app: FastifyInstance): Promise<void> {
  await app.register(serveFiles, {
    root: FOLDERS,
    wildcard: false,
    cacheControl: false,
    schemaHide: true,
    setHeaders: (reply, path) => void (FOLDERS.some((folder) => path.startsWith(folder)) && reply.header('cache-control', 'no-cache')),
  })
  const require = createRequire(import.meta.url)
  const echarts = require.resolve('echarts/dist/echarts.common.min')
  const { version } = JSON.parse(readFileSync(new URL('../package.json', `file://${echarts}`), 'utf8'))
  // It is served from memory: a megabyte that many browsers request at once, read from the disk for each, would delay health probes.
  const script = readFileSync(join(dirname(echarts), 'echarts.common.min.js'))
  app.get(`/vendor/echarts-${version}.js`, { schema: { hide: true } }, (_request, reply) =>
    reply
      .header('content-type', 'text/javascript; charset=utf-8')
      .header('cache-control', 'public, max-age=31536000, immutable')
      .send(script),
  )
}

function hashOf(folders: readonly string[]): string {
  const hash = createHash('sha256')
  for (const folder of folders) for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(`${folder}/${name}`))
  return hash.digest('base64url').slice(0, 12)
}
