/** The commands that need no broker, on the real SQLite store: their output, their changes, and when they refuse. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { encodeValue } from '@poke-api-pipeline/pokemon-event'
import { type CommandInput, ServiceError } from '@poke-api-pipeline/service-kit'
import { showCounts } from '../../src/commands/counts.ts'
import { listDeadLetters, purgeDeadLetters, replayDeadLetters } from '../../src/commands/dead-letters.ts'
import { resetCounts } from '../../src/commands/reset.ts'
import { takeGroup } from '../../src/commands/take-group.ts'
import { verifyCounts } from '../../src/commands/verify.ts'
import { openStore } from '../../src/infrastructure/storage/open-store.ts'
import type { Store } from '../../src/infrastructure/storage/store.ts'
import { commitTo, deadLetterOf, partitionOf } from '../contract/store-harness.ts'
import { RecordingTerminal } from './recording-terminal.ts'

const BUG = encodeValue({ id: 10, name: 'caterpie', types: [{ slot: 1, type: { name: 'bug' } }] })
const DAY = 24 * 3600_000

interface Harness {
  readonly store: Store
  input(options?: CommandInput['options']): CommandInput
}

/** A store with counts, and dead letters of which the oldest was kept ten days ago. */
async function harness(t: TestContext): Promise<Harness> {
  const dir = mkdtempSync(join(tmpdir(), 'commands-'))
  let age = 10 * DAY
  const url = `sqlite:${join(dir, 'store.db')}`
  const store = await openStore(url, { groupId: 'poke-api-consumer', now: () => Date.now() - age })
  t.after(async () => {
    await store.close()
    rmSync(dir, { recursive: true })
  })
  const state = await commitTo(store, partitionOf(0), await store.open(partitionOf(0)), 5, {
    counts: { bug: 2, fire: 1 },
    counted: 3,
    deadLetters: [deadLetterOf(0, { value: Buffer.from('OK') })],
  })
  age = 0
  await commitTo(store, partitionOf(0), state, 10, {
    deadLetters: [deadLetterOf(5, { value: BUG, reason: 'bad-type-name' }), deadLetterOf(6, { reason: 'null-value' })],
  })
  // No server listens on port 1.
  const env = { STORE_URL: url, KAFKA_BROKERS: 'localhost:1' }
  return { store, input: (options = {}) => ({ options, args: [], env }) }
}

async function refused(running: Promise<number>, exitCode: number, message: RegExp): Promise<void> {
  await assert.rejects(running, (error) => {
    assert.ok(error instanceof ServiceError, String(error))
    assert.equal(error.exitCode, exitCode)
    assert.match(error.message, message)
    return true
  })
}

test('counts prints a table, or the document of the file', async (t) => {
  const { input } = await harness(t)
  const [table, json] = [new RecordingTerminal(), new RecordingTerminal()]
  assert.equal(await showCounts(input(), table), 0)
  assert.match(table.output, /^bug +2 +█+ +66\.7 %\nfire +1 +█+ +33\.3 %\n3 Pokémon, of 2 types\n$/)
  assert.equal(await showCounts(input({ json: true }), json), 0)
  assert.equal(json.output, '{"types":{"bug":2,"fire":1}}\n')
})

test('commands name the store that they read on the error output, without a password', async (t) => {
  const { input } = await harness(t)
  const named = new RegExp(`^Store: ${input().env.STORE_URL}, group poke-api-consumer\n`)
  const options = { yes: true, 'from-beginning': true, state: 'kept', json: true }
  for (const command of [showCounts, listDeadLetters, replayDeadLetters, purgeDeadLetters]) {
    const terminal = new RecordingTerminal()
    assert.equal(await command(input(options), terminal), 0)
    assert.match(terminal.errors, named)
    assert.doesNotMatch(terminal.output, /Store:/)
  }
  const away = new RecordingTerminal()
  const env = { STORE_URL: 'postgres://ash:hunter2@127.0.0.1:1/poke?sslpassword=hunter2' }
  await refused(showCounts({ ...input(), env }, away), 75, /cannot be reached/)
  assert.equal(away.errors, 'Store: postgres://ash@127.0.0.1:1/poke, group poke-api-consumer\n')
})

test('a missing store is reported with the stores that make start and make sweep left in the folder', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'commands-'))
  const before = process.cwd()
  process.chdir(dir)
  t.after(() => {
    process.chdir(before)
    rmSync(dir, { recursive: true })
  })
  for (const name of ['dev', 'brokers-b_9092']) {
    mkdirSync(join('data', name), { recursive: true })
    writeFileSync(join('data', name, 'type-counts.db'), '')
  }
  await refused(
    showCounts({ options: {}, args: [], env: {} }, new RecordingTerminal()),
    65,
    /correct STORE_URL; this folder has STORE_URL=sqlite:data\/brokers-b_9092\/type-counts\.db, STORE_URL=sqlite:data\/dev\/type-counts\.db$/,
  )
})

