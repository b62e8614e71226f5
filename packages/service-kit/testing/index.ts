/** What the tests of services need. Not part of any service. */

export * from './documentation.ts'
export * from './documented.ts'
export * from './hold-connections.ts'
export * from './running-service.ts'
export * from './setting-checks.ts'
