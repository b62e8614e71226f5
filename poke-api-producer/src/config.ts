/** Every setting of the producer: its environment variable, default, unit and meaning. `docs/settings.md` is generated from it. */
import { CONNECTION_RULES, connectionWarnings, KAFKA_SETTINGS } from '@poke-api-pipeline/kafka-common/connection-settings'
import {
  duration,
  integer,
  number,
  oneOf,
  PROXY_SETTINGS,
  path,
  processSettings,
  proxyWarnings,
  readSettings,
  type SettingValues,
  setting,
  size,
  webUrl,
  withProxyNames,
} from '@poke-api-pipeline/service-kit'

export const SETTINGS = {
  ...KAFKA_SETTINGS,
  KAFKA_TOPIC_PARTITIONS: setting(integer({ min: 1, max: 10_000 }), '3', 'Partitions of the topic, if the producer has to create it.'),
  KAFKA_TOPIC_REPLICATION: setting(
    integer({ min: 1, max: 100 }),
    '1',
    'Replicas of each partition, if the producer has to create the topic.',
  ),
  KAFKA_SEND_TIMEOUT: setting(
    duration({ min: '100ms', max: '10m' }),
    '10s',
    'How long Kafka may take to acknowledge events. Then they are sent again.',
  ),
  POKE_API_URL: setting(webUrl(), 'https://pokeapi.co/api/v2', 'The URL of PokeAPI.'),
  ...PROXY_SETTINGS,
  POKE_API_MAX_RATE: setting(number({ min: 0, max: 1_000_000 }), '10', 'Most requests a second; 0: unlimited.'),
  POKE_API_TIMEOUT: setting(duration({ min: '100ms', max: '10m' }), '30s', 'How long one answer may take.'),
  POKE_API_MAX_BYTES: setting(size({ min: '1KiB', max: '256MiB' }), '4MiB', 'Largest body of an answer.'),
  CAPTURE_MODE: setting(
    oneOf('random', 'sweep'),
    'random',
    '`random`: any Pokémon, again and again, until the producer is stopped; `sweep`: each Pokémon once, and then the producer ends.',
  ),
  CAPTURE_INTERVAL: setting(duration({ min: '0ms', max: '7d' }), '60s', 'Time between two random captures. A sweep does not wait.'),
  CAPTURE_CONCURRENCY: setting(
    integer({ min: 1, max: 256 }),
    '4',
    'How many Pokémon are requested at the same time, through at most twice as many connections.',
  ),
  SWEEP_MAX_ATTEMPTS: setting(
    integer({ min: 1, max: 1000 }),
    '3',
    'How often a Pokémon of a sweep may fail while PokeAPI answers for others. Then the sweep leaves it out.',
  ),
  DATA_DIR: setting(path('folder'), 'data/producer', 'The folder of the outbox and of the cache of PokeAPI’s answers, on a local disk.'),
  OUTBOX_MAX_EVENTS: setting(integer({ min: 1, max: 10_000_000 }), '10000', 'How many events may wait for Kafka. Then capturing pauses.'),
  ...processSettings(8081),
} as const

export type Config = SettingValues<typeof SETTINGS>

/** @throws ServiceError (exit code 78) that names every wrong setting */
export function readConfig(env: Readonly<Record<string, string | undefined>>): {
  readonly config: Config
  readonly warnings: readonly string[]
} {
  const { values, warnings } = readSettings(SETTINGS, withProxyNames(env), CONNECTION_RULES)
  return { config: values, warnings: [...warnings, ...proxyWarnings(env, values.POKE_API_URL, values), ...connectionWarnings(values)] }
}
