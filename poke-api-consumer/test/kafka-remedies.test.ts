/** Operators read which settings of this service to correct, although the reader of Kafka knows none of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ResponseError } from '@platformatic/kafka'
import { KAFKA_ERRORS, KafkaError, type KafkaErrorKind, kafkaError, type ReaderObserver } from '@poke-api-pipeline/kafka-reader'
import { fanOut, systemClock } from '@poke-api-pipeline/service-kit'
import { SETTINGS } from '../src/config.ts'
import { groupReader, remediesOf, withRemedies } from '../src/infrastructure/kafka-remedies.ts'

test('each setting that is named exists', () => {
  const kinds = Object.keys(KAFKA_ERRORS) as KafkaErrorKind[]
  const named = [...kinds, 'INVALID_SESSION_TIMEOUT', 'INVALID_GROUP_ID'].flatMap(
    (failure) => remediesOf(failure).match(/[A-Z_]{3,}/g) ?? [],
  )
  assert.ok(named.length >= 8, String(named))
  assert.deepEqual(
    named.filter((name) => !(name in SETTINGS)),
    [],
  )
})

test('a failure keeps its code and what is to be done, and names the settings and the command once', () => {
  const refused = new KafkaError('two-stores', 'group g uses another store: give this instance the same store')
  const named = withRemedies(refused)
  assert.equal(
    named.message,
    'group g uses another store: give this instance the same store. Settings: STORE_URL, KAFKA_GROUP_ID. Command: poke-api-consumer take-group',
  )
  assert.deepEqual([named.code, named.exitCode, named.retriable], [refused.code, refused.exitCode, refused.retriable])
  assert.equal(withRemedies(named), named)
  const missing = new KafkaError('no-password', 'the file of KAFKA_PASSWORD_FILE cannot be read')
  assert.equal(withRemedies(missing), missing)
})

test('a refusal by a broker names the setting that the broker does not take', () => {
  const INVALID_SESSION_TIMEOUT = 26
  const error = new ResponseError(11, 9, { '/': [INVALID_SESSION_TIMEOUT, null] }, {})
  const { message } = withRemedies(kafkaError(error, { brokers: ['kafka:9092'], topic: 'poke-topic' }))
  assert.match(message, /set one between group\.min\.session\.timeout\.ms and .*; this is retried\. Setting: KAFKA_SESSION_TIMEOUT$/)
})

test('a member of the group reports the settings with its failures', async () => {
  const stop = new AbortController()
  const reported = Promise.withResolvers<Error>()
  const reader = groupReader({
    brokers: ['127.0.0.1:1'],
    topic: 'poke-topic',
    groupId: 'g',
    clientId: 'c',
    store: { id: '0'.repeat(32), name: 'sqlite:a', instance: 'host/1' },
    limits: { maxBytes: 1024 * 1024, maxWait: 100 },
    observer: fanOut<ReaderObserver>([{ brokerAway: reported.resolve }]),
    clock: systemClock(),
  })
  const running = reader.run({ open: () => Promise.reject(new Error('no partition is assigned')) }, stop.signal)
  assert.match((await reported.promise).message, /^Kafka at 127\.0\.0\.1:1 cannot be reached .*\. Setting: KAFKA_BROKERS$/)
  stop.abort()
  await running
})

test('a failure that no setting corrects, and an error of anything else, stay as they are', () => {
  for (const error of [new KafkaError('no-leader', 'partition 0 has no leader'), new Error('a mistake'), null]) {
    assert.equal(withRemedies(error), error)
  }
})
