/** Which environment variables are reported as misspelt settings, and which are not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { misspelt } from '../src/misspelt-settings.ts'

const SETTINGS = [
  'KAFKA_BROKERS',
  'KAFKA_TOPIC',
  'KAFKA_GROUP_ID',
  'POKE_API_URL',
  'POKE_API_MAX_RATE',
  'CAPTURE_MODE',
  'DATA_DIR',
  'HTTP_PORT',
]

for (const [given, meant] of [
  ['KAFKA_BROKER', 'KAFKA_BROKERS'],
  ['KAFKA_BORKERS', 'KAFKA_BROKERS'],
  ['kafka_brokers', 'KAFKA_BROKERS'],
  ['KAFKA_TOPICS', 'KAFKA_TOPIC'],
  ['KAFKA_GROUPID', 'KAFKA_GROUP_ID'],
  ['KAFKA_GROUP', 'KAFKA_GROUP_ID'],
  ['POKE_API_URI', 'POKE_API_URL'],
  ['POKEAPI_URL', 'POKE_API_URL'],
  ['POKE_API_RATE', 'POKE_API_MAX_RATE'],
  ['CAPTURE_MODUS', 'CAPTURE_MODE'],
  ['DATADIR', 'DATA_DIR'],
] as const) {
  test(`${given} is reported as a misspelling of ${meant}`, () => assert.deepEqual(misspelt(SETTINGS, [given]), [[given, meant]]))
}

test('other variables are not reported, also those of the other service and of other programs', () => {
  const others = [
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'KAFKA_HEAP_OPTS',
    'KAFKA_OPTS',
    'KAFKA_TOPIC_PARTITIONS',
    'STORE_URL',
    'HOME',
    'PATH',
    'PWD',
    'TERM',
    'LANG',
  ]
  assert.deepEqual(misspelt(SETTINGS, others), [])
})

test('a variable is not reported if the similar setting is set too', () => {
  assert.deepEqual(misspelt(SETTINGS, ['KAFKA_BROKER', 'KAFKA_BROKERS']), [])
})
