/** Settings of the connection to Kafka, and that no setting shows a secret, however broken it is. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { processSettings, readSettings, type Setting, setting, url, webUrl } from '@poke-api-pipeline/service-kit'
import { failureOf, withFile } from '@poke-api-pipeline/service-kit/testing'
import fc from 'fast-check'
import { CONNECTION_RULES, connectionWarnings, KAFKA_SETTINGS, kafkaSecurity } from '../src/connection-settings.ts'

suite('secrets', () => {
  const STORE = url({ file: ['sqlite'], server: ['postgres'], passwordSetting: 'PASSWORD_FILE' }, 'sqlite:<file> or postgres://…')

  const password = fc
    .string({ minLength: 4, maxLength: 20, unit: fc.constantFrom(...'abcXYZ019/@#?%&=:;+!$,.~ "\'') })
    .map((text) => `Hunter2${text}`.trim())
  /** Invalid URLs with a password in them: those that users have written, and some more. */
  const broken = fc
    .tuple(password, fc.constantFrom('postgres', 'postgresql', 'sqlite', 'mysql', 'http', 'https', 'kafka', 'SASL_SSL', ''))
    .chain(([secret, scheme]) =>
      fc.tuple(
        fc.constant(secret),
        fc.constantFrom(
          `${scheme}://poke:${secret}@host/db`,
          `${scheme}://poke:${secret}@host:5432/db?sslmode=require`,
          `${scheme}://:${secret}@host/db`,
          `${scheme}//poke:${secret}@host/db`,
          `${scheme}:/poke:${secret}@host/db`,
          `${scheme}:poke:${secret}@host`,
          `${scheme}poke:${secret}@host`,
          `jdbc:${scheme}://poke:${secret}@host/db`,
          `jdbc:${scheme}://host/db?user=poke&password=${secret}`,
          `${scheme}://host/db?password=${secret}`,
          `${scheme}://host/db?sslpassword=${secret}`,
          `host=db user=poke password=${secret}`,
          `"${scheme}://poke:${secret}@host/db"`,
          `'${scheme}://poke:${secret}@host/db`,
          `${scheme}://poke:${secret}@host:9092,other:9092`,
        ),
      ),
    )

  test('are never in the error message about a setting, however invalid it is', () => {
    const settings = {
      ...KAFKA_SETTINGS,
      ...processSettings(8080),
      STORE_URL: setting(STORE, 'sqlite:a', ''),
      POKE_API_URL: setting(webUrl(), 'http://a', ''),
    }
    fc.assert(
      fc.property(broken, fc.constantFrom(...Object.keys(settings)), ([secret, given], name) => {
        // These accept nearly any text, and an accepted value has no message.
        let said: string
        try {
          const { values } = readSettings(settings, { [name]: given })
          const { kind } = settings[name as keyof typeof settings] as Setting<unknown>
          said = name === 'STORE_URL' ? (kind.show?.(given) ?? String(values.STORE_URL)) : ''
          if (name === 'POKE_API_URL') said = values.POKE_API_URL
        } catch (error) {
          said = (error as Error).message
        }
        // The beginning of a password must not be shown either.
        assert.ok(!said.includes(secret) && !said.includes('Hunter2'), said)
      }),
      { numRuns: 5000 },
    )
  })

  test('are read at each login, so that they can be changed while the service runs', () => {
    withFile('hunter2\n', (file) => {
      const env = { KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512', KAFKA_USERNAME: 'ash', KAFKA_PASSWORD_FILE: file }
      const { values } = readSettings(KAFKA_SETTINGS, env, CONNECTION_RULES)
      assert.doesNotMatch(JSON.stringify(values), /hunter2/)
      const { sasl } = kafkaSecurity(values)
      const password = sasl?.password as () => string
      assert.deepEqual([sasl?.mechanism, sasl?.username, password()], ['SCRAM-SHA-512', 'ash', 'hunter2'])
      writeFileSync(file, 'hunter3\r\n')
      assert.equal(password(), 'hunter3')
    })
  })
})

