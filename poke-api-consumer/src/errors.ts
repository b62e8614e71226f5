/** The closed list of the consumer's errors: each kind has a code, says whether the service retries, and has the exit code if it ends the service. */
import { type ErrorKind, EXIT, errorsOf, final, retried } from '@poke-api-pipeline/service-kit'

/** The store failed to write or read counts and positions. Nothing is half done: records that were not committed are counted again. */
export const STORE_ERRORS = {
  unreachable: retried('The database cannot be reached.', 'Start the database, or correct `STORE_URL`. Counting resumes by itself.'),
  busy: retried(
    'Another process has the store’s lock.',
    'The service retries. If a process that uses the store is frozen, resume or kill it.',
  ),
  full: retried('The disk of the store is full.', 'Free some space. Counting resumes by itself.'),
  io: retried('The store failed.', 'The message has the details; the service retries.'),
  missing: final(EXIT.data, 'A command found no store.', 'Run the service first, or correct `STORE_URL`.'),
  unusable: final(
    EXIT.cannotCreate,
    'The store cannot be created or opened.',
    'Make its folder writable, on a local disk, or correct `STORE_URL`.',
  ),
  damaged: final(EXIT.data, 'The store is damaged.', 'Restore a backup, or move the store away to count from the beginning.'),
  replaced: final(
    EXIT.data,
    'The SQLite file, or the log beside it, was removed or replaced while the service had it open.',
    'Start the service again: records that the store lacks are counted again from the topic. Stop every instance before you move a store.',
  ),
  'newer-schema': final(
    EXIT.config,
    'A newer version of this service wrote the store.',
    'Run that version, or give this one another `STORE_URL`.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'The database rejected the login, or does not allow this user to use its tables.',
    'Check `STORE_URL` and the password, and grant the rights that the message names.',
  ),
  tls: retried(
    'TLS with the database failed, for the reason in the message.',
    'Do what the message says. A certificate that the server renews is picked up by itself; changed settings of this service need a restart.',
  ),
  unsupported: final(
    EXIT.config,
    'The database is too old, or its settings could lose counts.',
    'Change the setting that the message names, or update the database.',
  ),
} as const satisfies Record<string, ErrorKind>
export type StoreErrorKind = keyof typeof STORE_ERRORS

export class StoreError extends errorsOf('store', STORE_ERRORS) {
  override readonly name = 'StoreError'
}

/** The file of counts could not be replaced. The counts themselves are safe in the store. */
export const OUTPUT_FILE_ERRORS = {
  'not-writable': retried(
    'The file or its folder cannot be written.',
    'Make the folder of `OUTPUT_FILE` writable. Then the service writes the file.',
  ),
  'not-a-file': final(
    EXIT.config,
    '`OUTPUT_FILE` is a folder, a pipe, a socket, a device or a database, which the service does not replace.',
    'Name a file; it does not have to exist. A running service retries: remove the object that has taken the file’s place.',
  ),
  full: retried('The disk of the file is full.', 'Free some space. Then the service writes the file.'),
  hangs: retried('The disk of the file does not answer.', 'Restore the disk or the network share. Then the service writes the file.'),
  io: retried('Writing the file failed.', 'The message quotes the system; the service retries.'),
} as const satisfies Record<string, ErrorKind>
export type OutputFileErrorKind = keyof typeof OUTPUT_FILE_ERRORS

export class OutputFileError extends errorsOf('output-file', OUTPUT_FILE_ERRORS) {
  override readonly name = 'OutputFileError'
}

/** Failures of Kafka that the reader does not know: they are of this service's commands, and of its dead-letter topic. */
export const OWN_KAFKA_ERRORS = {
  'group-in-use': final(
    EXIT.temporary,
    'The command needs a group without members, but the group has members.',
    'Stop all instances of the group, and run the command again.',
  ),
  'dead-letters-not-authorised': retried(
    'Kafka does not allow this user to use the dead-letter topic.',
    'Grant the rights that the message names. Dead letters stay in the store until they can be published.',
  ),
} as const satisfies Record<string, ErrorKind>

export class OwnKafkaError extends errorsOf('kafka', OWN_KAFKA_ERRORS) {
  override readonly name = 'OwnKafkaError'
}
