/** The settings as a command needs them: those of the service, warnings said. */
import type { CommandInput } from '@poke-api-pipeline/service-kit'
import { type Config, readConfig } from '../config.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'

/** @throws ServiceError which names every wrong setting */
export function commandConfig(env: CommandInput['env'], terminal: Terminal): Config {
  const { config, warnings } = readConfig(env)
  for (const warning of warnings) terminal.error(`${warning}\n`)
  return config
}
