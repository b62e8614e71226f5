/**
 * A local PokeAPI: the same paths, shapes and cache headers as https://pokeapi.co/api/v2, for the endpoint `pokemon`.
 * Serves the bundled Pokédex, or a folder of real bodies: `node dev/poke-api-server.ts [--bodies FOLDER] [--host ADDRESS] [--port PORT] [--delay MILLISECONDS]`.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Pokedex } from './make-pokedex.ts'

export interface PokeApiServerOptions {
  /** The address to listen on; absent: this machine alone. */
  readonly host?: string
  /** 0 or absent: any free port. */
  readonly port?: number
  /** A folder with `index.json` and `{id}.json`, URLs in them relative (as in PokeAPI/api-data); absent: the bundled Pokédex. */
  readonly bodies?: string
  /** Delay of every response in ms, as a network has it. */
  readonly delay?: number
  /** For how many seconds a cache may use an answer. Default: 86,400, as PokeAPI has it; 0: clients ask each time. */
  readonly maxAge?: number
  /** Serves only so many Pokémon, the first ones. */
  readonly first?: number
}

export interface PokeApiServer {
  /** For `POKE_API_URL`: `http://127.0.0.1:PORT/api/v2`. */
  readonly url: string
  readonly port: number
  /** Requests answered so far, by status. */
  readonly answered: ReadonlyMap<number, number>
  close(): Promise<void>
}

/** Serves until closed. @throws where the port is taken or the folder has no `index.json` */
export async function servePokeApi(options: PokeApiServerOptions = {}): Promise<PokeApiServer> {
  const { host = '127.0.0.1', port = 0, bodies, delay = 0, maxAge = 86_400, first } = options
  const whole = bodies === undefined ? await bundledPokedex() : await folderOfBodies(bodies)
  const collection = { ...whole, entries: whole.entries.slice(0, first), maxAge }
  const answered = new Map<number, number>()

  const server = createServer((request, response) => {
    response.once('finish', () => answered.set(response.statusCode, (answered.get(response.statusCode) ?? 0) + 1))
    setTimeout(() => {
      answer(collection, request, response).catch((error: unknown) => response.destroy(error as Error))
    }, delay)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const bound = (server.address() as AddressInfo).port
  return {
    url: `http://${host}:${bound}/api/v2`,
    port: bound,
    answered,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The served Pokémon: entries in the API's order, and the body of each with relative URLs. */
interface Collection {
  readonly origin: 'bundled' | null
  readonly entries: readonly { readonly id: number; readonly name: string }[]
  body(id: number): Promise<string>
}

interface Served extends Collection {
  readonly maxAge: number
}

async function bundledPokedex(): Promise<Collection> {
  const pokedex = JSON.parse(await readFile(new URL('pokedex.json', import.meta.url), 'utf8')) as Pokedex
  const entries = new Map(pokedex.pokemon.map(([id, name, types]) => [id, { id, name, types }]))
  return {
    origin: 'bundled',
    entries: [...entries.values()],
    async body(id) {
      const { name, types } = entries.get(id)!
      const withUrls = types.map((type, index) => ({ slot: index + 1, type: { name: type, url: `/api/v2/type/${pokedex.types[type]}/` } }))
      return JSON.stringify({ id, name, types: withUrls })
    },
  }
}

async function folderOfBodies(folder: string): Promise<Collection> {
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as { results: { name: string; url: string }[] }
  return {
    origin: null,
    entries: index.results.map(({ name, url }) => ({ id: Number(/\/(\d+)\/$/.exec(url)?.[1]), name })),
    body: (id) => readFile(join(folder, `${id}.json`), 'utf8'),
  }
}

async function answer(collection: Served, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const origin = `http://${request.headers.host}`
  const url = new URL(request.url ?? '/', origin)
  const one = /^\/api\/v2\/pokemon\/([^/]+)\/?$/.exec(url.pathname)
  if (collection.origin !== null) response.setHeader('x-poke-api-origin', collection.origin)
  const send = (relative: string) => sendJson(request, response, relative, origin, collection.maxAge)

  if (request.method !== 'GET' && request.method !== 'HEAD') return sendText(response, 405, 'Method Not Allowed')
  if (/^\/api\/v2\/pokemon\/?$/.test(url.pathname)) return send(list(collection, url.searchParams))
  const entry = one && collection.entries.find(({ id, name }) => one[1] === String(id) || one[1] === name)
  if (!entry) return sendText(response, 404, 'Not Found')
  return send(await collection.body(entry.id))
}

/** A page of the list: 20 entries unless the query asks for more, with links to the pages before and after it. */
function list({ entries }: Collection, query: URLSearchParams): string {
  const offset = wholeNumber(query.get('offset'), 0)
  const limit = wholeNumber(query.get('limit'), 0) || 20
  const page = (from: number, size: number) => `/api/v2/pokemon?offset=${from}&limit=${size}`
  return JSON.stringify({
    count: entries.length,
    next: offset + limit < entries.length ? page(offset + limit, Math.min(limit, entries.length - offset - limit)) : null,
    previous: offset > 0 ? page(Math.max(0, offset - limit), Math.min(limit, offset)) : null,
    results: entries.slice(offset, offset + limit).map(({ id, name }) => ({ name, url: `/api/v2/pokemon/${id}/` })),
  })
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : otherwise
}

/** Sends a body with absolute URLs, or 304 where the client has it already. */
function sendJson(request: IncomingMessage, response: ServerResponse, relative: string, origin: string, maxAge: number): void {
  const etag = `W/"${createHash('sha1').update(relative).digest('base64url')}"`
  response.setHeader('etag', etag)
  response.setHeader('cache-control', `public, max-age=${maxAge}`)
  const known = request.headers['if-none-match']?.split(/\s*,\s*/) ?? []
  if (known.includes(etag) || known.includes('*')) {
    response.writeHead(304).end()
    return
  }
  const body = Buffer.from(relative.replaceAll('"/api/v2/', `"${origin}/api/v2/`))
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length }).end(body)
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) }).end(text)
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { bodies: { type: 'string' }, host: { type: 'string' }, port: { type: 'string' }, delay: { type: 'string' } },
  })
  const server = await servePokeApi({
    port: Number(values.port ?? 8000),
    delay: Number(values.delay ?? 0),
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.bodies === undefined ? {} : { bodies: values.bodies }),
  })
  console.log(`POKE_API_URL=${server.url} (${values.bodies === undefined ? 'the bundled Pokédex' : values.bodies})`)
  // Process 1 of a container has no default handlers of signals.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close())
}
