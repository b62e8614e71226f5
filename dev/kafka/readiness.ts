/** Checks whether a Kafka broker answers. */
import { connect } from 'node:net'

/**
 * ApiVersions, version 0 (https://kafka.apache.org/protocol): size, API key 18, version 0, correlation id 1, null client id.
 * A broker opens its port to clients once it has joined its cluster, so an answer means that it can be used.
 */
const API_VERSIONS_REQUEST = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])

/**
 * Asks a broker once for its API versions.
 * @param timeout milliseconds
 */
export function answersApiVersions(port: number, host = '127.0.0.1', timeout = 2000): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host })
    let received = Buffer.alloc(0)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(timeout, () => end(false))
    socket.on('error', () => end(false))
    socket.on('close', () => end(false))
    socket.on('connect', () => socket.write(API_VERSIONS_REQUEST))
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      // Size, correlation id, error code.
      if (received.length >= 10) end(received.readInt32BE(4) === 1 && received.readInt16BE(8) === 0)
    })
  })
}
