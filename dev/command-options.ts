/** Options of this workspace's commands: what is not understood, and who asks for help, is answered in words. */
import { parseArgs } from 'node:util'
import { EXIT } from '@poke-api-pipeline/service-kit'

/**
 * The values of the options that this process was started with. Ends the process after `--help` (exit code 0), and with one line and the
 * usage where an option is not understood (64).
 * @param usage of the command, whole lines
 * @param defaults of all options, by their names without dashes
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
