/** Fills the disk of a store, frees space again, and prints the results of the store's calls as JSON: `full-disk-process.ts <folder on a small disk>`. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../src/errors.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'
import { changeOf, deadLetterOf, partitionOf } from './contract/store-harness.ts'

const folder = process.argv[2] ?? ''
const partition = partitionOf(0)
const store = await openStore(`sqlite:${join(folder, 'store.db')}`, { groupId: 'group' })
const state = await store.open(partition)
await store.commit(changeOf(partition, state, 10, { counts: { bug: 1 } }))
const snapshot = async () => JSON.stringify((await store.snapshot()).map((p) => ({ ...p, counts: [...p.counts] })))
const before = await snapshot()
const revisions = [(await store.totals()).revision]

fillDisk()
const position = { offset: 10, leaderEpoch: 0 }
const large = [deadLetterOf(15, { value: Buffer.alloc(500_000, 'x') })]
const change = changeOf(partition, { token: state.token, position }, 20, { counts: { bug: 1 }, deadLetters: large })
let told: StoreError | undefined
try {
  await store.commit(change)
} catch (error) {
  if (!(error instanceof StoreError)) throw error
  told = error
}
const after = await snapshot()
rmSync(join(folder, 'filling'))
await store.commit(change)
revisions.push((await store.totals()).revision)
await store.close()
console.log(JSON.stringify({ kind: told?.kind, retriable: told?.retriable, message: told?.message, before, after, revisions }))

function fillDisk(): void {
  for (let size = 4 << 20; size >= 4096; size >>= 1) {
    try {
      writeFileSync(join(folder, 'filling'), Buffer.alloc(size), { flag: 'a' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
}
