/** Settings of every service that uses Kafka: how to reach the brokers and log in to them. */
import { isIP } from 'node:net'
import {
  oneOf,
  optional,
  readSecret,
  type SettingRule,
  type SettingValues,
  secretFile,
  servers,
  setting,
  text,
  textFile,
} from '@poke-api-pipeline/service-kit'
import type { KafkaSecurity } from './kafka-security.ts'

/**
 * Names of topics (https://kafka.apache.org/43/configuration/topic-configs/) except Kafka's own. Those are compacted, and following the
 * service's advice about a compacted topic for one of them would harm the whole cluster.
 */
const TOPIC_NAME = /^(?!\.{1,2}$|__(?:consumer_offsets|transaction_state|share_group_state|cluster_metadata)$)[A-Za-z0-9._-]{1,249}$/

export const KAFKA_SETTINGS = {
  KAFKA_BROKERS: setting(servers(), 'localhost:9092', 'Brokers to connect to first; they name the other brokers of the cluster.'),
  KAFKA_TOPIC: setting(
    text(TOPIC_NAME, 'up to 249 letters, digits, dots, underscores and hyphens, and none of Kafka’s own topics'),
    'poke-topic',
    'The topic of captured Pokémon.',
  ),
  KAFKA_SECURITY: setting(oneOf('plaintext', 'tls'), 'plaintext', 'Whether connections to Kafka are encrypted.'),
  KAFKA_CA_FILE: setting(
    optional(textFile(/-----BEGIN CERTIFICATE-----/, 'the path of a readable file of certificates (PEM)')),
    '',
    'The certificates of the authority that signed the brokers’ certificates, if Node does not know that authority.',
  ),
  KAFKA_SASL_MECHANISM: setting(oneOf('none', 'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'), 'none', 'How to log in to Kafka.'),
  KAFKA_PLAIN_WITHOUT_TLS: setting(
    oneOf('refused', 'allowed'),
    'refused',
    'Whether PLAIN, which sends the password in clear text, is allowed over connections that are not encrypted.',
  ),
  KAFKA_USERNAME: setting(optional(text(/./, 'a name')), '', 'The user to log in to Kafka as.'),
  KAFKA_PASSWORD_FILE: setting(optional(secretFile()), '', 'A file that contains the password of `KAFKA_USERNAME`.'),
}

/** Mechanism, user and password are set together or not at all. */
export const loginRule: SettingRule<typeof KAFKA_SETTINGS> = ({ KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD_FILE }) => {
  const login = KAFKA_USERNAME !== null && KAFKA_PASSWORD_FILE !== null
  if (KAFKA_SASL_MECHANISM !== 'none')
    return login ? null : `KAFKA_SASL_MECHANISM is ${KAFKA_SASL_MECHANISM}: set KAFKA_USERNAME and KAFKA_PASSWORD_FILE as well`
  return KAFKA_USERNAME === null && KAFKA_PASSWORD_FILE === null
    ? null
    : 'KAFKA_USERNAME or KAFKA_PASSWORD_FILE is set, and KAFKA_SASL_MECHANISM is "none": set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512'
}

/** Certificates are refused without TLS, because they would have no effect. */
export const certificateRule: SettingRule<typeof KAFKA_SETTINGS> = ({ KAFKA_SECURITY, KAFKA_CA_FILE }) =>
  KAFKA_CA_FILE !== null && KAFKA_SECURITY === 'plaintext' ? 'KAFKA_CA_FILE is set, and KAFKA_SECURITY is "plaintext": set it to tls' : null

/** PLAIN sends the password in clear text, so it is refused without TLS unless that is allowed. */
export const plainPasswordRule: SettingRule<typeof KAFKA_SETTINGS> = ({ KAFKA_SECURITY, KAFKA_SASL_MECHANISM, KAFKA_PLAIN_WITHOUT_TLS }) =>
  KAFKA_SASL_MECHANISM === 'PLAIN' && KAFKA_SECURITY === 'plaintext' && KAFKA_PLAIN_WITHOUT_TLS === 'refused'
    ? 'KAFKA_SASL_MECHANISM is PLAIN, and KAFKA_SECURITY is "plaintext": the password would cross the network in clear text; set KAFKA_SECURITY to tls, KAFKA_SASL_MECHANISM to a SCRAM one, or KAFKA_PLAIN_WITHOUT_TLS to allowed'
    : null

/** The rules that connect these settings; every service that uses Kafka checks them. */
export const CONNECTION_RULES = [loginRule, certificateRule, plainPasswordRule] as const

/** Warnings about settings that are allowed but insecure. @returns a sentence for the log for each */
export function connectionWarnings({ KAFKA_SECURITY, KAFKA_SASL_MECHANISM }: SettingValues<typeof KAFKA_SETTINGS>): string[] {
  if (KAFKA_SASL_MECHANISM === 'none' || KAFKA_SECURITY === 'tls') return []
  const risk =
    KAFKA_SASL_MECHANISM === 'PLAIN'
      ? 'anybody who can listen in the network can read the password'
      : 'anybody who can listen in the network can read and change the records, and can try to guess the password'
  return [`the login to Kafka (${KAFKA_SASL_MECHANISM}) is not encrypted: ${risk}; set KAFKA_SECURITY to tls`]
}

/** How to connect and log in by these settings. The password's file is read at each login, so the password can be changed while the service runs. */
export function kafkaSecurity(values: SettingValues<typeof KAFKA_SETTINGS>): KafkaSecurity {
  const { KAFKA_BROKERS, KAFKA_SECURITY, KAFKA_CA_FILE, KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD_FILE } = values
  const security: { -readonly [K in keyof KafkaSecurity]: KafkaSecurity[K] } = {}
  if (KAFKA_SECURITY === 'tls') {
    security.tls = KAFKA_CA_FILE === null ? {} : { ca: KAFKA_CA_FILE }
    // TLS does not allow an IP address as a server name (RFC 6066, section 3), and Node throws for one.
    security.tlsServerName = KAFKA_BROKERS.every((server) => isIP(hostOf(server)) === 0)
  }
  if (KAFKA_SASL_MECHANISM !== 'none' && KAFKA_USERNAME !== null && KAFKA_PASSWORD_FILE !== null) {
    security.sasl = {
      mechanism: KAFKA_SASL_MECHANISM,
      username: KAFKA_USERNAME,
      password: () => readSecret(KAFKA_PASSWORD_FILE, 'KAFKA_PASSWORD_FILE'),
    }
  }
  return security
}

function hostOf(server: string): string {
  return server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}
