/** Ends a Kafka client at once, whatever it is doing. */
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'

/** For how long a client may take to say that it is closed, in ms. Its sockets are gone by then. */
const CLOSE_DEADLINE = 1000

/** What of `@platformatic/kafka`'s clients is used. */
export interface KafkaClient {
  readonly connections: Iterable<readonly [unknown, { readonly socket?: { destroy(): unknown } }]>
  close(): Promise<void>
}

export async function closeByForce(client: KafkaClient): Promise<void> {
  const connections = [...client.connections]
  const closed = client.close()
  // The library ends a socket only after its unsent bytes are written, which a frozen broker never reads.
  for (const [, connection] of connections) connection.socket?.destroy()
  try {
    await withDeadline(closed, CLOSE_DEADLINE, 'closing a Kafka client')
  } catch {
    // Nothing is left to be done with it: the sockets are destroyed, and the client is never used again.
  }
}
