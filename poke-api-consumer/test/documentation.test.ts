/** The documents list the settings, metrics and errors that the consumer declares. */
import { test } from 'node:test'
import { KAFKA_ERRORS } from '@poke-api-pipeline/kafka-reader'
import { createRegistry, type ErrorKind } from '@poke-api-pipeline/service-kit'
import { assertDocumented, errorRows, errorsTable, metricsTable, settingsTable } from '@poke-api-pipeline/service-kit/testing'
import { SETTINGS } from '../src/config.ts'
import { OUTPUT_FILE_ERRORS, OWN_KAFKA_ERRORS, STORE_ERRORS } from '../src/errors.ts'
import { remediesOf } from '../src/infrastructure/kafka-remedies.ts'
import { ConsumerMetrics } from '../src/infrastructure/metrics.ts'

const SECTION = '## poke-api-consumer'

test('docs/settings.md has every setting of the consumer and no other', () => {
  assertDocumented(new URL('../../docs/settings.md', import.meta.url), SECTION, settingsTable(SETTINGS))
})

test('docs/metrics.md has every metric of the consumer and no other', () => {
  const registry = createRegistry()
  new ConsumerMetrics({ registry, progress: { lags: () => [] }, timeOfDay: Date.now, anomalousSources: () => 0 })
  assertDocumented(new URL('../../docs/metrics.md', import.meta.url), SECTION, metricsTable(registry))
})

test('docs/errors.md has every error of the consumer and no other', () => {
  const rows = [
    ...errorRows(kafkaErrors(), 'kafka'),
    ...errorRows(OWN_KAFKA_ERRORS, 'kafka'),
    ...errorRows(STORE_ERRORS, 'store'),
    ...errorRows(OUTPUT_FILE_ERRORS, 'output-file'),
  ]
  assertDocumented(new URL('../../docs/errors.md', import.meta.url), SECTION, errorsTable(rows))
})

/** The reader's errors, with the settings and commands that this service names in their messages. */
function kafkaErrors(): Record<string, ErrorKind> {
  const kinds = Object.entries(KAFKA_ERRORS).map(([kind, error]) => {
    const remedies = remediesOf(kind).replace(/[A-Z_]{2,}|poke-api-consumer take-group/g, '`$&`')
    return [kind, { ...error, remedy: remedies === '' ? error.remedy : `${error.remedy} ${remedies}.` }] as const
  })
  return Object.fromEntries(kinds)
}
