/**
 * Bounds how many connections an HTTP server holds, and decides which connection it closes for a new one. If it refused new connections instead, one
 * client could keep all others from health, metrics and the page by holding connections.
 */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { printable } from './foreign-text.ts'
import type { Logger } from './logger.ts'
import { OutageLog } from './outage-log.ts'
import { ownError } from './own-errors.ts'
import { type SlotHolder, SlotPool } from './slot-pool.ts'

/** Most connections without a complete request: new ones, ones that have sent a part of a request, and ones that are idle after an answer. */
const MAX_WAITING = 300
/**
 * Most connections whose request is being answered, without lasting answers (`countAsLasting`). Each can hold a file open as well. Together with 250
 * live pages these are at most 850 open files. Many systems allow 1,024, so enough are left for stores and Kafka.
 */
const MAX_ANSWERING = 150
/** The least time between two reports, in ms, so that reports do not add to the load. */
const REPORT_INTERVAL = 1000
/**
 * Most unanswered requests of one connection: browsers, probes and proxies send one at a time. The answers to thousands of requests would fill the
 * memory, and all other clients would have to wait.
 */
const MAX_UNANSWERED = 4
/** The overload is over when no connection was closed for this long, in ms. */
const QUIET = 10_000
/** In characters; the longest IPv6 address with a zone is shorter. */
const LONGEST_ADDRESS = 64

interface Connection extends SlotHolder {
  readonly socket: Socket
  /** How many requests have no answer yet: a client may send several in advance. */
  unanswered: number
  /** The pool in which it has a slot; null if it is closed, or if its answer is a lasting one. */
  pool: SlotPool<Connection> | null
}

const connectionOf = new WeakMap<Socket, Connection>()

/**
 * Bounds the connections of a server: each connection beyond the bound closes the oldest one of the client with the most connections. A client is an
 * IPv4 address or the first 64 bits of an IPv6 address. The log reports when this begins and when it is over.
 */
export function boundConnections(server: Server, logger: Logger): void {
  const waiting = new SlotPool<Connection>(MAX_WAITING)
  const answering = new SlotPool<Connection>(MAX_ANSWERING)
  const outage = new OutageLog({
    logger,
    now: () => performance.now(),
    over: 'HTTP: every connection is accepted again without closing another one',
  })
  let reportedAt = Number.NEGATIVE_INFINITY
  const over = setTimeout(() => outage.worked(), QUIET).unref()

  const move = (connection: Connection, pool: SlotPool<Connection>) => {
    connection.pool?.release(connection)
    connection.pool = pool
    const evicted = pool.acquire(connection)
    if (evicted === null) return
    evicted.pool = null
    evicted.socket.destroy()
    over.refresh()
    if (performance.now() - reportedAt < REPORT_INTERVAL) return
    reportedAt = performance.now()
    const client = printable(evicted.client, LONGEST_ADDRESS)
    const held = pool.usedBy(evicted.client) + (evicted.client === connection.client ? 0 : 1)
    const what = pool === waiting ? 'connections without a complete request' : 'connections with an unfinished answer'
    outage.failed(
      ownError(
        'http/crowded',
        `HTTP: ${client} holds ${held} of at most ${pool.size} ${what}: each new connection closes the oldest one of this client. If you do not know the client, block it with a firewall`,
      ),
    )
  }

  server.on('connection', (socket: Socket) => {
    const connection: Connection = { client: clientOf(socket.remoteAddress ?? ''), socket, unanswered: 0, pool: null }
    connectionOf.set(socket, connection)
    socket.once('close', () => {
      connection.pool?.release(connection)
      connection.pool = null
    })
    move(connection, waiting)
  })
  // Runs before the listener that answers.
  server.prependListener('request', ({ socket }, response) => {
    const connection = connectionOf.get(socket)
    if (connection === undefined || socket.destroyed) return
    if (connection.unanswered++ === 0) move(connection, answering)
    if (connection.unanswered > MAX_UNANSWERED) socket.destroy()
    response.once('close', () => {
      if (--connection.unanswered === 0 && !socket.destroyed) move(connection, waiting)
    })
  })
}

/** Declares that this answer lasts until its client disconnects. It releases its slot, so the caller has to bound the number of such answers. */
export function countAsLasting(response: ServerResponse): void {
  const connection = response.socket === null ? undefined : connectionOf.get(response.socket)
  if (connection === undefined) return
  connection.pool?.release(connection)
  connection.pool = null
}

/**
 * The client that an address belongs to. The owner of an IPv6 address usually owns all addresses with the same first 64 bits.
 * @param address as in `socket.remoteAddress`
 */
export function clientOf(address: string): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [before = '', after] = address.replace(/%.*$/, '').split('::')
  const groups = before === '' ? [] : before.split(':')
  const rest = after === undefined || after === '' ? [] : after.split(':')
  while (groups.length + rest.length < 8) groups.push('0')
  return `${[...groups, ...rest].slice(0, 4).join(':')}::/64`
}
