/** The command line of a service: its commands, their options and help, and the exit code. */
import { parseArgs } from 'node:util'
import { environmentHere } from './environment-here.ts'
import { trustExtraAuthorities } from './extra-authorities.ts'
import { failureOf } from './failure.ts'
import { printableLines } from './foreign-text.ts'
import { ownError } from './own-errors.ts'
import { EXIT, ServiceError } from './service-error.ts'
import type { Settings } from './settings.ts'

export interface CommandOption {
  readonly type: 'boolean' | 'string'
  /** The placeholder of its value in the help, as `sweep|random`. */
  readonly value?: string
  readonly meaning: string
  /** The command refuses to run without this option. */
  readonly required?: boolean
}

export interface CommandInput {
  /** The given options, by name without dashes. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>
  /** The arguments behind the name of the command. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface Command {
  /** One word or several, as `dead-letters list`; empty for the command that runs without a name. */
  readonly name: string
  readonly meaning: string
  readonly options?: Readonly<Record<string, CommandOption>>
  /** The placeholder of further arguments in the help, as `[id…]`; without it the command takes none. */
  readonly args?: string
  /** @returns the exit code @throws usageError for invalid arguments */
  run(input: CommandInput): Promise<number>
}

export interface CommandLine {
  readonly name: string
  readonly version: string
  readonly description: string
  readonly commands: readonly Command[]
  /** Shown in the help. */
  readonly settings: Settings
}

/** Takes the text that a command prints. */
export interface Output {
  out(text: string): void
  error(text: string): void
}

/**
 * Finds the command, parses its options and runs it. An expected error is printed as one message; a mistake in the program with its stack as well.
 * The environment of the working directory is added to that of the process: see `environmentHere`.
 * @param argv without the program's own name
 * @returns the exit code
 */
export async function runCommandLine(
  line: CommandLine,
  argv: readonly string[],
  env: CommandInput['env'],
  output: Output,
): Promise<number> {
  try {
    const group = groupOf(line, argv)
    if (group.length > 0 && asksForHelp(argv)) {
      output.out(groupHelpText(line, group))
      return EXIT.ok
    }
    const { command, rest } = findCommand(line, argv)
    if (asksForHelp(rest)) {
      output.out(command.name === '' ? helpText(line) : commandHelpText(line, command))
      return EXIT.ok
    }
    if (rest.includes('--version')) {
      output.out(`${line.name} ${line.version}\n`)
      return EXIT.ok
    }
    const input = parse(command, rest)
    const here = environmentHere(env, Object.keys(line.settings))
    trustExtraAuthorities(here.env, env)
    if (here.notice !== null) output.error(`${here.notice}\n`)
    return await command.run({ ...input, env: here.env })
  } catch (error) {
    const { message, expected, exitCode } = failureOf(error)
    output.error(`${line.name}: ${printableLines(message)}\n`)
    if (error instanceof ServiceError && error.exitCode === EXIT.usage) output.error(`\n${usageText(line)}`)
    if (!expected && error instanceof Error) output.error(`${printableLines(error.stack ?? '')}\n`)
    return exitCode
  }
}

/** An error for invalid arguments: the usage is printed behind its message. */
export function usageError(message: string): ServiceError {
  return ownError('usage/wrong', message)
}

function asksForHelp(argv: readonly string[]): boolean {
  return argv.includes('--help') || argv.includes('-h')
}

/** The commands whose names begin with the given words, as `dead-letters list` begins with `dead-letters`; none if the words are a command themselves. */
function groupOf({ commands }: CommandLine, argv: readonly string[]): Command[] {
  const words = wordsOf(argv).join(' ')
  if (words === '' || commands.some(({ name }) => name === words)) return []
  return commands.filter(({ name }) => name.startsWith(`${words} `))
}

