/** Every setting of the consumer: its environment variable, default, unit and meaning. `docs/settings.md` is made of it. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { CONNECTION_RULES, connectionWarnings, KAFKA_SETTINGS } from '@poke-api-pipeline/kafka-common/connection-settings'
import {
  duration,
  integer,
  names,
  oneOf,
  optional,
  path,
  processSettings,
  readSecret,
  readSettings,
  type SettingRule,
  type SettingValues,
  secretFile,
  setting,
  size,
  text,
  textFile,
  url,
} from '@poke-api-pipeline/service-kit'
import { StoreError } from './errors.ts'
import { sqlitePath } from './infrastructure/storage/open-store.ts'
import { connectionWays, isCertain } from './infrastructure/storage/postgres-tls.ts'
import { parsePostgresUrl } from './infrastructure/storage/postgres-url.ts'

export const SETTINGS = {
  ...KAFKA_SETTINGS,
  KAFKA_GROUP_ID: setting(
    text(/^[\x21-\x7e]{1,249}$/, 'up to 249 printable ASCII characters without spaces'),
    'poke-api-consumer',
    'The consumer group: its members share the partitions and count together.',
  ),
  KAFKA_SESSION_TIMEOUT: setting(
    duration({ min: '6s', max: '5m' }),
    '10s',
    'If a member sends no heartbeat for this long, the group assigns its partitions to other members.',
  ),
  FETCH_MAX_BYTES: setting(size({ min: '64KiB', max: '64MiB' }), '8MiB', 'The most bytes of records to request in one response.'),
  BATCH_MAX_BYTES: setting(
    size({ min: '1MiB', max: '512MiB' }),
    '32MiB',
    'The largest record batch that is read, both compressed and decompressed. A larger one stops its partition (`ON_DATA_LOSS`). For each MiB that you add, give the process 4 MiB more memory.',
  ),
  FETCH_MAX_WAIT: setting(
    duration({ min: '10ms', max: '5s' }),
    '500ms',
    'How long a broker may wait for new records before it answers that there are none.',
  ),
  STORE_URL: setting(
    url(
      { file: ['sqlite'], server: ['postgres', 'postgresql'], passwordSetting: 'STORE_PASSWORD_FILE' },
      'sqlite:<file> or postgres://user@host:port/database',
    ),
    'sqlite:data/type-counts.db',
    'Where counts and positions are kept.',
  ),
  STORE_PASSWORD_FILE: setting(optional(secretFile()), '', 'A file that contains the password of PostgreSQL’s user.'),
  STORE_CA_FILE: setting(
    optional(textFile(/-----BEGIN CERTIFICATE-----/, 'the path of a readable file of certificates (PEM)')),
    '',
    'The certificates of the authority that signed PostgreSQL’s certificate, for `sslmode` in `STORE_URL`; the same as `sslrootcert` there.',
  ),
  STORE_CERT_FILE: setting(
    optional(textFile(/-----BEGIN CERTIFICATE-----/, 'the path of a readable file of certificates (PEM)')),
    '',
    'The certificate that this service shows to PostgreSQL; the same as `sslcert`.',
  ),
  STORE_KEY_FILE: setting(
    optional(secretFile()),
    '',
    'A file that contains the private key of `STORE_CERT_FILE` (PEM); the same as `sslkey`.',
  ),
  SOURCE_MAX_AGE: setting(
    duration({ min: '1m', max: '366d' }),
    '7d',
    'A producer’s last sequence is forgotten when a new producer appears and no event of the old one arrived for this long, without lag. Events that it sends again later are counted again.',
  ),
  SOURCE_MAX_COUNT: setting(
    integer({ min: 1, max: 1_000_000 }),
    '10000',
    'How many producers’ last sequences are remembered for each partition.',
  ),
  TYPE_MAX_COUNT: setting(
    integer({ min: 1, max: 10_000_000 }),
    '100000',
    'How many different type names are counted. A record that exceeds this stops its partition, whatever `ON_DATA_LOSS` says.',
  ),
  ON_DATA_LOSS: setting(
    oneOf('stop', 'continue'),
    'stop',
    'What to do if records are lost, or cannot be read, before they were counted: `stop` reading the partition, or record the gap and `continue` after it.',
  ),
  OUTPUT_FILE: setting(path('file'), 'type-counts.json', 'The file with the counts.'),
  ...processSettings(8080),
  HTTP_ALLOWED_HOSTS: setting(
    names(/^[a-z0-9](?:[a-z0-9.-]{0,252})$/i, 'names of hosts, separated by commas'),
    '',
    'Host names at which browsers may open the page, besides `localhost` and IP addresses.',
  ),
} as const

export type Config = SettingValues<typeof SETTINGS>

/** Password and certificates for the store. They are read each time that it is opened, so that they can be changed while the service runs. */
export function storeLogin({ STORE_PASSWORD_FILE, STORE_CA_FILE, STORE_CERT_FILE, STORE_KEY_FILE }: Config) {
  const secret = (file: string | null, name: string) => (file === null ? null : readSecret(file, name))
  return {
    password: secret(STORE_PASSWORD_FILE, 'STORE_PASSWORD_FILE'),
    certificates: { authority: STORE_CA_FILE, certificate: STORE_CERT_FILE, key: secret(STORE_KEY_FILE, 'STORE_KEY_FILE') },
  }
}

