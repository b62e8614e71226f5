/** The closed list of the consumer's errors: each kind with a code, whether waiting helps, and the exit code where it ends the service. */
import { type ErrorKind, EXIT, final, retried, ServiceError } from '@poke-api-pipeline/service-kit'

/** The store failed to write or read counts and positions. Nothing is half done: records that were not committed are counted again. */
export const STORE_ERRORS = {
  unreachable: retried('The database cannot be reached.', 'Start it, or correct `STORE_URL`; counting resumes by itself.'),
  busy: retried('Another process has the store’s lock.', 'The service retries. If a process with the store is frozen, resume or kill it.'),
  full: retried('The disk of the store is full.', 'Make room; counting resumes by itself.'),
  io: retried('The store failed.', 'The message has the details; the service retries.'),
  missing: final(EXIT.data, 'A command found no store.', 'Run the service first, or correct `STORE_URL`.'),
  unusable: final(
    EXIT.cannotCreate,
    'The store cannot be created or opened.',
    'Make its folder writable, on a local disk, or correct `STORE_URL`.',
  ),
  damaged: final(EXIT.data, 'The store is damaged.', 'Put a backup in its place, or move it away to count from the beginning.'),
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
    'The database refuses the login, or does not allow this user to use its tables.',
    'Check `STORE_URL` and the password, and grant what the message names.',
  ),
  tls: retried(
    'TLS with the database failed, for the reason in the message.',
    'Do what the message says. A certificate that the server renews is picked up by itself; changed settings of this service need a restart.',
  ),
  unsupported: final(EXIT.config, 'The database is too old, or its settings could lose counts.', 'Change what the message names.'),
} as const satisfies Record<string, ErrorKind>
export type StoreErrorKind = keyof typeof STORE_ERRORS

export class StoreError extends ServiceError {
  override readonly name = 'StoreError'
  readonly kind: StoreErrorKind

  constructor(kind: StoreErrorKind, message: string, options?: ErrorOptions) {
    super(message, { ...options, ...STORE_ERRORS[kind], code: `store/${kind}` })
    this.kind = kind
  }
}

/** The file of counts could not be replaced. The counts themselves are safe in the store. */
export const OUTPUT_FILE_ERRORS = {
  'not-writable': retried(
    'The file or its folder cannot be written.',
    'Make the folder of `OUTPUT_FILE` writable; the file is written then.',
  ),
  'not-a-file': final(
    EXIT.config,
    '`OUTPUT_FILE` is a folder, a pipe, a socket, a device or a database, which the service does not replace.',
    'Name a file, which may be missing. A running service retries: remove what has taken the file’s place.',
  ),
  full: retried('The disk of the file is full.', 'Make room; the file is written then.'),
  hangs: retried('The disk of the file does not answer.', 'Restore the disk or the network share; the file is written then.'),
  io: retried('Writing the file failed.', 'The message has the system’s text; the service retries.'),
} as const satisfies Record<string, ErrorKind>
export type OutputFileErrorKind = keyof typeof OUTPUT_FILE_ERRORS

export class OutputFileError extends ServiceError {
  override readonly name = 'OutputFileError'
  readonly kind: OutputFileErrorKind

  constructor(kind: OutputFileErrorKind, message: string, options?: ErrorOptions) {
    super(message, { ...options, ...OUTPUT_FILE_ERRORS[kind], code: `output-file/${kind}` })
    this.kind = kind
  }
}
