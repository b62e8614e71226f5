/** Another program in a consumer group: it sends the requests of a classic member, of any kind and with any client id. */
import { Connection, joinGroupV9, leaveGroupV5, parseBroker, ResponseError, syncGroupV5, Writer } from '@platformatic/kafka'

export interface ForeignMemberOptions {
  /** host:port of the group's coordinator. */
  readonly broker: string
  readonly groupId: string
  readonly topic: string
  readonly clientId?: string
  /** The protocol type of the group: `consumer`, or for example `connect`. */
  readonly protocolType?: string
  /** The protocol by which partitions are handed out. */
  readonly protocol?: string
  /** The topics that it subscribes to. Default: only the topic. */
  readonly topics?: readonly string[]
  /** Its user data, beside its topics. */
  readonly userData?: string
  /** All metadata with which it joins, in place of a consumer's. */
  readonly says?: Buffer
  /** Its rebalance time-out, for which the group waits, in ms: it never joins again by itself. */
  readonly session?: number
}

const SESSION = 60_000

export class ForeignMember {
  /** The partitions that the leader of the group has given it. */
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

  /** Resolves when it is in the group and has received its partitions; alone in the group it receives none. */
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
      // MEMBER_ID_REQUIRED: it has received an id, and joins with it.
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
