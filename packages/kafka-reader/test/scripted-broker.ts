/** A broker that answers each kind of request as the test has set it up, and does not answer any other. */
import type { Socket } from 'node:net'
import { Writer } from '@platformatic/kafka'
import { RequestServer } from './request-server.ts'

const API_VERSIONS = 18
export const METADATA = 3

/** Makes the body of an answer; null: the broker does not answer. @param request with its head */
export type Answer = (request: Buffer) => Writer | null

export class ScriptedBroker {
  /** By API key. */
  readonly answers = new Map<number, Answer>()
  /** The API keys of all requests, in order. */
  readonly asked: number[] = []
  #server!: RequestServer

  static async start(): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker()
    broker.#server = await RequestServer.start((request, socket) => broker.#answer(request, socket))
    broker.understands([1, 4, 17], [METADATA, 0, 12], [API_VERSIONS, 0, 4])
    return broker
  }

  get port(): number {
    return this.#server.address.port
  }

  get name(): string {
    return `127.0.0.1:${this.port}`
  }

  /** How many connections to it are open. */
  get open(): number {
    return this.#server.open
  }

  /** Sets the supported requests: API key, oldest and newest version. */
  understands(...ranges: [key: number, min: number, max: number][]): void {
    this.answers.set(API_VERSIONS, () => versions(ranges))
  }

  /** Makes it a broker that does not support the request for versions. */
  isAncient(): void {
    this.answers.set(API_VERSIONS, () => Writer.create().appendInt16(35).appendInt32(0))
  }

  /** Closes every connection. */
  cut(): void {
    this.#server.cut()
  }

  stop(): void {
    this.#server.stop()
  }

  #answer(request: Buffer, socket: Socket): void {
    const key = request.readInt16BE(0)
    const correlation = request.readInt32BE(4)
    this.asked.push(key)
    const body = this.answers.get(key)?.(request)
    if (!body) return
    const head = Writer.create().appendInt32(correlation)
    if (key !== API_VERSIONS) head.appendTaggedFields()
    socket.write(head.appendFrom(body).prependLength().buffer)
  }
}

function versions(ranges: readonly (readonly [key: number, min: number, max: number])[]): Writer {
  return Writer.create()
    .appendInt16(0)
    .appendArray([...ranges], (w, [key, min, max]) => w.appendInt16(key).appendInt16(min).appendInt16(max))
    .appendInt32(0)
    .appendTaggedFields()
}

/** The answer to a request for the metadata of a topic. */
export function metadata(
  topic: string,
  topicId: string,
  brokers: readonly { readonly node: number; readonly port: number }[],
  partitions: readonly { readonly leader: number; readonly leaderEpoch: number; readonly errorCode?: number }[],
  errorCode = 0,
): Writer {
  return Writer.create()
    .appendInt32(0)
    .appendArray([...brokers], (w, { node, port }) => w.appendInt32(node).appendString('127.0.0.1').appendInt32(port).appendString(null))
    .appendString('cluster')
    .appendInt32(1)
    .appendArray([topic], (w) =>
      w
        .appendInt16(errorCode)
        .appendString(topic)
        .appendUUID(topicId)
        .appendBoolean(false)
        .appendArray(
          partitions.map((partition, index) => ({ ...partition, index })),
          (p, { leader, leaderEpoch, index, errorCode: code = 0 }) =>
            p
              .appendInt16(code)
              .appendInt32(index)
              .appendInt32(leader)
              .appendInt32(leaderEpoch)
              .appendArray([leader], (r, node) => r.appendInt32(node), true, false)
              .appendArray([leader], (r, node) => r.appendInt32(node), true, false)
              .appendArray([] as number[], (r, node) => r.appendInt32(node), true, false),
        )
        .appendInt32(0),
    )
    .appendTaggedFields()
}
