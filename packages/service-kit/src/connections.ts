/**
 * Bounds how many connections an HTTP server holds, and decides which one it closes for a new one. So no client can take health, metrics or the page
 * from the others by holding connections; refusing new connections would let it.
 */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { printable } from './foreign-text.ts'
import type { Logger } from './logger.ts'
import { OutageLog } from './outage-log.ts'
import { ownError } from './own-errors.ts'
import { type SlotHolder, SlotPool } from './slot-pool.ts'

/** Connections without a whole request: nothing has arrived yet, a part of a request, or nothing since the last answer. */
const MAX_WAITING = 300
/**
 * Connections whose request is being answered, without the lasting answers (`countAsLasting`). Each may hold a file open as well. With 250 live pages
 * that makes at most 850 open files, and many systems allow 1,024: the rest is left for stores and Kafka.
 */
const MAX_ANSWERING = 150
/** At least so many ms pass between two reports, because reports must not add to the load. */
const REPORT_INTERVAL = 1000
/**
 * Unanswered requests that one connection may have: browsers, probes and proxies send one at a time. Thousands sent at once would be answered
 * into memory, and would keep all other clients waiting.
 */
const MAX_UNANSWERED = 4
/** After so many ms without a closed connection the overload is over. */
const QUIET = 10_000
/** In characters; the longest IPv6 address with a zone is shorter. */
const LONGEST_ADDRESS = 64

interface Connection extends SlotHolder {
  readonly socket: Socket
  /** Requests without an answer: a client may send the next one before it has one. */
  unanswered: number
  /** The pool that it has a slot in; null while it has none: it is closed, or its answer is a lasting one. */
  pool: SlotPool<Connection> | null
}

const connectionOf = new WeakMap<Socket, Connection>()

/**
 * Bounds the connections of a server: each connection beyond the bound closes the oldest one of the client with the most connections. A client is an
 * IPv4 address or the first 64 bits of an IPv6 one. The log says when this begins and when it is over.
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
    const what = pool === waiting ? 'connections without a whole request' : 'answers under way'
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

/** Says that this answer lasts until its client disconnects. It occupies no slot any more: its sender must bound how many of them there are. */
export function countAsLasting(response: ServerResponse): void {
  const connection = response.socket === null ? undefined : connectionOf.get(response.socket)
  if (connection === undefined) return
  connection.pool?.release(connection)
  connection.pool = null
}

/**
 * The client that an address belongs to. An owner of one IPv6 address owns all addresses that begin with the same 64 bits.
 * @param address as sockets give it
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
