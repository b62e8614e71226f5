/** The consumer's settings: defaults, checks and warnings. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import { readConfig } from '../src/config.ts'

test('without any variable the consumer counts into a file of this machine', () => {
  const { config, warnings } = readConfig({})
  assert.deepEqual(warnings, [])
  assert.deepEqual(config, {
    KAFKA_BROKERS: ['localhost:9092'],
    KAFKA_TOPIC: 'poke-topic',
    KAFKA_SECURITY: 'plaintext',
    KAFKA_CA_FILE: null,
    KAFKA_SASL_MECHANISM: 'none',
    KAFKA_PLAIN_WITHOUT_TLS: 'refused',
    KAFKA_USERNAME: null,
    KAFKA_PASSWORD_FILE: null,
    KAFKA_GROUP_ID: 'poke-api-consumer',
    KAFKA_SESSION_TIMEOUT: 10_000,
    FETCH_MAX_BYTES: 8_388_608,
    BATCH_MAX_BYTES: 33_554_432,
    FETCH_MAX_WAIT: 500,
    STORE_URL: 'sqlite:data/type-counts.db',
    STORE_PASSWORD_FILE: null,
    STORE_CA_FILE: null,
    STORE_CERT_FILE: null,
    STORE_KEY_FILE: null,
    SOURCE_MAX_AGE: 604_800_000,
    SOURCE_MAX_COUNT: 10_000,
    TYPE_MAX_COUNT: 100_000,
    ON_DATA_LOSS: 'stop',
    OUTPUT_FILE: 'type-counts.json',
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: 8080,
    HTTP_ALLOWED_HOSTS: [],
    LOG_LEVEL: 'info',
    LOG_FORMAT: 'auto',
    SHUTDOWN_TIMEOUT: 10_000,
  })
})

test('every wrong setting is named at once, and the password in a URL is not shown', () => {
  assert.throws(
    () => readConfig({ STORE_URL: 'mysql://ash:hunter2@db/poke', ON_DATA_LOSS: 'ignore', FETCH_MAX_WAIT: '1' }),
    (error: ServiceError) => {
      assert.equal(error.exitCode, 78)
      assert.doesNotMatch(error.message, /hunter2/)
      for (const part of [
        '3 settings are wrong',
        'STORE_URL is "***" (it does not begin with sqlite: or postgres: or postgresql:)',
        'ON_DATA_LOSS is "ignore"; accepted: stop or continue',
        'FETCH_MAX_WAIT',
      ])
        assert.ok(error.message.includes(part), `${part} is missing in ${error.message}`)
      return true
    },
  )
})

test('a password for an SQLite file is refused', () => {
  const anyFile = new URL(import.meta.url).pathname
  assert.throws(() => readConfig({ STORE_PASSWORD_FILE: anyFile }), /STORE_PASSWORD_FILE is set, but STORE_URL names an SQLite file/)
  assert.equal(readConfig({ STORE_PASSWORD_FILE: anyFile, STORE_URL: 'postgres://a@b/c' }).config.STORE_PASSWORD_FILE, anyFile)
})

test('the file of counts must not be the store under any path', (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'config-')))
  t.after(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'real'))
  symlinkSync('real', join(folder, 'way'))
  symlinkSync('real/counts.db', join(folder, 'link'))
  const store = `sqlite:${join(folder, 'real', 'counts.db')}`
  for (const made of [false, true]) {
    if (made) writeFileSync(join(folder, 'real', 'counts.db'), '')
    for (const file of [
      'real/counts.db',
      'way/counts.db',
      'real/../way/./counts.db',
      'real/counts.db-wal',
      'way/counts.db-shm',
      ...(made ? ['link'] : []),
    ])
      assert.throws(
        () => readConfig({ STORE_URL: store, OUTPUT_FILE: join(folder, file) }),
        {
          exitCode: 78,
          message:
            /OUTPUT_FILE and STORE_URL name the same file, so writing the counts would replace the store. Name another file in OUTPUT_FILE/,
        },
        file,
      )
  }
  readConfig({ STORE_URL: store, OUTPUT_FILE: join(folder, 'counts.db') })
  assert.throws(() => readConfig({ STORE_URL: 'sqlite:a/b.db', OUTPUT_FILE: './a/b.db' }), /name the same file/)
})

test('a misspelt setting leads to a warning, a setting of the producer does not', () => {
  assert.deepEqual(
    readConfig({
      STORE_URI: 'sqlite:a',
      KAFKA_TOPIC_PARTITIONS: '3',
      KAFKA_SEND_TIMEOUT: '1s',
      POKE_API_URL: 'http://a',
      DATA_DIR: 'd',
      OUTBOX_MAX_EVENTS: '1',
    }).warnings,
    ['the environment variable STORE_URI is not a setting of this service: was STORE_URL meant?'],
  )
})
