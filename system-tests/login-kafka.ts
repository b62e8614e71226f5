/** A broker with a second listener, on which users log in by PLAIN and an authorizer decides what they may do. */
import { type Kafka, type KafkaOptions, onFreePorts, startKafka } from '@poke-api-pipeline/dev'

export interface LoginKafkaOptions {
  /** The broker's data. */
  readonly dir: string
  /** Passwords by user. */
  readonly users: Readonly<Record<string, string>>
  /** Users who may do everything, as everybody on the listener without a login; the others may do nothing at first. */
  readonly superUsers?: readonly string[]
  readonly config?: KafkaOptions['config']
}

/** @returns the broker, and the address of the listener with a login */
export async function startLoginKafka({
  dir,
  users,
  superUsers = [],
  config = {},
}: LoginKafkaOptions): Promise<{ kafka: Kafka; login: string }> {
  const passwords = Object.entries(users).map(([name, password]) => `user_${name}="${password}"`)
  return await onFreePorts(3, async (port, controllerPort, loginPort) => {
    const login = `localhost:${loginPort}`
    const kafka = await startKafka({
      dir,
      port,
      controllerPort,
      config: {
        listeners: `PLAINTEXT://127.0.0.1:${port},LOGIN://127.0.0.1:${loginPort},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://localhost:${port},LOGIN://${login}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
        'listener.name.login.sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.login.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${passwords.join(' ')};`,
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': ['ANONYMOUS', ...superUsers].map((name) => `User:${name}`).join(';'),
        ...config,
      },
    })
    return { kafka, login }
  })
}
