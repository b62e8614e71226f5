/** `counts`: shows the counts as a table with bars. */
import { type CommandInput, EXIT } from '@poke-api-pipeline/service-kit'
import { typeCountsDocument } from '../infrastructure/file-handling/type-counts-file.ts'
import { renderCounts } from '../infrastructure/terminal/counts-table.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { commandConfig, withExistingStore } from './existing-store.ts'

/** Prints the table, or with `--json` the document of `type-counts.json`. */
export async function showCounts({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  const { counts, pokemon } = await withExistingStore(commandConfig(env, terminal), terminal, async (store) => {
    const { counts } = await store.totals()
    const partitions = await store.partitions()
    return { counts, pokemon: partitions.reduce((sum, { counted }) => sum + counted, 0) }
  })
  terminal.out(options.json ? typeCountsDocument(counts) : `${renderCounts(counts, pokemon, terminal.look)}\n`)
  return EXIT.ok
}
