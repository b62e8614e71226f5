/** The message and the exit code of a process that an error ends. */
import { EXIT, ServiceError } from './service-error.ts'

export interface Failure {
  readonly exitCode: number
  /** The message of an expected error says what to do. Any other error is a mistake in the program, which only its stack explains. */
  readonly expected: boolean
  readonly message: string
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ServiceError) return { exitCode: error.exitCode, expected: true, message: error.message }
  const text = error instanceof Error ? error.message : String(error)
  return { exitCode: EXIT.software, expected: false, message: `a mistake in this program ends it: ${text}` }
}
