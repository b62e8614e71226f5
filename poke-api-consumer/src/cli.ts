#!/usr/bin/env node
/** The consumer's command line. A further command is one more entry of the list. */
import { deferSchemas } from '@poke-api-pipeline/kafka-common'
import { type CommandOption, runProgram } from '@poke-api-pipeline/service-kit'
import manifest from '../package.json' with { type: 'json' }
import { SETTINGS } from './config.ts'
import { processTerminal } from './infrastructure/terminal/terminal.ts'

const json: CommandOption = { type: 'boolean', meaning: 'For programs: JSON on the standard output.' }
const yes: CommandOption = { type: 'boolean', meaning: 'Goes on without asking.' }
const terminal = processTerminal()

deferSchemas()
await runProgram({
  name: 'poke-api-consumer',
  version: manifest.version,
  description: `${manifest.description}.`,
  settings: SETTINGS,
  commands: [
    {
      name: '',
      meaning: 'Counts the types of the Pokémon in the topic until it is stopped.',
      // Loaded here, so that the help needs no Kafka client.
      run: async ({ env }) => await (await import('./main.ts')).run(env),
    },
    {
      name: 'counts',
      meaning: 'Shows what the store has counted.',
      options: { json },
      run: async (input) => await (await import('./commands/counts.ts')).showCounts(input, terminal),
    },
    {
      name: 'verify',
      meaning:
        'Counts the topic anew and compares with the store; exit code 0: equal, 1: different, 2: the topic no longer shows it, or has what is unread.',
      options: { json },
      run: async (input) => await (await import('./commands/verify.ts')).verifyCounts(input, terminal),
    },
    {
      name: 'reset',
      meaning: 'Forgets what was counted, so that everything that the topic still has is counted anew.',
      options: { 'from-beginning': { type: 'boolean', required: true, meaning: 'Says that this is meant.' }, yes, json },
      run: async (input) => await (await import('./commands/reset.ts')).resetCounts(input, terminal),
    },
    {
      name: 'take-group',
      meaning: 'Makes this store the one that the group counts into, in place of another one; all instances must have ended.',
      options: { yes, json },
      run: async (input) => await (await import('./commands/take-group.ts')).takeGroup(input, terminal),
    },
    {
      name: 'dead-letters list',
      meaning: 'Shows the records that could not be counted, the newest first.',
      options: { limit: { type: 'string', value: 'N', meaning: 'At most so many. [50]' }, json },
      run: async (input) => await (await import('./commands/dead-letters.ts')).listDeadLetters(input, terminal),
    },
    {
      name: 'dead-letters replay',
      meaning: 'Counts those of them that can be counted by now, each once.',
      options: { json },
      run: async (input) => await (await import('./commands/dead-letters.ts')).replayDeadLetters(input, terminal),
    },
    {
      name: 'dead-letters purge',
      meaning: 'Drops the bytes of dead letters for good.',
      options: {
        state: {
          type: 'string',
          required: true,
          value: 'STATES',
          meaning: 'Of those that are kept, published, counted, superseded; several with commas between.',
        },
        'older-than': { type: 'string', value: 'AGE', meaning: 'Of those that were kept this long ago, as 30d; without it, whenever.' },
        yes,
        json,
      },
      run: async (input) => await (await import('./commands/dead-letters.ts')).purgeDeadLetters(input, terminal),
    },
  ],
})
