/** A dead-letter topic in memory, with failures that a test sets. */
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetterTopic, KeptDeadLetter } from '../src/application/ports.ts'

export class MockDeadLetterTopic implements DeadLetterTopic {
  readonly published: KeptDeadLetter[] = []
  /** The failures of the next calls of `publish`. */
  readonly failures: Error[] = []
  /** The answers of the next calls of `refused`. */
  readonly refusals: ServiceError[] = []

  async refused(): Promise<ServiceError | null> {
    return this.refusals.shift() ?? null
  }

  async publish(deadLetters: readonly KeptDeadLetter[]): Promise<void> {
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
    this.published.push(...deadLetters)
  }

  async close(): Promise<void> {}
}
