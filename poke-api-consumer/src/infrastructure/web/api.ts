/** The HTTP API: the figures of the page, for programs. It is read-only. Its schemas make its description (`/api/openapi.json`). */
import { createHash } from 'node:crypto'
import { ServiceError } from '@poke-api-pipeline/service-kit'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { Type } from 'typebox'
import type { KeptDeadLetter } from '../../application/ports.ts'
import type { TypeCounts } from '../../entities/tally.ts'
import { DeadLetterSchema, type DeadLetterView, viewDeadLetter } from '../dead-letters/dead-letter-view.ts'
import type { EventStream } from './event-stream.ts'
import type { GroupStore } from './group-watch.ts'
import type { LiveState } from './live-state.ts'
import { PartitionSchema, SnapshotSchema, SumsSchema } from './snapshot.ts'

/** The number of dead letters in an answer: the default and the maximum. */
const DEFAULT_LIMIT = 20
const MAX_LIMIT = 100
/** The bytes of dead letters that are read from the store for one answer: each may be as large as the broker allows a record to be. */
const MOST_READ = 16 * 1024 * 1024
/** The size of the dead letters in one answer, in characters of JSON: an answer that its client does not read stays in memory for a while. */
const MOST_ANSWERED = 512 * 1024

const NOT_READ_YET = 'The store has not been read yet. Ask again in a second.'
const NOT_READABLE = 'The store cannot be read now; /health/ready says why. Ask again in a second.'

const ErrorSchema = Type.Object(
  { statusCode: Type.Integer(), error: Type.String(), message: Type.String({ description: 'What happened, and what to do.' }) },
  { title: 'Error' },
)

const TypeCountsSchema = Type.Object(
  {
    types: Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
      description: 'How many captured Pokémon have the type, by the name of the type.',
      examples: [{ bug: 106, water: 190 }],
    }),
  },
  { title: 'TypeCounts' },
)

const DeadLettersQuery = Type.Object({
  limit: Type.Integer({
    minimum: 1,
    maximum: MAX_LIMIT,
    default: DEFAULT_LIMIT,
    description: 'How many at most; fewer where they are large.',
  }),
  before: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Only those kept before this id: the `next` of the page before.',
    }),
  ),
})

const DeadLettersSchema = Type.Object(
  {
    deadLetters: Type.Array(DeadLetterSchema, { description: 'Newest first.' }),
    next: Type.Union([Type.Integer(), Type.Null()], { description: 'Where the next page begins (`before`); null on the last one.' }),
  },
  { title: 'DeadLetters' },
)

const PartitionsSchema = Type.Object(
  {
    instance: Type.String({ description: 'The instance that answers.' }),
    group: SumsSchema,
    partitions: Type.Array(PartitionSchema, {
      description: 'All partitions of the topic, and those of other topics that the group has ever read; at most a second old.',
    }),
    unread: Type.Array(Type.String(), {
      description: 'Which partitions no instance of this service reads, and which other programs are in its group: a sentence each.',
    }),
  },
  { title: 'Partitions' },
)

export interface ApiOptions {
  readonly state: LiveState
  readonly store: GroupStore
  readonly stream: EventStream
  /** @returns the published document of these counts, byte for byte */
  readonly document: (counts: TypeCounts) => string
}

/** Adds the routes. Their paths begin with `/api`. */
export function addApi(app: FastifyInstance, { state, store, stream, document }: ApiOptions): void {
  app.get(
    '/api/type-counts',
    {
      schema: {
        summary: 'The counts, as in type-counts.json',
        description:
          'The document of the whole group, at most a second old. It has an ETag: asked with If-None-Match, unchanged counts answer 304.',
        response: { 200: TypeCountsSchema, 304: Type.Null({ description: 'Unchanged.' }), 503: ErrorSchema },
      },
      // The document is sent unchanged: byte for byte the content of the file.
      serializerCompiler: () => String,
    },
    (request, reply) => {
      if (state.counts === null) return refuse(reply, 503, 'Service Unavailable', NOT_READ_YET)
      const body = document(state.counts)
      const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
      reply.header('etag', etag).header('cache-control', 'no-cache')
      if (matches(request.headers['if-none-match'], etag)) return reply.code(304).send()
      return reply.type('application/json; charset=utf-8').send(body)
    },
  )

  app.get(
    '/api/partitions',
    { schema: { summary: 'The partitions of the group, and who reads them', response: { 200: PartitionsSchema, 503: ErrorSchema } } },
    (_request, reply) => {
      const [partitions, group] = [state.partitions(), state.sums()]
      if (partitions === null || group === null) return refuse(reply, 503, 'Service Unavailable', NOT_READ_YET)
      return { instance: state.instance, group, partitions, unread: state.unread }
    },
  )

  app.get<{ Querystring: Type.Static<typeof DeadLettersQuery> }>(
    '/api/dead-letters',
    {
      schema: {
        summary: 'Records that could not be counted, newest first; fewer than asked for where they are large, and `next` goes on',
        querystring: DeadLettersQuery,
        response: { 200: DeadLettersSchema, 400: ErrorSchema, 503: ErrorSchema },
      },
    },
    async ({ query }, reply) => {
      try {
        const deadLetters = shownPage(await store.deadLetters(query.before ?? null, query.limit, MOST_READ))
        const last = deadLetters.at(-1)?.id ?? null
        const isLastPage = last === null || (await store.deadLetters(last, 1, MOST_READ)).length === 0
        return { deadLetters, next: isLastPage ? null : last }
      } catch (error) {
        // Readiness and the log report it already: a client that asks again and again must not fill the log.
        if (error instanceof ServiceError && error.retriable) return refuse(reply, 503, 'Service Unavailable', NOT_READABLE)
        throw error
      }
    },
  )

  app.get(
    '/api/events',
    {
      exposeHeadRoute: false,
      schema: {
        summary: 'What the page shows, live',
        description:
          'Server-sent events. Each unnamed event carries a whole snapshot as JSON, at most four a second and only when something changed. ' +
          'An event `beat` carries the clock of the server in ms since 1970: at the start, and after three quiet seconds. ' +
          'Where every stream is taken, an event `full` carries a number of seconds, a snapshot follows, and the stream ends: ask again after so long.',
        response: {
          200: { description: 'The stream.', content: { 'text/event-stream': { schema: SnapshotSchema } } },
          503: ErrorSchema,
        },
      },
    },
    (_request, reply) => {
      if (stream.closed) {
        reply.header('retry-after', '5')
        return refuse(reply, 503, 'Service Unavailable', 'This instance is stopping. Ask again in some seconds.')
      }
      reply.hijack()
      stream.open(reply.raw, reply.getHeaders())
    },
  )
}

/** @returns as many dead letters as fit in one answer, and at least one */
function shownPage(deadLetters: readonly KeptDeadLetter[]): DeadLetterView[] {
  const page: DeadLetterView[] = []
  let size = 0
  for (const deadLetter of deadLetters) {
    const view = viewDeadLetter(deadLetter)
    size += JSON.stringify(view).length
    if (page.length > 0 && size > MOST_ANSWERED) break
    page.push(view)
  }
  return page
}

/** Answers with an error in the format of Fastify's own errors. */
export function refuse(reply: FastifyReply, statusCode: number, error: string, message: string): FastifyReply {
  return reply
    .code(statusCode)
    .type('application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send({ statusCode, error, message })
}

/** If-None-Match by weak comparison (RFC 9110, 13.1.2). */
function matches(header: string | undefined, etag: string): boolean {
  return (header ?? '').split(',').some((tag) => ['*', etag, `W/${etag}`].includes(tag.trim()))
}
