/** The documents say of the producer what its code declares. */
import { test } from 'node:test'
import { createRegistry } from '@poke-api-pipeline/service-kit'
import { assertDocumented, errorRows, errorsTable, metricsTable, settingsTable } from '@poke-api-pipeline/service-kit/testing'
import { SETTINGS } from '../src/config.ts'
import { OUTBOX_ERRORS, POKE_API_ERRORS, PUBLISH_ERRORS } from '../src/errors.ts'
import { ProducerMetrics } from '../src/infrastructure/metrics.ts'

const SECTION = '## poke-api-producer'

test('docs/settings.md has every setting of the producer and no other', () => {
  assertDocumented(new URL('../../docs/settings.md', import.meta.url), SECTION, settingsTable(SETTINGS))
})

test('docs/metrics.md has every metric of the producer and no other', () => {
  const registry = createRegistry()
  new ProducerMetrics(registry)
  assertDocumented(new URL('../../docs/metrics.md', import.meta.url), SECTION, metricsTable(registry))
})

test('docs/errors.md has every error of the producer and no other', () => {
  const rows = [...errorRows(POKE_API_ERRORS, 'poke-api'), ...errorRows(OUTBOX_ERRORS, 'outbox'), ...errorRows(PUBLISH_ERRORS, 'publish')]
  assertDocumented(new URL('../../docs/errors.md', import.meta.url), SECTION, errorsTable(rows))
})
