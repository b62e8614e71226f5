/** The kind and message of each failure of Kafka. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  AuthenticationError,
  MultipleErrors,
  NetworkError,
  ProtocolError,
  ResponseError,
  TimeoutError,
  UserError,
} from '@platformatic/kafka'
import { DeadlinePassed, ownError } from '@poke-api-pipeline/service-kit'
import { kafkaError, refusedBy } from '../../src/brokers/kafka-failure.ts'
import { KafkaError } from '../../src/errors.ts'

const attempt = { brokers: ['kafka:9092'], topic: 'poke-topic' }
const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:9092'), { code: 'ECONNREFUSED', syscall: 'connect' })
const response = (code: number) => new ResponseError(11, 9, { '/': [code, null] }, {})

for (const [what, error, kind, words] of [
  [
    'a port that is not open',
    new NetworkError('Connection to kafka:9092 failed.', { cause: refused }),
    'unreachable',
    /ECONNREFUSED 10.0.0.1/,
  ],
  ['the system’s own error', refused, 'unreachable', /ECONNREFUSED/],
  ['the last of several attempts', new MultipleErrors('failed', [new NetworkError('a'), new NetworkError('b')]), 'unreachable', /\(b\)/],
  ['a timeout of the library', new TimeoutError('Request timed out'), 'unreachable', /timed out/],
  [
    'a deadline of this package',
    new DeadlinePassed('joining took longer than 5 ms'),
    'deadline',
    /did not answer in time: joining took longer/,
  ],
  [
    'a wrong password',
    new AuthenticationError('SASL authentication failed.', { cause: response(58) }),
    'not-authorised',
    /refused the login/,
  ],
  ['an unknown mechanism', new MultipleErrors('x', [response(33)]), 'not-authorised', /refused the login/],
  [
    'a login whose connection breaks',
    new AuthenticationError('SASL', { cause: new NetworkError('Connection closed') }),
    'unreachable',
    /Connection closed/,
  ],
  ['no permission for the group', response(30), 'not-authorised', /poke-topic or the group .*GROUP_AUTHORIZATION_FAILED/],
  ['no permission for the topic', response(29), 'not-authorised', /TOPIC_AUTHORIZATION_FAILED/],
  ['a port that requires TLS', new UserError('Broker requires TLS.'), 'tls', /wants TLS on this port.*turn TLS on/],
  ['an old broker', response(35), 'unsupported-broker', /Kafka 3.1/],
  ['no leader', response(5), 'no-leader', /no leader/],
  ['an unknown topic', new UserError('Unknown topic poke-topic.'), 'no-topic', /does not know topic poke-topic/],
  [
    'a session time-out outside the brokers’ limits',
    response(26),
    'refused',
    /session time-out of this service.*group\.max\.session\.timeout\.ms/,
  ],
  ['a group that is full', response(81), 'refused', /no more members .*group\.max\.size/],
  ['a group without a coordinator', response(15), 'refused', /no coordinator .*offsets\.topic\.replication\.factor/],
  ['any other error code', new ProtocolError(27), 'refused', /REBALANCE_IN_PROGRESS/],
  ['an answer that ends too early', new RangeError('Offset is outside the bounds of the DataView'), 'bad-response', /cannot be read/],
  ['a mistake in the library', new TypeError('x is not a function'), 'refused', /x is not a function/],
] as const) {
  test(`${what}: ${kind}`, () => {
    const failure = kafkaError(error, attempt)
    assert.equal(failure.kind, kind)
    assert.match(failure.message, words)
    assert.equal(failure.cause, error)
  })
}

const refusedAt = (address: string) => new NetworkError(`Connection to ${address} failed.`, { cause: refused })

test('an address that is not configured was named by a broker, if the client finds brokers by itself', () => {
  const { kind, message } = kafkaError(refusedAt('10.0.0.1:9092'), { ...attempt, findsBrokers: true })
  assert.equal(kind, 'unreachable')
  assert.match(message, /Kafka at kafka:9092 answers, and names 10\.0\.0\.1:9092 .*ECONNREFUSED.*advertised\.listeners/)
  for (const [error, findsBrokers] of [
    [refusedAt('kafka:9092'), true],
    [refusedAt('10.0.0.1:9092'), false],
  ] as const)
    assert.doesNotMatch(kafkaError(error, { ...attempt, findsBrokers }).message, /advertised/)
})

test('a password whose file was removed is a failure that is retried', () => {
  const gone = ownError('config/secret-unreadable', 'the file that PASSWORD_FILE names cannot be read any more')
  const error = new AuthenticationError('The SASL/PLAIN password provider threw an error.', { cause: gone })
  const { kind, message, retriable } = kafkaError(error, attempt)
  assert.deepEqual([kind, retriable], ['no-password', true])
  assert.match(message, /^logging in to Kafka at kafka:9092 needs a password, and the file that PASSWORD_FILE names/)
})

test('a KafkaError is returned unchanged', () => {
  const error = new KafkaError('membership', 'thrown out')
  assert.equal(kafkaError(error, attempt), error)
})

test('error codes in answers have a kind and message, even if they are newer than the client library', () => {
  assert.equal(refusedBy(29, attempt).kind, 'not-authorised')
  assert.match(refusedBy(56, attempt).message, /see to the disk of the broker.*KAFKA_STORAGE_ERROR/)
  assert.match(refusedBy(12_345, attempt).message, /error 12345/)
  assert.equal(refusedBy(12_345, attempt).retriable, true)
})
