/**
 * A process that counts as fast as it can until it is killed: `counting-process.ts <store URL> <partitions>`.
 * Each commit has eight counted records, a duplicate and a dead letter, so that an incomplete commit is noticed. It prints the outcome of each
 * commit, and `began` after its first commit in each partition.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../../src/errors.ts'
import { openStore } from '../../src/infrastructure/storage/open-store.ts'
import type { Store } from '../../src/infrastructure/storage/store.ts'
import { changeOf, deadLetterOf, partitionOf } from './store-harness.ts'

const [url = '', partitions = '1'] = process.argv.slice(2)
const store = await openStore(url, { groupId: 'group', owner: `process ${process.pid}` })
console.log('opened')
await Promise.all(Array.from({ length: Number(partitions) }, (_, partition) => count(store, partition)))

async function count(store: Store, number: number): Promise<never> {
  const partition = partitionOf(number)
  let began = false
  for (;;) {
    try {
      const { token, position } = await store.open(partition)
      let from = position
      for (;;) {
        const offset = from.offset === 'log-start' ? 0 : from.offset
        const change = changeOf(partition, { token, position: from }, offset + 10, {
          counts: { bug: 8, [`type-${offset % 180}`]: 1 },
          counted: 8,
          duplicates: 1,
          deadLetters: [deadLetterOf(offset + 9, { value: Buffer.from(`no pokémon ${offset}`) })],
          lastSequences: { '/counting-process': offset + 10 },
        })
        const outcome = await store.commit(change)
        console.log(outcome)
        if (outcome === 'fenced') break
        if (!began) console.log('began')
        began = true
        from = change.to
        // A commit of SQLite never gives way by itself.
        await sleep(0)
      }
    } catch (error) {
      if (!(error instanceof StoreError && error.retriable)) throw error
      console.log(error.code)
      await sleep(5)
    }
  }
}
