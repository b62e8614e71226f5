/** The rights that a service needs in Kafka: which are missing, and the commands that grant them. */
import type { KafkaSecurity } from './kafka-security.ts'

/** Numbers of operations. They are also the bits of the authorized operations in an answer (KIP-430). */
const OPERATIONS = { Read: 3, Write: 4, Create: 5, Describe: 8, DescribeConfigs: 10 } as const
export type Operation = keyof typeof OPERATIONS

/** The operations on one topic or group that are not allowed. */
export interface MissingRights {
  readonly resource: 'topic' | 'group'
  readonly name: string
  readonly operations: readonly Operation[]
}

/** Stands for the answer of a broker that does not even allow Describe: no other operation is allowed. */
export const NOTHING_ALLOWED = 1 << OPERATIONS.Describe

/**
 * The operations that a broker does not allow.
 * @param allowed `authorized_operations` of an answer. A client that gets an answer may Describe: without that bit the broker does not tell what it
 * allows, and no operation is called missing
 */
export function missingOperations(allowed: number, wanted: readonly Operation[]): Operation[] {
  const isSaid = (allowed & (1 << OPERATIONS.Describe)) !== 0
  return isSaid ? wanted.filter((operation) => (allowed & (1 << OPERATIONS[operation])) === 0) : []
}

/** The principal of a client, unless the broker maps names to other principals. @param username of the login; undefined without a login */
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

/** Quotes a word for a shell, if it needs that. */
function quoted(word: string): string {
  return /^[\w.:@/-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
