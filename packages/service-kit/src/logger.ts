/** The service's log: JSON lines for machines, one readable line each for people. */
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
  /** Where lines go instead of the standard output. */
  readonly stream?: DestinationStream
}

/**
 * Lines are written before the call returns, so that the last words of a process are never lost. Where the reader of the standard output
 * is gone (EPIPE), they go nowhere, and the service goes on.
 */
export async function createLogger({ service, level, format, stream }: CreateLoggerOptions): Promise<Logger> {
  const options: LoggerOptions = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError },
    // Lines of JSON are harmless in a terminal too, whatever they quote.
    hooks: { streamWrite: printableJson },
  }
  const inTerminal = process.stdout.isTTY === true
  if (format === 'json' || (format === 'auto' && !inTerminal)) return pino(options, stream ?? destination({ dest: 1, sync: true }))
  // Loaded for people only: it costs whoever writes JSON nothing.
  const { default: pretty } = await import('pino-pretty')
  return pino(
    options,
    pretty({
      sync: true,
      // What is collected has no colours.
      colorize: inTerminal && stream === undefined,
      destination: (stream as NodeJS.WritableStream | undefined) ?? 1,
      translateTime: 'SYS:HH:MM:ss',
      // Messages say what the other fields say; but the stack of a mistake is nowhere else.
      include: 'time,level,msg,err',
      messageFormat: (line, message) => printableLines(String(line[message])),
    }),
  )
}

/** What a line has of an error besides its message: the code of an expected one, everything of any other. */
export function logDetails(error: unknown): object {
  if (!(error instanceof ServiceError)) return { err: error }
  return error.cause instanceof Error ? { code: error.code, cause: error.cause.message } : { code: error.code }
}

/** An error that a service expects is its message and code; an unexpected one is a mistake in the program, and its stack is what helps. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { name } = error
  const message = printableLines(error.message)
  const cause = error.cause instanceof Error ? { cause: printableLines(`${error.cause.name}: ${error.cause.message}`) } : {}
  if (error instanceof ServiceError) return { type: name, code: error.code, message, ...cause }
  return { type: name, message, ...cause, stack: printableLines(error.stack ?? '') }
}
