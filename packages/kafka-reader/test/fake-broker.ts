/** A broker that supports only Fetch (version 17). The test inspects each request and makes its answer. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Reader } from '@platformatic/kafka'
import { RequestServer } from './request-server.ts'

export interface AskedPartition {
  readonly partition: number
  readonly currentLeaderEpoch: number
  readonly fetchOffset: number
  readonly lastFetchedEpoch: number
  readonly maxBytes: number
}

/** A Fetch request that has no answer yet. */
export interface Asked {
  readonly topicId: string
  /** The requested partitions, in the order of the request. */
  readonly partitions: readonly AskedPartition[]
  readonly isolation: number
  readonly session: readonly [id: number, epoch: number]
  answer(parts: readonly AnsweredPartition[], options?: AnswerOptions): void
  /** Closes the connection in place of an answer. */
  hangUp(): void
}

export interface AnsweredPartition {
  readonly partition: number
  readonly errorCode?: number
  readonly records?: Buffer
  readonly highWatermark?: number
  readonly lastStableOffset?: number
  readonly logStartOffset?: number
  readonly aborted?: readonly { readonly producerId: bigint; readonly firstOffset: number }[]
  readonly preferredReadReplica?: number
  readonly diverging?: { readonly epoch: number; readonly endOffset: number }
}

export interface AnswerOptions {
  readonly errorCode?: number
  /** The delay that the answer announces because of a quota, in ms. */
  readonly throttleMs?: number
  /** The bytes of each write, if the answer is written in pieces, one in each turn of the event loop. */
  readonly pieces?: number
}

export class FakeBroker {
  #server!: RequestServer
  readonly #asked: Asked[] = []
  #arrived: PromiseWithResolvers<void> = Promise.withResolvers()

  static async start(): Promise<FakeBroker> {
    const broker = new FakeBroker()
    broker.#server = await RequestServer.start((request, socket) => broker.#hear(request, socket))
    return broker
  }

  get address(): { readonly host: string; readonly port: number } {
    return this.#server.address
  }

  /** How many connections were made. */
  get connections(): number {
    return this.#server.connections
  }

  /** Requests that have arrived and that the test has not taken. */
  get waiting(): number {
    return this.#asked.length
  }

  /** The next request, as soon as there is one. */
  async asked(): Promise<Asked> {
    for (;;) {
      const asked = this.#asked.shift()
      if (asked !== undefined) return asked
      await this.#arrived.promise
    }
  }

  /** Opens and closes a connection. When it resolves, everything sent before has arrived, and so have requests that followed from it at once. */
  async roundTrip(): Promise<void> {
    const probe = connect(this.address)
    await once(probe, 'connect')
    probe.end()
    probe.resume()
    await once(probe, 'close')
  }

  stop(): void {
    this.#server.stop()
  }

  #hear(request: Buffer, socket: Socket): void {
    this.#asked.push(read(request, socket))
    this.#arrived.resolve()
    this.#arrived = Promise.withResolvers()
  }
}

function read(request: Buffer, socket: Socket): Asked {
  const reader = Reader.from(request)
  reader.skip(4)
  const correlation = reader.readInt32()
  reader.readNullableString(false)
  reader.readTaggedFields()
  reader.skip(12)
  const isolation = reader.readInt8()
  const session = [reader.readInt32(), reader.readInt32()] as const
  const [topic] = reader.readArray((r) => ({ topicId: r.readUUID(), partitions: r.readArray(readPartition) }))
  if (topic === undefined) throw new Error('a Fetch for no topic')
  return {
    ...topic,
    isolation,
    session,
    hangUp: () => socket.destroy(),
    answer: (parts, options = {}) => {
      const body = fetchBody(topic.topicId, parts, options.errorCode, options.throttleMs)
      const head = Buffer.alloc(9)
      head.writeInt32BE(5 + body.length, 0)
      head.writeInt32BE(correlation, 4)
      const answer = Buffer.concat([head, body])
      if (options.pieces === undefined) socket.write(answer)
      else drip(socket, answer, options.pieces)
    },
  }
}

function readPartition(r: Reader): AskedPartition {
  const partition = r.readInt32()
  const currentLeaderEpoch = r.readInt32()
  const fetchOffset = Number(r.readInt64())
  const lastFetchedEpoch = r.readInt32()
  r.skip(8)
  return { partition, currentLeaderEpoch, fetchOffset, lastFetchedEpoch, maxBytes: r.readInt32() }
}

function drip(socket: Socket, bytes: Buffer, size: number): void {
  if (bytes.length === 0 || socket.destroyed) return
  socket.write(bytes.subarray(0, size))
  setTimeout(() => drip(socket, bytes.subarray(size), size), 20)
}

/** The body of a Fetch response, version 13 to 17. */
export function fetchBody(topicId: string, parts: readonly AnsweredPartition[], errorCode = 0, throttleMs = 0): Buffer {
  const id = Buffer.from(topicId.replaceAll('-', ''), 'hex')
  return Buffer.concat([
    int(4, throttleMs),
    int(2, errorCode),
    int(4, 0),
    unsigned(2),
    id,
    unsigned(parts.length + 1),
    ...parts.map(partBody),
    unsigned(0),
    unsigned(0),
  ])
}

function partBody(part: AnsweredPartition): Buffer {
  const { records = Buffer.alloc(0), aborted = [], diverging } = part
  const highWatermark = part.highWatermark ?? 1_000_000
  const tag = diverging && Buffer.concat([int(4, diverging.epoch), int(8, diverging.endOffset), unsigned(0)])
  return Buffer.concat([
    int(4, part.partition),
    int(2, part.errorCode ?? 0),
    int(8, highWatermark),
    int(8, part.lastStableOffset ?? highWatermark),
    int(8, part.logStartOffset ?? 0),
    unsigned(aborted.length + 1),
    ...aborted.map(({ producerId, firstOffset }) => Buffer.concat([int(8, producerId), int(8, firstOffset), unsigned(0)])),
    int(4, part.preferredReadReplica ?? -1),
    unsigned(records.length + 1),
    records,
    // A tagged field of a later version, which readers must skip.
    ...(tag ? [unsigned(2), unsigned(0), unsigned(tag.length), tag] : [unsigned(1)]),
    unsigned(9),
    unsigned(3),
    Buffer.from('new'),
  ])
}

function int(size: 2 | 4 | 8, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(size)
  if (size === 8) bytes.writeBigInt64BE(BigInt(value))
  else bytes.writeIntBE(Number(value), 0, size)
  return bytes
}

function unsigned(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  return Buffer.from([...bytes, rest])
}
