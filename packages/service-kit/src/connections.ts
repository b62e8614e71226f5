/**
 * How many connections an HTTP server holds, and whom it closes for a new one: nobody can take health, metrics or the page from others by holding
 * connections. Refusing the new ones would do just that.
 */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { printable } from './foreign-text.ts'
import type { Logger } from './logger.ts'
import { OutageLog } from './outage-log.ts'
import { ownError } from './own-errors.ts'
import { type Guest, Room } from './room.ts'

/** Connections without a whole request: nothing came yet, a part of one, or the next one has not come. */
const MAX_WAITING = 300
/**
 * Connections whose request is being answered, but for answers that last (`countAsLasting`). Each may hold a file open as well. With 250 live pages
 * these are 850 open files at most: stores and Kafka have room beside them in the 1,024 that many systems allow.
 */
const MAX_ANSWERING = 150
/** ms between two reports of it: a rush shall not cost more than it must. */
const REPORT_INTERVAL = 1000
/**
 * Requests of one connection that may wait for their answers: browsers, probes and proxies send one at a time. Thousands that are sent at once
 * would be answered into memory, and nothing else meanwhile.
 */
const MAX_UNANSWERED = 4
/** ms without a closed connection after which the rush is over. */
const QUIET = 10_000
/** The longest IPv6 address with a zone is shorter. */
const LONGEST_ADDRESS = 64

interface Connection extends Guest {
  readonly socket: Socket
  /** Requests on it that are not answered yet: a client may send the next one before it has an answer. */
  unanswered: number
  /** Where it has its place; null while whoever sends its answer counts it. */
  room: Room<Connection> | null
}

const connectionOf = new WeakMap<Socket, Connection>()

/**
 * Bounds the connections of a server: each beyond the bound closes the oldest one of the client that has the most. A client is an IPv4 address or the
 * first 64 bits of an IPv6 one. What is closed is said in the log when it begins, and when it is over.
 */
export function boundConnections(server: Server, logger: Logger): void {
  const waiting = new Room<Connection>(MAX_WAITING)
  const answering = new Room<Connection>(MAX_ANSWERING)
  const outage = new OutageLog({ logger, now: () => performance.now(), over: 'HTTP: there is room for every connection again' })
  let reportedAt = Number.NEGATIVE_INFINITY
  const over = setTimeout(() => outage.worked(), QUIET).unref()

  const move = (connection: Connection, room: Room<Connection>) => {
    connection.room?.leave(connection)
    connection.room = room
    const loser = room.enter(connection)
    if (loser === null) return
    loser.room = null
    loser.socket.destroy()
    over.refresh()
    if (performance.now() - reportedAt < REPORT_INTERVAL) return
    reportedAt = performance.now()
    const client = printable(loser.client, LONGEST_ADDRESS)
    const held = room.takenBy(loser.client) + (loser.client === connection.client ? 0 : 1)
    const what = room === waiting ? 'connections without a whole request' : 'answers under way'
    outage.failed(
      ownError(
        'http/crowded',
        `HTTP: ${client} holds ${held} of the ${room.places} ${what} that there can be: its oldest is closed for each new one. If that client is none of yours, keep it away with a firewall`,
      ),
    )
  }

  server.on('connection', (socket: Socket) => {
    const connection: Connection = { client: clientOf(socket.remoteAddress ?? ''), socket, unanswered: 0, room: null }
    connectionOf.set(socket, connection)
    socket.once('close', () => {
      connection.room?.leave(connection)
      connection.room = null
    })
    move(connection, waiting)
  })
  // Before the listener that answers.
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

/** This answer lasts until its client goes away; whoever sends it bounds how many there are, so that it takes no place of the others. */
export function countAsLasting(response: ServerResponse): void {
  const connection = response.socket === null ? undefined : connectionOf.get(response.socket)
  if (connection === undefined) return
  connection.room?.leave(connection)
  connection.room = null
}

/**
 * Whose address it is: of IPv6, whoever has one address has all that begin with the same 64 bits.
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
