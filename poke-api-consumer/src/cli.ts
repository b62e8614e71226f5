#!/usr/bin/env node
/** The consumer's command line. A further command is one more entry of the list. */
import { ignoreClosedOutput, runCommandLine } from 'service-kit'
import manifest from '../package.json' with { type: 'json' }
import { SETTINGS } from './config.ts'

ignoreClosedOutput()
process.exit(
  await runCommandLine(
    {
      name: manifest.name,
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
      ],
    },
    process.argv.slice(2),
    process.env,
    { out: (text) => void process.stdout.write(text), error: (text) => void process.stderr.write(text) },
  ),
)
