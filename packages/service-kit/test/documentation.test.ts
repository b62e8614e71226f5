/** The documents say what the kit declares. */
import { test } from 'node:test'
import { errorRows, errorsTable, OWN_ERRORS } from 'service-kit'
import { assertDocumented } from 'service-kit/testing'

test('docs/errors.md has the errors of both services and no other', () => {
  assertDocumented(new URL('../../../docs/errors.md', import.meta.url), '## Both services', errorsTable(errorRows(OWN_ERRORS)))
})