/** The arguments before the first option. */
function wordsOf(argv: readonly string[]): readonly string[] {
  const firstOption = argv.findIndex((word) => word.startsWith('-'))
  return firstOption === -1 ? argv : argv.slice(0, firstOption)
}

/** The command whose name the arguments begin with; of several, the one with the longest name. */
function findCommand(line: CommandLine, argv: readonly string[]): { command: Command; rest: string[] } {
  const { commands } = line
  const words = wordsOf(argv)
  for (let count = words.length; count >= 0; count--) {
    const command = commands.find(({ name }) => name === words.slice(0, count).join(' '))
    if (command === undefined) continue
    if (count < words.length && command.args === undefined) break
    return { command, rest: argv.slice(count) }
  }
  const group = groupOf(line, argv)
  if (group.length > 0) throw usageError(`${words.join(' ')} needs one more word: ${group.map(({ name }) => name).join(', ')}`)
  throw usageError(`there is no command ${JSON.stringify(words.join(' '))}`)
}

function parse(command: Command, rest: string[]): Pick<CommandInput, 'options' | 'args'> {
  const options = Object.fromEntries(Object.entries(command.options ?? {}).map(([name, { type }]) => [name, { type }]))
  try {
    const { values, positionals } = parseArgs({ args: rest, options, allowPositionals: command.args !== undefined, strict: true })
    return { options: { ...values } as CommandInput['options'], args: positionals }
  } catch (error) {
    throw usageError((error as Error).message)
  }
}

function usageText({ name, commands }: CommandLine): string {
  const lines = commands.map((command) => `${name} ${synopsis(command)}`.trimEnd())
  lines.push(`${name} --help | --version`)
  return `Usage: ${lines.join('\n       ')}\n`
}

function synopsis({ name, options = {}, args = '' }: Command): string {
  const flags = Object.entries(options).map(([option, { value, required }]) => {
    const flag = `--${option}${value === undefined ? '' : ` ${value}`}`
    return required ? flag : `[${flag}]`
  })
  return [name, ...flags, args].filter((part) => part !== '').join(' ')
}

function helpText(line: CommandLine): string {
  const commands = line.commands.map((command): [string, string] => [`${line.name} ${command.name}`.trimEnd(), command.meaning])
  // Commands can share an option.
  const options = new Map(line.commands.flatMap(optionRows).map((row) => [row.join(' '), row]))
  // The meanings contain Markdown.
  const settings = Object.entries(line.settings).map(([name, { default: text, meaning }]): [string, string] => [
    name,
    `${meaning.replaceAll('`', '')}${text === '' ? '' : ` [${text}]`}`,
  ])
  return [
    `${line.description}\n`,
    usageText(line),
    section('Commands', commands),
    ...(options.size > 0 ? [section('Options', [...options.values()])] : []),
    section('Settings, from the environment [and their defaults]', settings),
  ].join('\n')
}

/** Does not list the settings: they are many, and the same for all commands. */
function commandHelpText({ name }: CommandLine, command: Command): string {
  const options = optionRows(command)
  return [
    `${command.meaning}\n`,
    `Usage: ${name} ${synopsis(command)}\n`,
    ...(options.length > 0 ? [section('Options', options)] : []),
    `${name} --help shows all commands and the settings.\n`,
  ].join('\n')
}

function groupHelpText({ name }: CommandLine, group: readonly Command[]): string {
  return [
    `Usage: ${group.map((command) => `${name} ${synopsis(command)}`).join('\n       ')}\n`,
    section(
      'Commands',
      group.map((command) => [`${name} ${command.name}`, command.meaning]),
    ),
    `Add --help to a command to see its options. ${name} --help shows all commands and the settings.\n`,
  ].join('\n')
}

function optionRows({ options = {} }: Command): [string, string][] {
  return Object.entries(options).map(([name, { value, meaning }]) => [`--${name}${value === undefined ? '' : ` ${value}`}`, meaning])
}

function section(heading: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return `${heading}:\n${rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join('')}`
}
