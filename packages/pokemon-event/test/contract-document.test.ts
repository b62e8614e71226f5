/** docs/contract.md agrees with the code. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  asyncApi,
  CE_TYPE,
  decodeValue,
  encodeValue,
  HEADER,
  MAX_NAME_LENGTH,
  MAX_SOURCE_BYTES,
  MAX_TYPES,
  MAX_VALUE_BYTES,
  SEQUENCE_DIGITS,
} from '@poke-api-pipeline/pokemon-event'
import vectors from '@poke-api-pipeline/pokemon-event/vectors.json' with { type: 'json' }

const text = readFileSync(new URL('../../../docs/contract.md', import.meta.url), 'utf8')

test('every header is in the table of the document, marked if it is optional', () => {
  const { required } = asyncApi.components.messages.pokemonCaptured.headers
  const rows = rowsOf('header')
  assert.deepEqual(rows.map(([header]) => header).sort(), Object.values(HEADER).sort())
  for (const [header, , mark] of rows) assert.equal(mark === 'optional', !required.includes(header as string), `${header}`)
})

test('every reason of a dead letter is in the table of the document, in the order of the checks', () => {
  const reasons = [...new Set(vectors.read.map(({ reason }) => reason))].filter((reason) => reason !== undefined)
  assert.deepEqual(
    rowsOf('dead letter').map(([reason]) => reason),
    ['unknown-event-type', ...reasons],
  )
})

test('every member of the value is in the table of the document, marked if it is required', () => {
  const event = { id: 25, name: 'pikachu', types: [{ slot: 1, type: { name: 'electric' } }] }
  const without: Record<string, unknown> = {
    id: { ...event, id: undefined },
    name: { ...event, name: undefined },
    types: { ...event, types: undefined },
    'types[].slot': { ...event, types: [{ type: { name: 'electric' } }] },
    'types[].type.name': { ...event, types: [{ slot: 1, type: {} }] },
  }
  const rows = rowsOf('member')
  assert.deepEqual(
    rows.map(([member]) => member),
    Object.keys(without),
  )
  for (const [member, , needed] of rows) {
    assert.equal(decodeValue(Buffer.from(JSON.stringify(without[member as string]))).ok, needed === 'no', `${member}`)
  }
})

test('name and limits of the event in the document are those of the code', () => {
  const example = /```json\n(.+)\n```/.exec(text)?.[1] as string
  assert.equal(encodeValue(JSON.parse(example)).toString(), example)
  for (const said of [
    `at most ${MAX_VALUE_BYTES.toLocaleString('en')} bytes`,
    `more than ${MAX_VALUE_BYTES.toLocaleString('en')} bytes`,
    `1 to ${MAX_NAME_LENGTH} characters`,
    `a list of 1 to ${MAX_TYPES},`,
    `a list of 1 to ${MAX_TYPES} objects`,
    `1 to ${MAX_SOURCE_BYTES} bytes`,
    `${SEQUENCE_DIGITS} digits`,
    `| \`${CE_TYPE}\` |`,
  ]) {
    assert.ok(text.includes(said), `docs/contract.md does not say “${said}”`)
  }
})

/** The cells of the table whose first column has this title. */
function rowsOf(title: string): string[][] {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.startsWith(`| ${title} |`))
  assert.ok(start >= 0, `docs/contract.md has no table of “${title}”`)
  const rows: string[][] = []
  for (let i = start + 2; lines[i]?.startsWith('|'); i++) {
    rows.push(
      (lines[i] as string)
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replace(/^`([^`]+)`$/, '$1')),
    )
  }
  return rows
}
