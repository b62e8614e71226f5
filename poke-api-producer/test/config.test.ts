/** The producer's settings, as the architecture has them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import { readConfig } from '../src/config.ts'

test('without any variable the producer captures at random from PokeAPI, gently', () => {
  const { config, warnings } = readConfig({})
  assert.deepEqual(warnings, [])
  assert.deepEqual(config, {
    KAFKA_BROKERS: ['localhost:9092'],
    KAFKA_TOPIC: 'poke-topic',
    KAFKA_TOPIC_PARTITIONS: 3,
    KAFKA_TOPIC_REPLICATION: 1,
    KAFKA_SEND_TIMEOUT: 10_000,
    KAFKA_SECURITY: 'plaintext',
    KAFKA_CA_FILE: null,
    KAFKA_SASL_MECHANISM: 'none',
    KAFKA_PLAIN_WITHOUT_TLS: 'refused',
    KAFKA_USERNAME: null,
    KAFKA_PASSWORD_FILE: null,
    POKE_API_URL: 'https://pokeapi.co/api/v2',
    HTTP_PROXY: null,
    HTTPS_PROXY: null,
    ALL_PROXY: null,
    NO_PROXY: null,
    POKE_API_MAX_RATE: 10,
    POKE_API_TIMEOUT: 30_000,
    POKE_API_MAX_BYTES: 4_194_304,
    CAPTURE_MODE: 'random',
    CAPTURE_INTERVAL: 60_000,
    CAPTURE_CONCURRENCY: 4,
    SWEEP_MAX_ATTEMPTS: 3,
    DATA_DIR: 'data/producer',
    OUTBOX_MAX_EVENTS: 10_000,
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: 8081,
    LOG_LEVEL: 'info',
    LOG_FORMAT: 'auto',
    SHUTDOWN_TIMEOUT: 10_000,
  })
})

test('every wrong setting is named at once', () => {
  assert.throws(
    () => readConfig({ CAPTURE_MODE: 'sweeep', CAPTURE_INTERVAL: '60', KAFKA_BROKERS: 'localhost', POKE_API_MAX_RATE: '-1' }),
    (error: ServiceError) => {
      assert.equal(error.exitCode, 78)
      for (const part of [
        '4 settings are wrong',
        'CAPTURE_MODE is "sweeep"; accepted: random or sweep',
        'CAPTURE_INTERVAL',
        'KAFKA_BROKERS',
        'POKE_API_MAX_RATE',
      ])
        assert.ok(error.message.includes(part), `${part} is missing in ${error.message}`)
      return true
    },
  )
})

test('a misspelt setting causes a warning, a setting of the consumer does not', () => {
  assert.deepEqual(
    readConfig({ KAFKA_BROKER: 'a:1', KAFKA_GROUP_ID: 'g', STORE_URL: 'sqlite:a', FETCH_MAX_BYTES: '1MiB', HTTP_ALLOWED_HOSTS: 'a' })
      .warnings,
    ['the environment variable KAFKA_BROKER is not a setting of this service: was KAFKA_BROKERS meant?'],
  )
})
