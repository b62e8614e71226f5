/** How a Kafka client connects and logs in, in the words of Node's TLS and of SASL. */
import type { BaseOptions } from '@platformatic/kafka'

/** `tlsServerName`: the server name that TLS sends (SNI), or true for each broker's own, which brokers behind a shared address need. */
export type KafkaSecurity = Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
