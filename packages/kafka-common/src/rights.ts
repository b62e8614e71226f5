/** What Kafka must allow to a service: which rights are missing, and the commands that grant them. */
import type { KafkaSecurity } from './kafka-security.ts'

/** Numbers of operations, which are also their bits in what brokers say that a client may do (KIP-430). */
const OPERATIONS = { Read: 3, Write: 4, Create: 5, Describe: 8, DescribeConfigs: 10 } as const
export type Operation = keyof typeof OPERATIONS

/** What of one topic or group is not allowed. */
export interface MissingRights {
  readonly resource: 'topic' | 'group'
  readonly name: string
  readonly operations: readonly Operation[]
}

/** What a broker allows that does not even let a client see what it asks for. */
export const NOTHING_ALLOWED = 1 << OPERATIONS.Describe

/**
 * Which of some operations a broker does not allow.
 * @param allowed `authorized_operations` of an answer. Whoever is answered may describe what was asked for: without that bit the broker does
 * not say what it allows, and nothing is taken for missing
 */
export function missingOperations(allowed: number, wanted: readonly Operation[]): Operation[] {
  const isSaid = (allowed & (1 << OPERATIONS.Describe)) !== 0
  return isSaid ? wanted.filter((operation) => (allowed & (1 << OPERATIONS[operation])) === 0) : []
}

/** Whom a broker takes a client for, unless its operator maps names to others. @param username of the login; undefined where there is none */
export function principalOf(username: unknown): string {
  return typeof username === 'string' ? `User:${username}` : 'User:ANONYMOUS'
}

/**
 * Names what is missing, and the commands that grant it.
 * @returns a sentence without its end: "User:ash may not Read topic poke-topic: grant it with kafka-acls.sh …"
 */
export function missingRightsText(missing: readonly MissingRights[], principal: string, brokers: readonly string[]): string {
  const what = missing.map(({ resource, name, operations }) => `${operations.join(' and ')} on ${resource} ${name}`)
  const commands = missing.map(({ resource, name, operations }) =>
    [
      ...['kafka-acls.sh', '--bootstrap-server', brokers.join(','), '--add', '--allow-principal', quoted(principal)],
      ...operations.flatMap((operation) => ['--operation', operation]),
      ...[`--${resource}`, quoted(name)],
    ].join(' '),
  )
  return `${principal} lacks ${what.join(', ')}: grant it with ${commands.join(' && ')}`
}

/** The same as a sentence about the brokers, for the user that the client logs in as. */
export function missingRightsMessage(missing: readonly MissingRights[], brokers: readonly string[], security: KafkaSecurity = {}): string {
  const text = missingRightsText(missing, principalOf(security.sasl?.username), brokers)
  return `Kafka at ${brokers.join(', ')} allows too little: ${text}`
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w.:@/-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
