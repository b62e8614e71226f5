/** Sends record batches to a broker byte for byte, including ones that no client library would write. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Produce, and the last of its versions whose numbers have a fixed length (https://kafka.apache.org/protocol#The_Messages_Produce). */
const PRODUCE = 0
const VERSION = 8
const ALL_IN_SYNC = -1
const TIMEOUT = 10_000
/** The broker was just chosen as leader, and does not know it yet. */
const NOT_LEADER = 6

export class RawProducer {
  readonly #socket: Socket
  #received = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      socket.emit('more')
    })
  }

  /** @param broker host:port of the leader */
  static async connect(broker: string): Promise<RawProducer> {
    const { hostname, port } = new URL(`kafka://${broker}`)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    return new RawProducer(socket)
  }

  /** @returns the base offset of the batch, or null if the broker refuses it */
  async send(topic: string, partition: number, batch: Buffer): Promise<number | null> {
    for (;;) {
      const body = Buffer.concat([
        int16(-1),
        int16(ALL_IN_SYNC),
        int32(TIMEOUT),
        int32(1),
        text(topic),
        int32(1),
        int32(partition),
        sized(batch),
      ])
      const request = Buffer.concat([int16(PRODUCE), int16(VERSION), int32(0), text('raw-producer'), body])
      this.#socket.write(sized(request))
      const response = await this.#response()
      // Correlation id, one topic with its name, one partition with its number; then error code and offset.
      const code = response.readInt16BE(4 + 4 + text(topic).length + 4 + 4)
      const offset = response.readBigInt64BE(4 + 4 + text(topic).length + 4 + 4 + 2)
      if (code === 0) return Number(offset)
      if (code !== NOT_LEADER) return null
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  async #response(): Promise<Buffer> {
    while (this.#received.length < 4 || this.#received.length < 4 + this.#received.readInt32BE(0)) await once(this.#socket, 'more')
    const end = 4 + this.#received.readInt32BE(0)
    const response = this.#received.subarray(4, end)
    this.#received = this.#received.subarray(end)
    return response
  }
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function text(value: string): Buffer {
  return Buffer.concat([int16(value.length), Buffer.from(value)])
}

function sized(bytes: Buffer): Buffer {
  return Buffer.concat([int32(bytes.length), bytes])
}
