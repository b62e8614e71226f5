/** Settings that every service has: its HTTP server, its log, and how long it may take to stop. */
import { LOG_LEVELS } from './logger.ts'
import { duration, integer, oneOf, text } from './setting-kinds.ts'
import { setting } from './settings.ts'

/** @param port the default of `HTTP_PORT` */
export const processSettings = (port: number) => ({
  HTTP_HOST: setting(
    text(/^[A-Za-z0-9.:_-]{1,255}$/, 'an address or a name of this machine'),
    '127.0.0.1',
    'Where health and metrics are served; `0.0.0.0`: on every address of this machine.',
  ),
  HTTP_PORT: setting(integer({ min: 0, max: 65_535 }), String(port), 'The port for that; 0: any free one.'),
  LOG_LEVEL: setting(oneOf(...LOG_LEVELS), 'info', 'How much is said.'),
  LOG_FORMAT: setting(
    oneOf('auto', 'json', 'readable'),
    'auto',
    'How it is said: `json`, a line for machines; `readable`, a line for people; `auto`, for people in a terminal and for machines elsewhere.',
  ),
  SHUTDOWN_TIMEOUT: setting(duration({ min: '100ms', max: '10m' }), '10s', 'How long stopping may take before the process ends at once.'),
})