/** Settings that only a PostgreSQL store uses. */
const SERVER_SETTINGS = ['STORE_PASSWORD_FILE', 'STORE_CA_FILE', 'STORE_CERT_FILE', 'STORE_KEY_FILE'] as const

/** Checks the settings of the store before it is opened. @param environment the variables of PostgreSQL's own client are read, too */
function storeRule(environment: Readonly<Record<string, string | undefined>>): SettingRule<typeof SETTINGS> {
  return (values) => {
    if (sqlitePath(values.STORE_URL) !== null) {
      const unused = SERVER_SETTINGS.find((name) => values[name] !== null)
      if (unused === undefined) return null
      return `${unused} is set, but STORE_URL names an SQLite file, which needs no login. Remove ${unused}, or name a PostgreSQL server in STORE_URL`
    }
    try {
      const url = parsePostgresUrl(values.STORE_URL, environment)
      connectionWays(url, storeLogin(values).certificates)
      if (values.STORE_CA_FILE !== null && !isCertain(url.sslMode)) {
        return `STORE_CA_FILE is set, but sslmode=${url.sslMode} also connects without encryption. Add sslmode=verify-full to STORE_URL`
      }
      return null
    } catch (error) {
      if (error instanceof StoreError) return error.message
      throw error
    }
  }
}

/** OUTPUT_FILE must not be the store under any path, because each write replaces the file. */
const fileRule: SettingRule<typeof SETTINGS> = ({ STORE_URL, OUTPUT_FILE }) => {
  const store = sqlitePath(STORE_URL)
  if (store === null) return null
  const file = realPath(OUTPUT_FILE)
  const files = ['', '-wal', '-shm', '-journal'].map((suffix) => realPath(store) + suffix)
  return files.includes(file)
    ? 'OUTPUT_FILE and STORE_URL name the same file, so writing the counts would replace the store. Name another file in OUTPUT_FILE'
    : null
}

/** Resolves symbolic links, also of a path whose file or folders do not exist yet. */
function realPath(path: string): string {
  const absolute = resolve(path)
  try {
    return realpathSync(absolute)
  } catch {
    const folder = dirname(absolute)
    return folder === absolute ? absolute : join(realPath(folder), basename(absolute))
  }
}

/** @throws ServiceError (exit code 78) which names every wrong setting */
export function readConfig(env: Readonly<Record<string, string | undefined>>): {
  readonly config: Config
  readonly warnings: readonly string[]
} {
  const { values, warnings } = readSettings(SETTINGS, env, [...CONNECTION_RULES, storeRule(env), fileRule])
  return { config: values, warnings: [...warnings, ...connectionWarnings(values)] }
}
