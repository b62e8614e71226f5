/**
 * Drops HTTP's interim answers (1xx) as they arrive. RFC 9110, 15.2: a client must accept them although it has not asked for them. undici treats an
 * unrequested 100 (Continue) as a broken connection.
 *
 *   idle ──request is written──▶ head ──1xx: its bytes are dropped──▶ head
 *                                 └──any other status──▶ through, until the next request is written
 *
 * It relies on one request at a time on a connection, which is how the client's pool is set up.
 */
import type { Socket } from 'node:net'
import type { buildConnector } from 'undici'

/** The beginning that distinguishes an interim answer, `HTTP/1.1 100`, from a final one. 101 is final: it ends HTTP on the connection. */
const INTERIM = /^HTTP\/1\.\d 1(?!01)\d\d/
const DISTINGUISHING = 'HTTP/1.1 100'.length
const END_OF_HEAD = '\r\n\r\n'
/** In bytes. A longer head is passed to undici, which refuses it. */
const LONGEST_HEAD = 16 * 1024

/** @param connect connects to the API, or to a proxy that forwards requests */
export function withoutInterimAnswers(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...[error, socket]) => {
      if (error !== null) return callback(error, null)
      dropInterimAnswers(socket)
      callback(null, socket)
    })
}

/** undici reads with `read`, and writes a request with `write`. */
function dropInterimAnswers(socket: Socket): void {
  const read = socket.read.bind(socket)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  /** The bytes of a head that is not decided yet; null: bytes are passed through. */
  let head: Buffer | null = null
  socket.write = (...args: unknown[]) => {
    head ??= Buffer.alloc(0)
    return write(...args)
  }
  socket.read = (size?: number): Buffer | null => {
    for (;;) {
      const piece = read(size) as Buffer | null
      if (piece === null || head === null) return piece
      head = withoutInterims(head.length === 0 ? piece : Buffer.concat([head, piece]))
      if (!isDecided(head)) continue
      const passed = head
      head = null
      return passed
    }
  }
}

function withoutInterims(bytes: Buffer): Buffer {
  let rest = bytes
  while (INTERIM.test(rest.toString('latin1', 0, DISTINGUISHING))) {
    const end = rest.indexOf(END_OF_HEAD)
    if (end === -1) break
    rest = rest.subarray(end + END_OF_HEAD.length)
  }
  return rest
}

/** Whether the bytes begin a final answer, or something that undici refuses. */
function isDecided(head: Buffer): boolean {
  if (head.length < DISTINGUISHING) return false
  return head.length > LONGEST_HEAD || !INTERIM.test(head.toString('latin1', 0, DISTINGUISHING))
}
