/** Settings that every service has: its HTTP server, its log, and how long it may take to stop. */
import { LOG_LEVELS } from './logger.ts'
import { duration, integer, oneOf, text } from './setting-kinds.ts'
import { setting } from './settings.ts'

/** @param port the default of `HTTP_PORT` */
export const processSettings = (port: number) => ({
  HTTP_HOST: setting(
    text(/^[A-Za-z0-9.:_-]{1,255}$/, 'an address or a name of this machine'),
    '127.0.0.1',
    'The address at which health and metrics are served; `0.0.0.0`: every address of this machine.',
  ),
  HTTP_PORT: setting(integer({ min: 0, max: 65_535 }), String(port), 'The port of health and metrics; 0: any free one.'),
  LOG_LEVEL: setting(oneOf(...LOG_LEVELS), 'info', 'The least severe level that is logged.'),
  LOG_FORMAT: setting(
    oneOf('auto', 'json', 'readable'),
    'auto',
    'The format of the log: `json`, lines for machines; `readable`, lines for people; `auto`, readable in a terminal and JSON elsewhere.',
  ),
  SHUTDOWN_TIMEOUT: setting(duration({ min: '100ms', max: '10m' }), '10s', 'How long stopping may take before the process ends at once.'),
})
