/** Helpers for the tests of services, which no service uses. */

export * from './documentation.ts'
export * from './documented.ts'
export * from './hold-connections.ts'
export * from './running-service.ts'
export * from './setting-checks.ts'
