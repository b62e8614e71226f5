/** Replaying dead letters (rule D3): those that can be counted now are counted once, even by several replays; the others stay. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CE_TYPE, encodeValue, HEADER } from '@poke-api-pipeline/pokemon-event'
import { replay } from '../src/application/replay.ts'
import type { DeadLetter } from '../src/entities/dead-letter.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import type { Store } from '../src/infrastructure/storage/store.ts'
import { commitTo, deadLetterOf, partitionOf } from './contract/store-harness.ts'
import { headerBytes } from './header-bytes.ts'

const GHOST = encodeValue({ id: 1, name: 'gengar', types: ['ghost', 'poison'].map((name, i) => ({ slot: i + 1, type: { name } })) })

function typed(type: string): DeadLetter['headers'] {
  return headerBytes([HEADER.type, type])
}

/** A store with these dead letters, opened twice. */
async function storesWith(t: TestContext, deadLetters: readonly DeadLetter[]): Promise<[Store, Store]> {
  const dir = mkdtempSync(join(tmpdir(), 'replay-'))
  const url = `sqlite:${join(dir, 'store.db')}`
  const stores = [await openStore(url, { groupId: 'group' }), await openStore(url, { groupId: 'group' })] as [Store, Store]
  t.after(async () => {
    for (const store of stores) await store.close()
    rmSync(dir, { recursive: true })
  })
  const state = await stores[0].open(partitionOf(0))
  await commitTo(stores[0], partitionOf(0), state, deadLetters.length, { deadLetters, lastSequences: { ash: 7 } })
  return stores
}

test('dead letters that can be counted are counted once; the others keep their state and are reported by reason', async (t) => {
  const [store] = await storesWith(t, [
    deadLetterOf(0, { value: GHOST, reason: 'bad-type-name' }),
    deadLetterOf(1, { value: Buffer.from('OK') }),
    deadLetterOf(2, { value: GHOST, reason: 'unknown-event-type', headers: typed('pokemon.captured.v9') }),
    deadLetterOf(3, { value: GHOST, reason: 'unknown-event-type', headers: typed(CE_TYPE) }),
    deadLetterOf(4, { value: null, reason: 'null-value' }),
    deadLetterOf(5, { value: Buffer.from('{'), reason: 'wrong-shape' }),
  ])
  const report = await replay(store, () => {})
  assert.deepEqual(report, {
    counted: 2,
    left: new Map([
      ['not-json', 2],
      ['null-value', 1],
      ['unknown-event-type', 1],
    ]),
    cut: 0,
    gone: 0,
  })
  const counts = new Map([
    ['ghost', 2],
    ['poison', 2],
  ])
  assert.deepEqual((await store.totals()).counts, counts)
  assert.deepEqual(
    (await store.deadLetters(null, 10)).map(({ offset, state }) => [offset, state]),
    [
      [5, 'kept'],
      [4, 'kept'],
      [2, 'kept'],
      [1, 'kept'],
    ],
  )
  const again = await replay(store, () => {})
  assert.equal(again.counted, 0)
  assert.deepEqual((await store.totals()).counts, counts)
})

test('a dead letter that is cut is not counted by its beginning', async (t) => {
  const whole = { bytes: 2_000_000, sha256: 'ab'.repeat(32) }
  const [store] = await storesWith(t, [
    deadLetterOf(0, { value: GHOST, reason: 'too-large', cut: { value: whole } }),
    deadLetterOf(1, { value: GHOST, reason: 'unknown-event-type', headers: typed(CE_TYPE), cut: { headers: whole } }),
    deadLetterOf(2, { value: GHOST, reason: 'unknown-event-type', cut: { value: whole } }),
    deadLetterOf(3, { value: GHOST, reason: 'bad-type-name', cut: { key: whole } }),
  ])
  assert.deepEqual(await replay(store, () => {}), {
    counted: 1,
    left: new Map([
      ['too-large', 2],
      ['unknown-event-type', 1],
    ]),
    cut: 3,
    gone: 0,
  })
})

test('position, token and last sequences stay, so that running instances are not disturbed', async (t) => {
  const [store, counting] = await storesWith(t, [deadLetterOf(0, { value: GHOST })])
  const state = await counting.open(partitionOf(0))
  await replay(store, () => {})
  await commitTo(counting, partitionOf(0), state, 5, { counts: { bug: 1 }, counted: 1 })
  const { position, lastSequences } = await store.open(partitionOf(0))
  assert.deepEqual([position.offset, lastSequences], [5, new Map([['ash', 7]])])
})

test('two replays at once count each dead letter once, and report progress over many pages', async (t) => {
  const deadLetters = Array.from({ length: 100 }, (_, offset) => deadLetterOf(offset, { value: GHOST }))
  const stores = await storesWith(t, deadLetters)
  const progress: number[] = []
  const reports = await Promise.all(stores.map((store) => replay(store, (tried) => progress.push(tried))))
  assert.equal(
    reports.reduce((sum, { counted }) => sum + counted, 0),
    100,
  )
  assert.equal((await stores[0].totals()).counts.get('ghost'), 100)
  assert.ok(progress.length > 2)
})
