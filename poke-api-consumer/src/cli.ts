#!/usr/bin/env node
/** The consumer's command line. A further command is one more entry of the list. */
import { deferSchemas } from '@poke-api-pipeline/kafka-common/deferred-schemas'
import { type CommandOption, runProgram } from '@poke-api-pipeline/service-kit'
import manifest from '../package.json' with { type: 'json' }
import { SETTINGS } from './config.ts'
import { processTerminal } from './infrastructure/terminal/terminal.ts'

const json: CommandOption = { type: 'boolean', meaning: 'Prints JSON, for programs.' }
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
      meaning: 'Shows the counts in the store.',
      options: { json },
      run: async (input) => await (await import('./commands/counts.ts')).showCounts(input, terminal),
    },
    {
      name: 'verify',
      meaning:
        'Counts the topic again and compares with the store; exit code 0: equal, 1: different, 2: the topic no longer contains everything that was counted, or has unread records.',
      options: { json },
      run: async (input) => await (await import('./commands/verify.ts')).verifyCounts(input, terminal),
    },
    {
      name: 'reset',
      meaning: 'Deletes the counts, so that every record that the topic still contains is counted again.',
      options: { 'from-beginning': { type: 'boolean', required: true, meaning: 'Required, as a confirmation.' }, yes, json },
      run: async (input) => await (await import('./commands/reset.ts')).resetCounts(input, terminal),
    },
    {
      name: 'take-group',
      meaning: 'Makes the group count into this store instead of another one; stop all instances first.',
      options: { yes, json },
      run: async (input) => await (await import('./commands/take-group.ts')).takeGroup(input, terminal),
    },
    {
      name: 'dead-letters list',
      meaning: 'Shows the records that could not be counted, newest first.',
      options: { limit: { type: 'string', value: 'N', meaning: 'The greatest number of records. [50]' }, json },
      run: async (input) => await (await import('./commands/dead-letters.ts')).listDeadLetters(input, terminal),
    },
    {
      name: 'dead-letters replay',
      meaning: 'Counts the dead letters that can be counted by now, each once.',
      options: { json },
      run: async (input) => await (await import('./commands/dead-letters.ts')).replayDeadLetters(input, terminal),
    },
    {
      name: 'dead-letters purge',
      meaning: 'Deletes the bytes of dead letters.',
      options: {
        state: {
          type: 'string',
          required: true,
          value: 'STATES',
          meaning: 'The states: kept, published, counted, superseded; separate several with commas.',
        },
        'older-than': { type: 'string', value: 'AGE', meaning: 'Only dead letters older than this, for example 30d; without it, all.' },
        yes,
        json,
      },
      run: async (input) => await (await import('./commands/dead-letters.ts')).purgeDeadLetters(input, terminal),
    },
  ],
})
