/** The closed list of the consumer's errors: each kind with a code, whether waiting helps, and the exit code where it ends the service. */
import { type ErrorKind, EXIT, final, retried, ServiceError } from '@poke-api-pipeline/service-kit'

/** The store could not keep or give counts and positions. Nothing is half done: what was not committed is counted again. */
export const STORE_ERRORS = {
  unreachable: retried('The database cannot be reached.', 'Start it, or correct `STORE_URL`; counting goes on by itself.'),
  busy: retried('Another process holds the store’s lock.', 'It is tried again; a frozen process must be thawed or killed.'),
  full: retried('The disk of the store is full.', 'Make room; counting goes on by itself.'),
  io: retried('The store failed.', 'The message has its words; it is tried again.'),
  missing: final(EXIT.data, 'A command found no store.', 'Run the service first, or correct `STORE_URL`.'),
  unusable: final(
    EXIT.cannotCreate,
    'The store cannot be made or opened.',
    'Make its folder writable, on a local disk, or correct `STORE_URL`.',
  ),
  damaged: final(
    EXIT.data,
    'The store is no sound database any more.',
    'Put a backup in its place, or move it away to count from the beginning.',
  ),
  replaced: final(
    EXIT.data,
    'The SQLite file, or the log beside it, was removed or replaced while the service had it open.',
    'Start the service again: what the store does not have is counted again from the topic. Stop every instance before a store is moved.',
  ),
  'newer-schema': final(
    EXIT.config,
    'A newer version of this service wrote the store.',
    'Run that version, or give this one another `STORE_URL`.',
  ),
  'not-authorised': final(
    EXIT.notAllowed,
    'The database refuses the login, or does not allow its tables to this user.',
    'Check `STORE_URL` and the password, and grant what the message names.',
  ),
  tls: retried(
    'TLS with the database failed, for the reason in the message.',
    'Do what the message says. A certificate that is renewed at the server is found by itself; settings of this service need a new start.',
  ),
  unsupported: final(
    EXIT.config,
    'The database is too old, or set up so that it cannot keep the promises.',
    'Change what the message names.',
  ),
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

/** The file of counts could not be replaced. The counts themselves are in the store. */
export const OUTPUT_FILE_ERRORS = {
  'not-writable': retried(
    'The file or its folder cannot be written.',
    'Make the folder of `OUTPUT_FILE` writable; the file is written then.',
  ),
  'not-a-file': final(
    EXIT.config,
    '`OUTPUT_FILE` is a folder, a pipe, a socket, a device or a database, which is not replaced.',
    'Name a file, or one that is still to be made; where it became so under a running service, which tries again, remove it.',
  ),
  full: retried('The disk of the file is full.', 'Make room; the file is written then.'),
  hangs: retried('The disk of the file does not answer.', 'Bring the disk or the network share back; the file is written then.'),
  io: retried('Writing the file failed.', 'The message has the system’s words; it is tried again.'),
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