test('no command creates a missing store', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'commands-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'store.db')
  const input = { options: { yes: true, 'from-beginning': true, state: 'kept' }, args: [], env: { STORE_URL: `sqlite:${path}` } }
  for (const command of [showCounts, listDeadLetters, replayDeadLetters, purgeDeadLetters, verifyCounts, resetCounts, takeGroup]) {
    await refused(
      command(input, new RecordingTerminal()),
      65,
      /^the store .*store\.db does not exist: run the service first, or correct STORE_URL/,
    )
  }
  assert.equal(existsSync(path), false)
})

test('dead-letters list prints a table with the total, or one JSON object a line with all bytes', async (t) => {
  const { input } = await harness(t)
  const [all, some, json] = [new RecordingTerminal(), new RecordingTerminal(), new RecordingTerminal()]
  assert.equal(await listDeadLetters(input(), all), 0)
  assert.match(all.output, /^id +record .*\n3 .*null-value.*\n2 .*bad-type-name.*\n1 .*not-json.*OK \(2 bytes\)\n\n3 dead letters: /)
  assert.match(all.output, /1 not-json/)
  await listDeadLetters(input({ limit: '2' }), some)
  assert.match(some.output, /\nThe newest 2 of 3 dead letters: /)
  await listDeadLetters(input({ json: true }), json)
  const lines = json.output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(
    lines.map(({ id, reason }) => [id, reason]),
    [
      [3, 'null-value'],
      [2, 'bad-type-name'],
      [1, 'not-json'],
    ],
  )
  assert.equal(Buffer.from(lines[1].value.base64, 'base64').toString(), BUG.toString())
  await refused(listDeadLetters(input({ limit: 'many' }), new RecordingTerminal()), 64, /^--limit is "many"; accepted: a whole number/)
})

test('dead-letters replay counts each countable dead letter once, and reports the others', async (t) => {
  const { store, input } = await harness(t)
  const [first, second] = [new RecordingTerminal(), new RecordingTerminal()]
  assert.equal(await replayDeadLetters(input(), first), 0)
  assert.equal(first.output, 'Counted 1 dead letter.\n2 dead letters still cannot be counted: 1 null-value, 1 not-json.\n')
  assert.equal(await replayDeadLetters(input({ json: true }), second), 0)
  assert.deepEqual(JSON.parse(second.output), { counted: 0, left: { 'null-value': 1, 'not-json': 1 }, cut: 0, gone: 0 })
  assert.equal((await store.totals()).counts.get('bug'), 3)
})

test('dead-letters purge selects by state and age, and asks for consent', async (t) => {
  const { store, input } = await harness(t)
  const kept = async () => (await store.deadLetters(null, 10)).length
  const purge = async (options: CommandInput['options'], answer: boolean | null = null) => {
    const terminal = new RecordingTerminal(answer)
    return { exitCode: await purgeDeadLetters(input(options), terminal), terminal }
  }
  const declined = await purge({ state: 'kept' }, false)
  assert.deepEqual([declined.exitCode, await kept()], [1, 3])
  assert.match(declined.terminal.errors, /\nNothing was changed\.\n$/)
  assert.match(
    declined.terminal.questions[0] ?? '',
    /^This deletes the bytes of the dead letters of group poke-api-consumer in sqlite:.*store\.db \(kept\)/,
  )
  await refused(
    purgeDeadLetters(input({ state: 'kept' }), new RecordingTerminal(null)),
    64,
    /There is no terminal to ask on: add --yes to go on$/,
  )
  assert.equal(await kept(), 3)
  const old = await purge({ state: 'kept,published', 'older-than': '7d' }, true)
  assert.deepEqual([old.exitCode, old.terminal.output, await kept()], [0, 'Purged 1 dead letter.\n', 2])
  const all = await purge({ state: 'kept', yes: true, json: true })
  assert.deepEqual([all.exitCode, all.terminal.output, await kept()], [0, '{"purged":2}\n', 0])
  assert.deepEqual(all.terminal.questions, [])
  for (const [options, message] of [
    [{}, /^purge needs --state; accepted: kept, published, counted, superseded/],
    [{ state: 'old' }, /^purge needs --state, and "old" is not a state; accepted: kept/],
    [{ state: 'kept', 'older-than': 'ages' }, /^--older-than is "ages"; accepted: a duration/],
  ] as const) {
    await refused(purgeDeadLetters(input(options), new RecordingTerminal()), 64, message)
  }
})

test('a wrong setting is reported before the command begins', async (t) => {
  const { input } = await harness(t)
  const wrong = { ...input(), env: { ...input().env, KAFKA_TOPIC: 'a/b' } }
  await refused(showCounts(wrong, new RecordingTerminal()), 78, /KAFKA_TOPIC/)
})

test('reset requires its option and consent', async (t) => {
  const { store, input } = await harness(t)
  await refused(resetCounts(input({ yes: true }), new RecordingTerminal()), 64, /^reset needs --from-beginning/)
  assert.equal((await store.totals()).counts.size, 2)
})
