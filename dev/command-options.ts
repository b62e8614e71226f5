/** The command-line options of this workspace's commands. */
import { parseArgs } from 'node:util'
import { EXIT } from '@poke-api-pipeline/service-kit'

/**
 * The values of the options that this process was started with. It ends the process after `--help` (exit code 0), and with one line and the
 * usage where an option is unknown (exit code 64).
 * @param usage of the command, whole lines
 * @param defaults of all options, by name without dashes
 */
export function commandOptions<Name extends string>(usage: string, defaults: Readonly<Record<Name, string>>): Record<Name, string> {
  const options = Object.fromEntries(
    Object.entries<string>(defaults).map(([name, value]) => [name, { type: 'string' as const, default: value }]),
  )
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h' } } })
    if (!values.help) return values as Record<Name, string>
    process.stdout.write(usage)
    process.exit(EXIT.ok)
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS_')) throw error
    process.stderr.write(`${(error as Error).message}\n\n${usage}`)
    process.exit(EXIT.usage)
  }
}
