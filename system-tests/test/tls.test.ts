/** Failures of TLS, with a real broker and real certificates: each service says the reason and what to do, and goes on once it is corrected. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type Kafka, onFreePorts, startKafka } from '@poke-api-pipeline/dev'
import { KAFKA_SETTINGS, kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { PublishError } from '@poke-api-pipeline/poke-api-producer/errors'
import { KafkaEventPublisher } from '@poke-api-pipeline/poke-api-producer/kafka-producer'
import { PokeApiClient } from '@poke-api-pipeline/poke-api-producer/poke-api-client'
import { event } from '@poke-api-pipeline/poke-api-producer/testing/event-publisher'
import { readSettings } from '@poke-api-pipeline/service-kit'
import { Authority } from '../certificates.ts'
import { Fetching } from '../fetching.ts'
import { Topics } from '../topics.ts'

const dir = mkdtempSync(join(tmpdir(), 'tls-'))
const authority = new Authority(dir, 'ours')
const stranger = new Authority(dir, 'strangers')
/** By the name of the broker's listener. */
const certificates = {
  GOOD: authority.issue('localhost'),
  NAME: authority.issue('kafka.example.com'),
  EXPIRED: authority.issue('localhost', -1),
  CLIENT: authority.issue('localhost'),
  LOGIN: authority.issue('localhost'),
}
type Listener = keyof typeof certificates
const names = Object.keys(certificates) as Listener[]
const ports = new Map<Listener, number>()
let kafka: Kafka
let topics: Topics
let count = 0

