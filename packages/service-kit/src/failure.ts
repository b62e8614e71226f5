/** What is said, and what the process answers, when it ends by an error. */
import { EXIT, ServiceError } from './service-error.ts'

export interface Failure {
  readonly exitCode: number
  /** What was expected says what to do and needs no stack; anything else is a mistake in the program, where the stack is what helps. */
  readonly expected: boolean
  readonly message: string
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ServiceError) return { exitCode: error.exitCode, expected: true, message: error.message }
  const text = error instanceof Error ? error.message : String(error)
  return { exitCode: EXIT.software, expected: false, message: `a mistake in this program ends it: ${text}` }
}
