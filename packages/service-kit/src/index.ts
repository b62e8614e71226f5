/** What every service needs once: configuration, logs, metrics, health, HTTP and shutdown. */
export { type ErrorKind, EXIT, ServiceError, type ServiceErrorOptions } from './service-error.ts'