before(async () => {
  kafka = await onFreePorts(2 + names.length, startListening)
  topics = new Topics(kafka.brokers)
})
after(async () => {
  await topics.close()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

function startListening(port: number, controllerPort: number, ...others: number[]): Promise<Kafka> {
  for (const [i, name] of names.entries()) ports.set(name, others[i] as number)
  const listeners = names.map((name) => `${name}://127.0.0.1:${ports.get(name)}`)
  const advertised = names.map((name) => `${name}://localhost:${ports.get(name)}`)
  const protocols = names.map((name) => `${name}:${name === 'LOGIN' ? 'SASL_SSL' : 'SSL'}`)
  const keystores = names.flatMap((name) => [
    [`listener.name.${name.toLowerCase()}.ssl.keystore.type`, 'PEM'],
    [`listener.name.${name.toLowerCase()}.ssl.keystore.location`, certificates[name].file],
  ])
  return startKafka({
    dir: join(dir, 'kafka'),
    port,
    controllerPort,
    config: {
      listeners: [`PLAINTEXT://127.0.0.1:${port}`, ...listeners, `CONTROLLER://127.0.0.1:${controllerPort}`].join(','),
      'advertised.listeners': [`PLAINTEXT://localhost:${port}`, ...advertised].join(','),
      'listener.security.protocol.map': ['PLAINTEXT:PLAINTEXT', ...protocols, 'CONTROLLER:PLAINTEXT'].join(','),
      ...Object.fromEntries(keystores),
      'listener.name.client.ssl.client.auth': 'required',
      'listener.name.client.ssl.truststore.type': 'PEM',
      'listener.name.client.ssl.truststore.location': authority.file,
      'listener.name.login.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.login.plain.sasl.jaas.config': 'org.apache.kafka.common.security.plain.PlainLoginModule required user_misty="staryu";',
    },
  })
}

async function newTopic(): Promise<string> {
  const topic = `tls-${++count}`
  await topics.make(topic, 1)
  return topic
}

/** The settings, as the services read them. */
function securityOf(env: Record<string, string>) {
  return kafkaSecurity(readSettings(KAFKA_SETTINGS, env).values)
}

const tls = (ca = authority) => ({ KAFKA_SECURITY: 'tls', KAFKA_CA_FILE: ca.file })
const at = (listener: Listener) => `localhost:${ports.get(listener)}`

function publisherOf(t: TestContext, broker: string, env: Record<string, string>, topic: string): KafkaEventPublisher {
  const clientOptions = securityOf({ ...env, KAFKA_BROKERS: broker })
  const publisher = new KafkaEventPublisher({ brokers: [broker], topic, partitions: 1, replication: 1, clientOptions })
  t.after(() => publisher.close())
  return publisher
}

function fetchingOf(t: TestContext, broker: string, env: Record<string, string>, topic: string, handler = new FakeHandler()): Fetching {
  const clientOptions = securityOf({ ...env, KAFKA_BROKERS: broker })
  const fetching = new Fetching({ brokers: [broker], topic, groupId: topic, clientOptions }, handler)
  t.after(() => fetching.stop().catch(() => {}))
  return fetching
}

const never = new AbortController().signal

describe('both services say', () => {
  for (const [what, broker, env, words, setting] of [
    [
      'an authority that they do not know',
      () => at('GOOD'),
      tls(stranger),
      /authority that this service does not know /,
      /set KAFKA_CA_FILE/,
    ],
    ['a certificate for another name', () => at('NAME'), tls(), /certificate for another name .*kafka\.example\.com/, null],
    ['a certificate that has expired', () => at('EXPIRED'), tls(), /has expired \(CERT_HAS_EXPIRED\): renew the certificate/, null],
    ['that a client certificate is asked for', () => at('CLIENT'), tls(), /requires a client certificate/, null],
    ['a port that speaks no TLS', () => kafka.brokers, tls(), /check whether this port speaks TLS/, null],
    ['a port that speaks TLS alone', () => at('GOOD'), {}, /wants TLS on this port, /, /set KAFKA_SECURITY to tls/],
  ] as const) {
    test(what, async (t) => {
      const topic = await newTopic()
      const fetching = fetchingOf(t, broker(), env, topic)
      await fetching.until(() => fetching.reports.length > 0)
      assert.match(fetching.reports[0] ?? '', words)
      await assert.rejects(publisherOf(t, broker(), env, topic).prepare(never), (error) => {
        assert.ok(error instanceof PublishError)
        assert.equal(error.kind, 'tls', error.message)
        assert.match(error.message, words)
        if (setting !== null) assert.match(error.message, setting)
        assert.equal(error.retriable, true)
        return true
      })
    })
  }
})

test('correct settings work: with TLS, and with a login over TLS', async (t) => {
  const passwordFile = join(dir, 'password')
  writeFileSync(passwordFile, 'staryu\n')
  const login = { ...tls(), KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_USERNAME: 'misty', KAFKA_PASSWORD_FILE: passwordFile }
  for (const [listener, env] of [
    ['GOOD', tls()],
    ['LOGIN', login],
  ] as const) {
    const topic = await newTopic()
    const handler = new FakeHandler()
    fetchingOf(t, at(listener), env, topic, handler)
    const publisher = publisherOf(t, at(listener), env, topic)
    await publisher.prepare(never)
    await publisher.publish([event(1, 0)])
    await handler.until(() => handler.counted.length === 1)
  }
})

test('a password file that is gone is waited for, and its path is not printed', async (t) => {
  const topic = await newTopic()
  const KAFKA_PASSWORD_FILE = join(dir, 'short-lived')
  writeFileSync(KAFKA_PASSWORD_FILE, 'staryu\n')
  const env = { ...tls(), KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_USERNAME: 'misty', KAFKA_PASSWORD_FILE }
  const handler = new FakeHandler()
  const publisher = publisherOf(t, at('LOGIN'), env, topic)
  const clientOptions = securityOf({ ...env, KAFKA_BROKERS: at('LOGIN') })
  rmSync(KAFKA_PASSWORD_FILE)
  const fetching = new Fetching({ brokers: [at('LOGIN')], topic, groupId: topic, clientOptions }, handler)
  t.after(() => fetching.stop().catch(() => {}))
  await fetching.until(() => fetching.reports.length > 0)
  const refused = await publisher.prepare(never).then(
    () => null,
    (error: PublishError) => error,
  )
  assert.equal(refused?.kind, 'no-password', String(refused))
  for (const words of [fetching.reports[0] ?? '', refused?.message ?? '']) {
    assert.match(words, /file that KAFKA_PASSWORD_FILE names cannot be read .*ENOENT/)
    assert.ok(!words.includes(dir), words)
  }
  writeFileSync(KAFKA_PASSWORD_FILE, 'staryu\n')
  await publisher.prepare(never)
  await publisher.publish([event(1, 0)])
  await handler.until(() => handler.counted.length === 1)
})

test('failures of TLS with PokeAPI are reported in the same way', async (t) => {
  for (const [certificate, words] of [
    [stranger.issue('localhost'), /authority that this service does not know .*NODE_EXTRA_CA_CERTS/],
    [authority.issue('localhost', -1), /certificate/],
  ] as const) {
    const server = createServer({ key: certificate.key, cert: certificate.cert }, (_, response) => void response.end('{}'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => void server.close())
    const client = new PokeApiClient({
      url: `https://localhost:${(server.address() as AddressInfo).port}`,
      maxRate: 0,
      cacheFile: join(mkdtempSync(join(dir, 'cache-')), 'cache.db'),
      maxAttempts: 1,
      timeout: 5000,
      maxBody: 100_000,
      observer: { requested: () => {}, attempted: () => {}, cacheFailed: () => {} },
    })
    t.after(() => client.close())
    await assert.rejects(client.capture(1, never), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'poke-api/tls', error.message)
      assert.match(error.message, words)
      return true
    })
  }
})
