/** Closes a Kafka client at once, even if its broker does not answer. */
import { withDeadline } from '@poke-api-pipeline/service-kit/deadline'

/** The longest wait for the client's `close`, in ms. Its sockets are destroyed by then. */
const CLOSE_DEADLINE = 1000

/** The part of a client of `@platformatic/kafka` that is used here. */
export interface KafkaClient {
  readonly connections: Iterable<readonly [unknown, { readonly socket?: { destroy(): unknown } }]>
  close(): Promise<void>
}

/** Destroys the sockets of a client, then closes it. Requests under way reject. Does not throw if closing fails. */
export async function closeByForce(client: KafkaClient): Promise<void> {
  const connections = [...client.connections]
  const closed = client.close()
  // The library closes a socket only after it has sent all bytes, and a frozen broker never reads them.
  for (const [, connection] of connections) connection.socket?.destroy()
  try {
    await withDeadline(closed, CLOSE_DEADLINE, 'closing a Kafka client')
  } catch {
    // The sockets are destroyed and the client is never used again, so a failed or slow close changes nothing.
  }
}
