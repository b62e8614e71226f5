/** A broker behind a network that can fail: services connect through a proxy, and the test has a listener of its own. */
import { type Kafka, type KafkaOptions, onFreePorts, startKafka } from '@poke-api-pipeline/dev'
import { TcpProxy } from './tcp-proxy.ts'

export interface ProxiedKafka {
  readonly kafka: Kafka
  readonly proxy: TcpProxy
  /** host:port through the proxy; the address that the broker advertises there leads through the proxy, too. */
  readonly brokers: string
  /** host:port without the proxy. */
  readonly direct: string
  stop(): Promise<void>
}

/** @param dir the broker's data @param settings of the broker */
export function startProxiedKafka(dir: string, settings: KafkaOptions['config'] = {}): Promise<ProxiedKafka> {
  return onFreePorts(3, (...ports) => startOn(dir, settings, ports as [number, number, number]))
}

async function startOn(
  dir: string,
  settings: KafkaOptions['config'],
  [port, directPort, controllerPort]: [number, number, number],
): Promise<ProxiedKafka> {
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port })
  const brokers = new URL(proxy.urlOf('http://kafka')).host
  const direct = `127.0.0.1:${directPort}`
  const started = startKafka({
    dir,
    port,
    controllerPort,
    config: {
      listeners: `PROXIED://127.0.0.1:${port},PLAINTEXT://${direct},CONTROLLER://127.0.0.1:${controllerPort}`,
      'advertised.listeners': `PROXIED://${brokers},PLAINTEXT://${direct}`,
      'listener.security.protocol.map': 'PROXIED:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'inter.broker.listener.name': 'PLAINTEXT',
      ...settings,
    },
  })
  const kafka = await started.catch(async (error: unknown) => {
    await proxy.stop()
    throw error
  })
  const stop = async () => {
    await kafka.kill()
    await proxy.stop()
  }
  return { kafka, proxy, brokers, direct, stop }
}

/** Whether these bytes of a connection to Kafka begin with a Produce request: its length, then the API key 0 (https://kafka.apache.org/protocol). */
export function isProduceRequest(bytes: Buffer): boolean {
  return bytes.length > 8 && bytes.readInt32BE(0) >= bytes.length - 4 && bytes.readInt16BE(4) === 0 && bytes.readInt16BE(6) < 20
}
