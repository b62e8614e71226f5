/** `verify`: counts the topic again, and compares the result with the store. */
import { type CommandInput, pause, printableJson } from '@poke-api-pipeline/service-kit'
import { type Verdict, verify } from '../application/verify.ts'
import { ProgressBar } from '../infrastructure/terminal/progress-bar.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { renderVerdict } from '../infrastructure/terminal/verdict-text.ts'
import { commandConfig, withExistingStore } from './existing-store.ts'
import { withTopicReader } from './topic-reader.ts'

const EXIT_CODE: Readonly<Record<Verdict['outcome'], number>> = { equal: 0, different: 1, unknown: 2, unread: 2 }

const NEVER = new AbortController().signal

/** @returns the exit code: 0 equal, 1 different, 2 inconclusive, or not all records were read yet */
export async function verifyCounts({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  const config = commandConfig(env, terminal)
  const topic = config.KAFKA_TOPIC
  const now = () => performance.now()
  const bar = new ProgressBar(terminal, 'offsets', now)
  const patience = { wait: (ms: number) => pause(ms, NEVER), now }
  const verdict = await withExistingStore(config, terminal, (store) =>
    withTopicReader(config, async (reader) => {
      try {
        return await verify(store, reader, topic, (progress) => bar.show(progress), patience)
      } finally {
        bar.clear()
      }
    }),
  )
  terminal.out(`${options.json ? printableJson(JSON.stringify({ topic, ...verdict })) : renderVerdict(verdict, topic, terminal.look)}\n`)
  return EXIT_CODE[verdict.outcome]
}
