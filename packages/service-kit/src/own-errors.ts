/** The closed list of the errors that every service has: a wrong command line or setting, an HTTP address that cannot be used. */
import { type ErrorKind, EXIT, final, retried, ServiceError } from './service-error.ts'

export const OWN_ERRORS = {
  'usage/wrong': final(EXIT.usage, 'The command line is not understood.', 'The message shows the usage.'),
  'config/wrong': final(EXIT.config, 'Settings are wrong.', 'The message names each wrong setting, the given value and the accepted ones.'),
  'config/secret-unreadable': retried(
    'A file that contains a secret cannot be read any more.',
    'Restore the file of the setting that the message names; the service retries.',
  ),
  'http/port-taken': final(
    EXIT.cannotCreate,
    'Another program uses the port.',
    'End that program, or set `HTTP_PORT` to another port (0: any free one).',
  ),
  'http/port-not-allowed': final(
    EXIT.cannotCreate,
    'This user may not use the port.',
    'Set `HTTP_PORT` to a port above 1023 (0: any free one).',
  ),
  'http/no-such-host': final(EXIT.cannotCreate, 'The address does not belong to this machine.', 'Correct `HTTP_HOST`.'),
  'http/crowded': retried(
    'The HTTP server has reached its limit of connections; the client in the message holds the most.',
    'Each new connection closes the oldest one of this client. If you do not know the client, block it with a firewall.',
  ),
} as const satisfies Record<string, ErrorKind>
export type OwnErrorCode = keyof typeof OWN_ERRORS

/** @param message what happened, to what, and what to do */
export function ownError(code: OwnErrorCode, message: string, options?: ErrorOptions): ServiceError {
  return new ServiceError(message, { ...options, ...OWN_ERRORS[code], code })
}
