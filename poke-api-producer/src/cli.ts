#!/usr/bin/env node
/** The producer's command line. A further command is one more entry of the list. */
import { deferSchemas } from '@poke-api-pipeline/kafka-common'
import { runProgram, usageError } from '@poke-api-pipeline/service-kit'
import manifest from '../package.json' with { type: 'json' }
import { SETTINGS } from './config.ts'

deferSchemas()
await runProgram({
  name: 'poke-api-producer',
  version: manifest.version,
  description: `${manifest.description}.`,
  settings: SETTINGS,
  commands: [
    {
      name: '',
      meaning: 'Captures Pokémon and publishes them, until it is stopped or its sweep is finished.',
      options: { mode: { type: 'string', value: 'random|sweep', meaning: 'The same as CAPTURE_MODE, and goes before it.' } },
      async run({ options: { mode }, env }) {
        if (mode !== undefined && mode !== 'random' && mode !== 'sweep') throw usageError(`--mode is "${mode}"; accepted: random or sweep`)
        // Loaded here, so that the help needs no Kafka client.
        const { run } = await import('./main.ts')
        return await run(mode === undefined ? env : { ...env, CAPTURE_MODE: mode })
      },
    },
    {
      name: 'check-api',
      meaning: 'Asks PokeAPI for one Pokémon, as the service would, and says whether it answers: exit code 0, or 75 where it does not.',
      async run({ env }) {
        const { checkApi } = await import('./check-api.ts')
        return await checkApi(env)
      },
    },
  ],
})
