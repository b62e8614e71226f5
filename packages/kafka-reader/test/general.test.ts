/** The package serves readers of any topic. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const FOLDER = join(import.meta.dirname, '..')
const WORDS = [
  'pok[eé]mon',
  'pikachu',
  'tall(y|ies)',
  'ce_',
  'cloudevents?',
  'type-counts',
  'too-many-types',
  'dead.letters?',
  'take-group',
]
/** Settings of the services that use it. */
const SETTINGS = ['KAFKA_(BROKERS|TOPIC|GROUP_ID|SESSION_TIMEOUT|SECURITY|CA_FILE|USERNAME|PASSWORD_FILE)', 'STORE_URL', 'ON_DATA_LOSS']
const HERE = join('test', 'general.test.ts')

test('the package has no word of any application: no names of events, of their headers, of processing, or of settings', () => {
  const files = globSync('**/*.*', { cwd: FOLDER, exclude: ['node_modules/**'] }).filter((file) => file !== HERE)
  assert.ok(files.length > 50, `${files.length} files were searched`)
  const words = new RegExp(`(?<![a-z])(${[...WORDS, ...SETTINGS].join('|')})`, 'i')
  const found = files.flatMap((file) => {
    const lines = readFileSync(join(FOLDER, file), 'utf8').split('\n')
    return lines.map((line, i) => `${file}:${i + 1}: ${line.trim()}`).filter((_, i) => words.test(lines[i] ?? ''))
  })
  assert.deepEqual(found, [])
})
