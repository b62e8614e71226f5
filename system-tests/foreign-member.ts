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
  /** What it subscribes to. Default: the topic alone. */
  readonly topics?: readonly string[]
  /** What it says of itself, beside its topics. */
  readonly userData?: string
  /** All that it says, in place of what a consumer says. */
  readonly says?: Buffer
  /** For so long it is waited for, in ms: it never joins again by itself. */
  readonly session?: number
}

const SESSION = 60_000

export class ForeignMember {
  /** What the leader of the group handed it. */
  readonly assignment: Buffer
  readonly #connection: Connection
  readonly #groupId: string
  readonly #memberId: string

  private constructor(connection: Connection, groupId: string, memberId: string, assignment: Buffer) {
    this.assignment = assignment
    this.#connection = connection
    this.#groupId = groupId
    this.#memberId = memberId
  }

  /** Resolves when it is in the group, and has what it was given there; alone in it, it is given nothing. */
  static async join(options: ForeignMemberOptions): Promise<ForeignMember> {
    const { broker, groupId, topic, clientId = 'foreign', protocolType = 'consumer', protocol = 'roundrobin', session = SESSION } = options
    const connection = new Connection(clientId)
    connection.on('error', () => {})
    const { host, port } = parseBroker(broker)
    await connection.connect(host, port)
    const { topics = [topic], userData } = options
    const subscription = Writer.create()
      .appendInt16(0)
      .appendArray([...topics], (w, each) => w.appendString(each, false), false, false)
      .appendBytes(userData === undefined ? null : Buffer.from(userData), false).buffer
    const metadata = options.says ?? subscription
    const join = (memberId: string) =>
      joinGroupV9.api.async(connection, groupId, session, session, memberId, null, protocolType, [{ name: protocol, metadata }])
    const joined = await join('').catch((error: unknown) => {
      // MEMBER_ID_REQUIRED: it has an id now, and joins with it.
      if (error instanceof ResponseError) return join((error.response as { memberId: string }).memberId)
      throw error
    })
    const { generationId, memberId } = joined
    const { assignment } = await syncGroupV5.api.async(connection, groupId, generationId, memberId, null, protocolType, protocol, [])
    return new ForeignMember(connection, groupId, memberId, assignment)
  }

  async leave(): Promise<void> {
    await leaveGroupV5.api.async(this.#connection, this.#groupId, [{ memberId: this.#memberId, groupInstanceId: null, reason: null }])
    await this.#connection.close()
  }
}
