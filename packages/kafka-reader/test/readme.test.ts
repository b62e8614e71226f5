/** The README shows an example that is run by a test, as it is. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const FOLDER = join(import.meta.dirname, '..')

test('the program with PostgreSQL in the README is examples/orders.js without its first comment', () => {
  const example = readFileSync(join(FOLDER, 'examples', 'orders.js'), 'utf8')
  const programs = [...readFileSync(join(FOLDER, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(([, program]) => program)
  assert.equal(programs[1], example.slice(example.indexOf('import ')))
})
