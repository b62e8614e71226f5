#!/usr/bin/env node
/** The producer's command line. */
import { deferSchemas } from '@poke-api-pipeline/kafka-common/deferred-schemas'
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
      options: { mode: { type: 'string', value: 'random|sweep', meaning: 'The same as CAPTURE_MODE, and overrides it.' } },
      async run({ options: { mode }, env }) {
        if (mode !== undefined && mode !== 'random' && mode !== 'sweep') throw usageError(`--mode is "${mode}"; accepted: random or sweep`)
        // Loaded here, so that the help loads no Kafka client.
        const { run } = await import('./main.ts')
        return await run(mode === undefined ? env : { ...env, CAPTURE_MODE: mode })
      },
    },
    {
      name: 'check-api',
      meaning: 'Requests one Pokémon from PokeAPI, as the service does, and says whether it answers: exit code 0, or 75 if it does not.',
      async run({ env }) {
        const { checkApi } = await import('./check-api.ts')
        return await checkApi(env)
      },
    },
  ],
})