suite('settings of the connection to Kafka', () => {
  const read = (env: Record<string, string>) => readSettings(KAFKA_SETTINGS, env, CONNECTION_RULES).values

  test('have plain connections by default', () => {
    assert.deepEqual(kafkaSecurity(read({})), {})
  })

  test('let TLS send the name of each broker, if every broker has a name', () => {
    assert.deepEqual(kafkaSecurity(read({ KAFKA_SECURITY: 'tls', KAFKA_BROKERS: 'kafka.example.com:9093' })), {
      tls: {},
      tlsServerName: true,
    })
    assert.deepEqual(kafkaSecurity(read({ KAFKA_SECURITY: 'tls', KAFKA_BROKERS: '10.0.0.1:9093' })), { tls: {}, tlsServerName: false })
    assert.deepEqual(kafkaSecurity(read({ KAFKA_SECURITY: 'tls', KAFKA_BROKERS: '[::1]:9093' })), { tls: {}, tlsServerName: false })
  })

  test('with half a login are refused', () => {
    assert.match(failureOf(() => read({ KAFKA_USERNAME: 'ash' })).message, /KAFKA_SASL_MECHANISM is "none": set it to PLAIN/)
    assert.match(
      failureOf(() => read({ KAFKA_SASL_MECHANISM: 'PLAIN' })).message,
      /KAFKA_SASL_MECHANISM is PLAIN: set KAFKA_USERNAME and KAFKA_PASSWORD_FILE as well/,
    )
  })

  test('with PLAIN and without TLS are refused, unless that is allowed', () => {
    withFile('hunter2', (KAFKA_PASSWORD_FILE) => {
      const login = { KAFKA_USERNAME: 'ash', KAFKA_PASSWORD_FILE }
      const { message } = failureOf(() => read({ ...login, KAFKA_SASL_MECHANISM: 'PLAIN' }))
      assert.match(message, /password would cross the network .*KAFKA_SECURITY to tls, .*KAFKA_PLAIN_WITHOUT_TLS to allowed/)
      read({ ...login, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_PLAIN_WITHOUT_TLS: 'allowed' })
      read({ ...login, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SECURITY: 'tls' })
      read({ ...login, KAFKA_SASL_MECHANISM: 'SCRAM-SHA-256' })
    })
  })

  test('with a login and without TLS cause a warning', () => {
    withFile('hunter2', (KAFKA_PASSWORD_FILE) => {
      const warnings = (env: Record<string, string>) =>
        connectionWarnings(read({ KAFKA_USERNAME: 'ash', KAFKA_PASSWORD_FILE, KAFKA_PLAIN_WITHOUT_TLS: 'allowed', ...env })).join()
      assert.match(warnings({ KAFKA_SASL_MECHANISM: 'PLAIN' }), /login to Kafka \(PLAIN\) is not encrypted: .*read the password/)
      assert.match(warnings({ KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512' }), /SCRAM-SHA-512.*KAFKA_SECURITY to tls/)
      assert.equal(warnings({ KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512', KAFKA_SECURITY: 'tls' }), '')
      assert.deepEqual(connectionWarnings(read({})), [])
    })
  })

  test('with certificates and without TLS, or with a file that is no certificate, are refused', () => {
    assert.match(failureOf(() => read({ KAFKA_CA_FILE: '/nowhere/ca.pem', KAFKA_SECURITY: 'tls' })).message, /ENOENT/)
    withFile('no certificate', (KAFKA_CA_FILE) => {
      assert.match(failureOf(() => read({ KAFKA_CA_FILE, KAFKA_SECURITY: 'tls' })).message, /the file contains something else/)
    })
    withFile('-----BEGIN CERTIFICATE-----', (KAFKA_CA_FILE) => {
      assert.match(
        failureOf(() => read({ KAFKA_CA_FILE })).message,
        /KAFKA_CA_FILE is set, and KAFKA_SECURITY is "plaintext": set it to tls/,
      )
      assert.deepEqual(kafkaSecurity(read({ KAFKA_CA_FILE, KAFKA_SECURITY: 'tls' })).tls, { ca: '-----BEGIN CERTIFICATE-----' })
    })
  })

  test('accept the names of topics that Kafka allows', () => {
    for (const KAFKA_TOPIC of ['poke-topic', 'a.b_c-9', 'x'.repeat(249)]) assert.equal(read({ KAFKA_TOPIC }).KAFKA_TOPIC, KAFKA_TOPIC)
    for (const KAFKA_TOPIC of ['.', '..', 'a b', 'é', 'x'.repeat(250)]) failureOf(() => read({ KAFKA_TOPIC }))
  })

  test('refuse Kafka’s own topics', () => {
    for (const KAFKA_TOPIC of ['__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata'])
      failureOf(() => read({ KAFKA_TOPIC }))
    for (const KAFKA_TOPIC of ['__consumer_offsets_of_ours', '__pokemon']) assert.equal(read({ KAFKA_TOPIC }).KAFKA_TOPIC, KAFKA_TOPIC)
  })
})

test('every default is a valid value', () => {
  readSettings({ ...KAFKA_SETTINGS, ...processSettings(8080) }, {})
})
