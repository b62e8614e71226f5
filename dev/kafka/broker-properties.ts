/** The settings of an embedded broker: KRaft, only on the loopback interface, and fast for a single user. */

export interface BrokerPlace {
  readonly nodeId: number
  /** Client port of this broker. */
  readonly port: number
  /** Every node's controller port, this one's included. */
  readonly controllers: ReadonlyMap<number, number>
  /** The folder of Kafka's data, as the broker sees it. */
  readonly logDir: string
  /** The address that the broker listens on: 127.0.0.1, except inside a container. */
  readonly listenOn: string
}

/**
 * The content of `server.properties`.
 * @param overrides by name; they override everything else
 */
export function brokerProperties(place: BrokerPlace, overrides: Readonly<Record<string, string | number | boolean>>): string {
  const { nodeId, port, controllers, logDir, listenOn } = place
  const nodes = controllers.size
  const properties: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': nodeId,
    'controller.quorum.voters': [...controllers].map(([id, controllerPort]) => `${id}@127.0.0.1:${controllerPort}`).join(','),
    listeners: `PLAINTEXT://${listenOn}:${port},CONTROLLER://127.0.0.1:${controllers.get(nodeId)}`,
    'advertised.listeners': `PLAINTEXT://localhost:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': logDir,
    // Topics are created explicitly, with chosen partitions and retention.
    'auto.create.topics.enable': false,
    // A developer's group has one member, which waits for no other.
    'group.initial.rebalance.delay.ms': 0,
    'offsets.topic.replication.factor': Math.min(nodes, 3),
    'transaction.state.log.replication.factor': Math.min(nodes, 3),
    'transaction.state.log.min.isr': nodes > 2 ? 2 : 1,
    'min.insync.replicas': nodes > 2 ? 2 : 1,
    'default.replication.factor': Math.min(nodes, 3),
    // Kafka's default of 50 partitions takes seconds to create and to load.
    'offsets.topic.num.partitions': nodes > 1 ? 3 : 1,
    'transaction.state.log.num.partitions': nodes > 1 ? 3 : 1,
    // A killed broker can register again only after its old session has ended, 9 s by default. Several brokers slow each other down and keep the default.
    ...(nodes > 1 ? {} : { 'broker.session.timeout.ms': 3000, 'broker.heartbeat.interval.ms': 500 }),
    'num.network.threads': 2,
    'num.io.threads': 4,
    // The default takes 128 MB of heap at the start.
    'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
    ...overrides,
  }
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}
