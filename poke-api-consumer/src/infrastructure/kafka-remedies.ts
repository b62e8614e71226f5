/**
 * Names the settings and commands of this service in failures of Kafka. The reader is for any service, so its messages say in general words what has
 * to be corrected.
 */
import { GroupReader, type GroupReaderOptions, KafkaError, type ReaderObserver, type RecordReader } from '@poke-api-pipeline/kafka-reader'

/** The settings to correct, by the kind of the failure, or by the code with which a broker refused. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  unreachable: ['KAFKA_BROKERS'],
  'no-password': ['KAFKA_PASSWORD_FILE'],
  'no-topic': ['KAFKA_TOPIC'],
  'group-protocol': ['KAFKA_GROUP_ID'],
  'two-stores': ['STORE_URL', 'KAFKA_GROUP_ID'],
  tls: ['KAFKA_SECURITY', 'KAFKA_CA_FILE'],
  INVALID_SESSION_TIMEOUT: ['KAFKA_SESSION_TIMEOUT'],
  INVALID_GROUP_ID: ['KAFKA_GROUP_ID'],
}
const COMMANDS: Readonly<Record<string, string>> = { 'two-stores': 'poke-api-consumer take-group' }
/** Follows the reasons why partitions are not read, if one of them is that members use another store. */
const OTHER_STORE = 'STORE_URL sets the store of an instance, and KAFKA_GROUP_ID its group'

/**
 * Sentences that name the settings to correct and the command to run after a failure.
 * @param failure the kind of a `KafkaError`, or the code of a broker
 * @param isNamed whether a setting or command need not be named again
 * @returns '' if there are none
 */
export function remediesOf(failure: string, isNamed: (name: string) => boolean = () => false): string {
  const settings = (SETTINGS[failure] ?? []).filter((name) => !isNamed(name))
  const command = COMMANDS[failure]
  const sentences: string[] = []
  if (settings.length > 0) sentences.push(`Setting${settings.length === 1 ? '' : 's'}: ${settings.join(', ')}`)
  if (command !== undefined && !isNamed(command)) sentences.push(`Command: ${command}`)
  return sentences.join('. ')
}

/** @returns a failure of Kafka with the settings and the command at the end of its message, unless it names them already; any other error as it is */
export function withRemedies<T>(error: T): T | KafkaError {
  if (!(error instanceof KafkaError)) return error
  const { kind, message, brokerCode, cause } = error
  const isNamed = (name: string) => message.includes(name)
  const remedies = remediesOf(kind, isNamed) || remediesOf(brokerCode ?? '', isNamed)
  return remedies === '' ? error : new KafkaError(kind, `${message}. ${remedies}`, { brokerCode, cause })
}

/** A member of the group. What it reports to the observer, and what it throws, names the settings of this service. */
export function groupReader(options: GroupReaderOptions & { readonly observer: ReaderObserver }): RecordReader {
  const { observer } = options
  const named: Partial<ReaderObserver> = {
    brokerAway: (error) => observer.brokerAway(withRemedies(error)),
    membershipLost: (error) => observer.membershipLost(withRemedies(error)),
    groupSeen: (view) => observer.groupSeen(view.otherStore ? { ...view, reasons: [...view.reasons, OTHER_STORE] } : view),
  }
  // Every other report reaches the observer unchanged.
  const reader = new GroupReader({ ...options, observer: Object.assign(Object.create(observer), named) })
  return {
    async run(handler, signal) {
      try {
        await reader.run(handler, signal)
      } catch (error) {
        throw withRemedies(error)
      }
    },
  }
}
