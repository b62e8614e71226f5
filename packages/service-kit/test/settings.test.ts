/** Reading settings, and one message about all wrong ones, without secrets. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ServiceError } from '../src/service-error.ts'
import {
  duration,
  integer,
  names,
  number,
  oneOf,
  optional,
  path,
  readSecret,
  type SettingKind,
  secretFile,
  servers,
  size,
  text,
  url,
  webUrl,
} from '../src/setting-kinds.ts'
import { readSettings, setting } from '../src/settings.ts'
import { shownRefused } from '../src/shown-setting.ts'
import { failureOf, withFile } from '../testing/index.ts'

const SETTINGS = {
  PORT: setting(integer({ min: 0, max: 65_535 }), '8080', 'The port.'),
  INTERVAL: setting(duration({ min: '1ms', max: '7d' }), '60s', 'The interval.'),
  BROKERS: setting(servers(), 'localhost:9092', 'The brokers.'),
}

suite('reading settings', () => {
  test('uses the default of a setting that is not set', () => {
    const { values, warnings } = readSettings(SETTINGS, {})
    assert.deepEqual(values, { PORT: 8080, INTERVAL: 60_000, BROKERS: ['localhost:9092'] })
    assert.deepEqual(warnings, [])
  })

  test('uses the value of the environment without surrounding spaces', () => {
    const { values } = readSettings(SETTINGS, { PORT: ' 0 ', INTERVAL: '500ms', BROKERS: 'a:1, b:2' })
    assert.deepEqual(values, { PORT: 0, INTERVAL: 500, BROKERS: ['a:1', 'b:2'] })
  })

  test('treats an empty variable as not set', () => {
    assert.equal(readSettings(SETTINGS, { PORT: '' }).values.PORT, 8080)
  })

  test('reports all wrong settings in one message: name, given value and accepted values', () => {
    const error = failureOf(() => readSettings(SETTINGS, { PORT: '65536', INTERVAL: '60', BROKERS: 'localhost' }))
    assert.equal(error.exitCode, 78)
    assert.equal(error.code, 'config/wrong')
    assert.equal(error.retriable, false)
    assert.equal(
      error.message,
      [
        '3 settings are wrong:',
        '  PORT is "65536"; accepted: a whole number from 0 to 65535',
        '  INTERVAL is "60"; accepted: a duration with its unit (ms, s, m, h, d), from 1ms to 7d',
        '  BROKERS is "localhost"; accepted: host:port, several separated by commas',
      ].join('\n'),
    )
  })

  test('reports misspelt settings together with the wrong ones', () => {
    assert.equal(
      failureOf(() => readSettings(SETTINGS, { PORT: '-1', BROKER: 'a:1' }))
        .message.split('\n')
        .at(-1),
      '  the environment variable BROKER is not a setting of this service: was BROKERS meant?',
    )
  })

  test('reports a single wrong setting in the singular', () => {
    assert.match(failureOf(() => readSettings(SETTINGS, { PORT: '-1' })).message, /^a setting is wrong:\n {2}PORT is "-1"/)
  })

  test('checks the rules once each setting is valid by itself, and reports all that are broken', () => {
    const rules = [() => 'PORT and INTERVAL do not go together', () => null, () => 'nor does BROKERS']
    assert.equal(
      failureOf(() => readSettings(SETTINGS, {}, rules)).message,
      '2 settings are wrong:\n  PORT and INTERVAL do not go together\n  nor does BROKERS',
    )
    assert.doesNotMatch(failureOf(() => readSettings(SETTINGS, { PORT: 'x' }, rules)).message, /go together/)
  })

  test('warns of a variable that is probably a misspelt setting', () => {
    const { warnings } = readSettings(SETTINGS, { INTERVALL: '1s', HOME: '/root', PATH: '/bin' })
    assert.deepEqual(warnings, ['the environment variable INTERVALL is not a setting of this service: was INTERVAL meant?'])
  })
})

suite('kinds of settings', () => {
  const accepts = <T>(kind: SettingKind<T>, given: string, value: T) => {
    const parsed = kind.parse(given)
    assert.deepEqual(parsed, { ok: true, value }, `${JSON.stringify(given)} should be accepted`)
  }
  const refuses = (kind: SettingKind<unknown>, ...texts: string[]) => {
    for (const given of texts) assert.equal(kind.parse(given).ok, false, `${JSON.stringify(given)} should be refused (${kind.accepts})`)
  }

  const whyNot = (kind: SettingKind<unknown>, given: string): string => {
    const parsed = kind.parse(given)
    assert.ok(!parsed.ok, `${JSON.stringify(given)} should be refused (${kind.accepts})`)
    return parsed.why ?? ''
  }

  test('whole numbers', () => {
    const kind = integer({ min: 1, max: 100 })
    accepts(kind, '1', 1)
    accepts(kind, '100', 100)
    refuses(kind, '0', '101', '1.5', '1e1', '0x10', 'one', '', ' ', '1 ', '９')
  })

  test('numbers', () => {
    const kind = number({ min: 0, max: 10 })
    accepts(kind, '0', 0)
    accepts(kind, '0.5', 0.5)
    refuses(kind, '-1', '10.1', '.5', '1e1', 'Infinity', 'NaN', '')
  })

  test('durations, in ms', () => {
    const kind = duration({ min: '1ms', max: '7d' })
    for (const [given, ms] of [
      ['1ms', 1],
      ['500ms', 500],
      ['60s', 60_000],
      ['1.5s', 1500],
      ['2m', 120_000],
      ['1h', 3_600_000],
      ['7d', 604_800_000],
      ['60 s', 60_000],
    ] as const)
      accepts(kind, given, ms)
    refuses(kind, '0ms', '8d', '60', '60sec', '1m30s', '-1s', 's', '')
  })

  test('sizes, in bytes', () => {
    const kind = size({ min: '1KiB', max: '1GiB' })
    accepts(kind, '1024B', 1024)
    accepts(kind, '4MiB', 4_194_304)
    accepts(kind, '0.5GiB', 536_870_912)
    refuses(kind, '1B', '2GiB', '4MB', '4M', '4', '')
  })

  test('one of the given words', () => {
    const kind = oneOf('random', 'sweep')
    assert.equal(kind.accepts, 'random or sweep')
    accepts(kind, 'sweep', 'sweep')
    refuses(kind, 'Sweep', 'both', '')
  })

  test('servers', () => {
    const kind = servers()
    accepts(kind, 'localhost:9092', ['localhost:9092'])
    accepts(kind, 'broker-1.example.com:9092,10.0.0.1:9093 , [::1]:9094', ['broker-1.example.com:9092', '10.0.0.1:9093', '[::1]:9094'])
    refuses(kind, '', ',', 'localhost', 'localhost:', 'localhost:0', 'localhost:65536', 'kafka://localhost:9092', '::1:9092', 'a b:1')
  })

  test('HTTP URLs, without the slash at their end', () => {
    const kind = webUrl()
    accepts(kind, 'https://pokeapi.co/api/v2/', 'https://pokeapi.co/api/v2')
    accepts(kind, 'http://127.0.0.1:8000', 'http://127.0.0.1:8000')
    refuses(
      kind,
      'pokeapi.co',
      'ftp://pokeapi.co',
      'https://user:secret@pokeapi.co',
      'https://pokeapi.co/?a=b',
      'https://pokeapi.co/#a',
      '',
    )
  })

  test('URLs of some schemes', () => {
    const kind = url({ file: ['sqlite'], server: ['postgres'], passwordSetting: 'PASSWORD_FILE' }, 'sqlite:<file> or postgres://…')
    for (const given of [
      'sqlite:data/counts.db',
      'sqlite:/home/ash@kanto/counts.db',
      'postgres://ash@db/poke',
      'postgres://ash:pika%40chu@db:5432/poke?sslmode=require',
      'postgres://ash:a:b@[::1]:5432/poke',
      'postgres://ash@a:5432,b:5432/poke?target_session_attrs=read-write',
      'postgres:///poke?host=/var/run/postgresql',
    ])
      accepts(kind, given, given)
    for (const path of ['/home/ash ketchum/counts.db', 'data/ü %20#1.db', './:memory:']) accepts(kind, `sqlite:${path}`, `sqlite:${path}`)
    for (const [path, why] of [
      ['~/counts.db', /only shells replace ~/],
      ['data/', /add the name of a file/],
      ['"a b.db"', /quotation marks/],
      ['a\nb.db', /unprintable/],
      [':memory:', /the path of a file, and nothing else/],
      ['file:counts.db', /the path of a file, and nothing else/],
    ] as const)
      assert.match(whyNot(kind, `sqlite:${path}`), why)
    refuses(kind, 'mysql://localhost', 'sqlite:', '/data/counts.db', '', 'postgres:ash@db', 'postgres://a b/c', 'sqlite://ash@db/poke')
  })

  test('text, names and paths', () => {
    accepts(text(/^[a-z]+$/, 'small letters'), 'abc', 'abc')
    refuses(text(/^[a-z]+$/, 'small letters'), 'Abc', '')
    accepts(names(/^[a-z.]+$/, 'names'), 'a.b, c', ['a.b', 'c'])
    accepts(names(/^[a-z.]+$/, 'names'), '', [])
    refuses(names(/^[a-z.]+$/, 'names'), 'a,B')
  })

  test('paths', () => {
    for (const good of ['data/producer', '/a b/#c/ü%20', './~', 'a~b', '..', 'data/', '"a"b', '$HOME/a'])
      accepts(path('folder'), good, good)
    for (const good of ['counts.json', '/a b/#c', 'a.', '.counts', './~/counts', '...']) accepts(path('file'), good, good)
    for (const [bad, why] of [
      ['a\0b', /zero byte/],
      ['~', /only shells replace ~ .*write the whole path/],
      ['~/a', /only shells replace ~/],
      ['~ash/a', /only shells replace ~/],
      ['"a b"', /quotation marks/],
      ["'a'", /quotation marks/],
    ] as const)
      for (const what of ['file', 'folder'] as const) assert.match(whyNot(path(what), bad), why)
    for (const bad of ['data/', '.', '..', 'a/.', 'a/..', '/'])
      assert.match(whyNot(path('file'), bad), /path of a folder: add the name of a file/)
  })

  test('optional settings are null if they are empty', () => {
    accepts(optional(integer({ min: 0, max: 1 })), '', null)
    accepts(optional(integer({ min: 0, max: 1 })), '1', 1)
    refuses(optional(integer({ min: 0, max: 1 })), '2')
  })
})

suite('secrets', () => {
  const SECRET = { PASSWORD_FILE: setting(optional(secretFile()), '', 'A password.') }

  test('are never shown, not even the path, because it can be the password by mistake', () => {
    const { message } = failureOf(() => readSettings(SECRET, { PASSWORD_FILE: 'hunter2' }))
    assert.equal(
      message,
      'a setting is wrong:\n  PASSWORD_FILE is "***" (the file cannot be read (ENOENT)); accepted: the path of a readable file that contains the secret',
    )
    const home = failureOf(() => readSettings(SECRET, { PASSWORD_FILE: '~/my-secret' })).message
    assert.match(home, /PASSWORD_FILE is "\*\*\*" \(the file cannot be read \(ENOENT\); only shells replace ~/)
    assert.doesNotMatch(home, /my-secret/)
  })

  test('must not be empty', () => {
    withFile('\n', (file) => assert.match(failureOf(() => readSettings(SECRET, { PASSWORD_FILE: file })).message, /the file is empty/))
  })

  const STORE = url({ file: ['sqlite'], server: ['postgres'], passwordSetting: 'PASSWORD_FILE' }, 'sqlite:<file> or postgres://…')

  test('in URLs are hidden', () => {
    const settings = { STORE_URL: setting(STORE, 'sqlite:a', 'The store.'), API: setting(webUrl(), 'http://a', 'The API.') }
    const { message } = failureOf(() =>
      readSettings(settings, { STORE_URL: 'mysql://user:hunt@er2@host/db?password=hunter3&x=1', API: 'https://user:hunter4@host/' }),
    )
    assert.doesNotMatch(message, /hunt/)
    assert.match(message, /STORE_URL is "\*\*\*" \(it does not begin with sqlite: or postgres:\)/)
    assert.match(message, /API is "\*\*\*" \(it contains an @/)
  })

  test('a character of a password that needs percent-encoding is reported', () => {
    for (const password of ['2026/Spring', '20#26', '20?26', 'a@b', '5%x'])
      assert.match(
        failureOf(() => readSettings({ STORE_URL: setting(STORE, 'sqlite:a', '') }, { STORE_URL: `postgres://poke:${password}@host/db` }))
          .message,
        /STORE_URL is "\*\*\*" \(.* need percent-encoding .*PASSWORD_FILE\)/,
      )
  })

  test('an accepted URL is shown with its user, hosts and database only', () => {
    assert.equal(STORE.show?.('postgres://ash:hunter2@a:1,b:2/poke?sslpassword=hunter3'), 'postgres://ash@a:1,b:2/poke')
    assert.equal(STORE.show?.('sqlite:data/counts.db'), 'sqlite:data/counts.db')
  })

  test('a refused text that cannot contain a secret is shown, so that the mistake is found', () => {
    for (const given of ['65536', 'localhost', 'pokeapi.co/api/v2', 'ftp://pokeapi.co', '"localhost:9092"', 'a:1,b'])
      assert.equal(shownRefused(given), given)
    assert.equal(shownRefused('a\u001b[2J'), String.raw`a\u001b[2J`)
  })

  test('a secret’s file that disappears is reported by its setting, not by its path', () => {
    assert.throws(
      () => readSecret('/run/secrets/kafka-password', 'KAFKA_PASSWORD_FILE'),
      (error: ServiceError) => {
        assert.deepEqual([error.code, error.retriable], ['config/secret-unreadable', true])
        assert.match(error.message, /the file that KAFKA_PASSWORD_FILE names cannot be read any more \(ENOENT\)/)
        assert.doesNotMatch(String(error.cause) + error.stack, /run\/secrets/)
        return true
      },
    )
  })
})
