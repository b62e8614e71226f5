/** The service's log: JSON lines for machines, or readable lines for people. */
import { type DestinationStream, destination, type Logger, type LoggerOptions, pino } from 'pino'
import { printableJson, printableLines } from './foreign-text.ts'
import { ServiceError } from './service-error.ts'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** `auto`: readable in a terminal, JSON elsewhere. */
export type LogFormat = 'auto' | 'json' | 'readable'

export interface CreateLoggerOptions {
  /** The service's name, in every line. */
  readonly service: string
  readonly level: LogLevel
  readonly format: LogFormat
  /** The destination of the lines, instead of the standard output. */
  readonly stream?: DestinationStream
}

/**
 * Lines are written before the call returns, so that the last lines of a process are never lost. If the reader of the standard output has closed it
 * (EPIPE), the lines are dropped, and the service continues.
 */
export async function createLogger({ service, level, format, stream }: CreateLoggerOptions): Promise<Logger> {
  const options: LoggerOptions = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError },
    // Makes the lines harmless in a terminal, whatever they quote.
    hooks: { streamWrite: printableJson },
  }
  const inTerminal = process.stdout.isTTY === true
  if (format === 'json' || (format === 'auto' && !inTerminal)) return pino(options, stream ?? destination({ dest: 1, sync: true }))
  // Loaded only when it is needed, so that it costs a service that logs JSON nothing.
  const { default: pretty } = await import('pino-pretty')
  return pino(
    options,
    pretty({
      sync: true,
      // A log that another program collects has no colours.
      colorize: inTerminal && stream === undefined,
      destination: (stream as NodeJS.WritableStream | undefined) ?? 1,
      translateTime: 'SYS:HH:MM:ss',
      // The messages contain what the other fields say, except for the stack of a mistake in the program.
      include: 'time,level,msg,err',
      messageFormat: (line, message) => printableLines(String(line[message])),
    }),
  )
}

/** The fields of an error besides its message: code and cause of an expected error, everything of any other. */
export function logDetails(error: unknown): object {
  if (!(error instanceof ServiceError)) return { err: error }
  return error.cause instanceof Error ? { code: error.code, cause: error.cause.message } : { code: error.code }
}

/** The fields of an error in a line. Only an unexpected error, which is a mistake in the program, has a stack. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { name } = error
  const message = printableLines(error.message)
  const cause = error.cause instanceof Error ? { cause: printableLines(`${error.cause.name}: ${error.cause.message}`) } : {}
  if (error instanceof ServiceError) return { type: name, code: error.code, message, ...cause }
  return { type: name, message, ...cause, stack: printableLines(error.stack ?? '') }
}
