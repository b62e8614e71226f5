/** How a Kafka client connects and logs in, in the words of Node's TLS and of SASL. */
import type { BaseOptions } from '@platformatic/kafka'

/** `tlsServerName`: each broker is told by which name it was called (SNI); brokers that share an address need it. */
export type KafkaSecurity = Pick<BaseOptions, 'tls' | 'tlsServerName' | 'sasl'>
