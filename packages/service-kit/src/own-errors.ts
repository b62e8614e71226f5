/** The closed list of the errors that every service has: a wrong command line or setting, an address that cannot be had. */
import { type ErrorKind, EXIT, final, retried, ServiceError } from './service-error.ts'

export const OWN_ERRORS = {
  'usage/wrong': final(EXIT.usage, 'The command line is not understood.', 'The message has the usage.'),
  'config/wrong': final(EXIT.config, 'Settings are wrong.', 'The message names each, what was given and what is accepted.'),
  'config/secret-unreadable': retried(
    'A file with a secret in it was readable at the start, and is not any more.',
    'Put the file back that the setting in the message names; it is tried again.',
  ),
  'http/port-taken': final(
    EXIT.cannotCreate,
    'Another program has the port.',
    'End that program, or set `HTTP_PORT` to another port (0: any free one).',
  ),
  'http/port-not-allowed': final(
    EXIT.cannotCreate,
    'The port is not allowed to this user.',
    'Set `HTTP_PORT` to a port above 1023 (0: any free one).',
  ),
  'http/no-such-host': final(EXIT.cannotCreate, 'The address is none of this machine.', 'Correct `HTTP_HOST`.'),
  'http/crowded': retried(
    'The HTTP server has as many connections as it holds at once; the client in the message has the most.',
    'Each new connection closes the oldest one of this client. If you do not know the client, block it with a firewall.',
  ),
} as const satisfies Record<string, ErrorKind>
export type OwnErrorCode = keyof typeof OWN_ERRORS

/** @param message what happened, to what, and what to do */
export function ownError(code: OwnErrorCode, message: string, options?: ErrorOptions): ServiceError {
  return new ServiceError(message, { ...options, ...OWN_ERRORS[code], code })
}
