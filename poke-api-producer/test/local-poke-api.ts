/** A PokeAPI on this machine, over real HTTP, whose answers a test writes and whose questions it reads. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { PokemonEvent } from '../src/entities/pokemon.ts'

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

export interface Question {
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

export class LocalPokeApi {
  /** What was asked, in order. */
  readonly asked: Question[] = []
  /** Most questions that were open at once. */
  busiest = 0
  /** Connections that were made. */
  connections = 0
  readonly #server = createServer((request, response) => this.#serve(request, response))
  readonly #answers = new Map<string, Answer[]>()
  #open = 0

  /** Runs until the test is over. */
  static async start(t: TestContext): Promise<LocalPokeApi> {
    const api = new LocalPokeApi()
    api.#server.on('connection', () => api.connections++)
    api.#server.listen(0, '127.0.0.1')
    await once(api.#server, 'listening')
    t.after(() => api.stop())
    return api
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get url(): string {
    return `${this.origin}/api/v2`
  }

  /** Questions about this path get these answers one after the other, and the last one ever after. @param path after the version: `pokemon/25/` */
  answer(path: string, ...answers: Answer[]): this {
    this.#answers.set(`/api/v2/${path}`, answers)
    return this
  }

  /** How often a path was asked for. */
  askedFor(path: string): number {
    return this.asked.filter((question) => question.path === `/api/v2/${path}`).length
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? ''
    this.asked.push({ path, headers: request.headers })
    this.busiest = Math.max(this.busiest, ++this.#open)
    response.on('close', () => this.#open--)
    const answers = this.#answers.get(path) ?? [status(404)]
    const answer = (answers.length > 1 ? answers.shift() : answers[0]) as Answer
    answer(request, response)
  }
}

/** A body as PokeAPI writes it, with some of what is not kept. */
export function bodyOf({ id, name, types }: PokemonEvent): string {
  return JSON.stringify({
    abilities: [{ ability: { name: 'static', url: 'https://pokeapi.co/api/v2/ability/9/' }, is_hidden: false, slot: 1 }],
    base_experience: 112,
    id,
    is_default: true,
    name,
    past_types: [{ generation: { name: 'generation-v' }, types: [{ slot: 1, type: { name: 'past' } }] }],
    types: types.map(({ slot, type }) => ({ slot, type: { ...type, url: `https://pokeapi.co/api/v2/type/${type.name}/` } })),
    weight: 60,
  })
}

/** A page of the list, with relative URLs as in copies of the API. */
export function listOf(ids: readonly number[], { next = null, count = ids.length }: { next?: string | null; count?: number } = {}): string {
  return JSON.stringify({
    count,
    next,
    previous: null,
    results: ids.map((id) => ({ name: `pokemon-${id}`, url: `/api/v2/pokemon/${id}/` })),
  })
}

/** @param headers above all those that say how long the body may be kept */
export function ok(body: string | Buffer, headers: Record<string, string> = {}): Answer {
  return (_request, response) => response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(body)
}

export function status(code: number, headers: Record<string, string> = {}, body = ''): Answer {
  return (_request, response) => response.writeHead(code, headers).end(body)
}

/** The body, or 304 where the asker has it already. */
export function tagged(body: string, etag: string, headers: Record<string, string>): Answer {
  return (request, response) => {
    const asked = request.headers['if-none-match']
    if (asked === etag) response.writeHead(304, { etag, ...headers }).end()
    else response.writeHead(200, { etag, ...headers }).end(body)
  }
}
