/** The documents list the errors that the kit declares. */
import { test } from 'node:test'
import { OWN_ERRORS } from '../src/own-errors.ts'
import { errorRows, errorsTable } from '../testing/documentation.ts'
import { assertDocumented } from '../testing/index.ts'

test('docs/errors.md has the errors of both services and no other', () => {
  assertDocumented(new URL('../../../docs/errors.md', import.meta.url), '## Both services', errorsTable(errorRows(OWN_ERRORS)))
})
