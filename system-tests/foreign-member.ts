/** Another program in a consumer group, by the requests of a classic member alone: of any kind, with any client id, as long as a test wants it there. */
import { Connection, joinGroupV9, leaveGroupV5, parseBroker, ResponseError, syncGroupV5, Writer } from '@platformatic/kafka'

export interface ForeignMemberOptions {
  /** host:port of the group's coordinator. */
  readonly broker: string
  readonly groupId: string
  readonly topic: string
  readonly clientId?: string
  /** What its members are: consumers, or for instance workers of `connect`. */
  readonly protocolType?: string
  /** By what partitions are handed out. */
  readonly protocol?: string
}

const SESSION = 60_000

export class ForeignMember {
  readonly #connection: Connection
  readonly #groupId: string
  readonly #memberId: string

  private constructor(connection: Connection, groupId: string, memberId: string) {
    this.#connection = connection
    this.#groupId = groupId
    this.#memberId = memberId
  }

  /** Resolves when it is in the group, and has what it was given there; alone in it, it is given nothing. */
  static async join(options: ForeignMemberOptions): Promise<ForeignMember> {
    const { broker, groupId, topic, clientId = 'foreign', protocolType = 'consumer', protocol = 'roundrobin' } = options
    const connection = new Connection(clientId)
    connection.on('error', () => {})
    const { host, port } = parseBroker(broker)
    await connection.connect(host, port)
    const metadata = Writer.create()
      .appendInt16(0)
      .appendArray([topic], (w, each) => w.appendString(each, false), false, false)
      .appendBytes(null, false).buffer
    const join = (memberId: string) =>
      joinGroupV9.api.async(connection, groupId, SESSION, SESSION, memberId, null, protocolType, [{ name: protocol, metadata }])
    const joined = await join('').catch((error: unknown) => {
      // MEMBER_ID_REQUIRED: it has an id now, and joins with it.
      if (error instanceof ResponseError) return join((error.response as { memberId: string }).memberId)
      throw error
    })
    const { generationId, memberId } = joined
    await syncGroupV5.api.async(connection, groupId, generationId, memberId, null, protocolType, protocol, [])
    return new ForeignMember(connection, groupId, memberId)
  }

  async leave(): Promise<void> {
    await leaveGroupV5.api.async(this.#connection, this.#groupId, [{ memberId: this.#memberId, groupInstanceId: null, reason: null }])
    await this.#connection.close()
  }
}
