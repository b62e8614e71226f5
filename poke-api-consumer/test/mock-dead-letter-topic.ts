/** A dead-letter topic in memory, which fails where a test says so. */
import type { ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetterTopic, KeptDeadLetter } from '../src/application/ports.ts'

export class MockDeadLetterTopic implements DeadLetterTopic {
  readonly published: KeptDeadLetter[] = []
  /** Taken one by one by publishing. */
  readonly failures: Error[] = []

  /** What it would refuse letters for, taken one by one by the questions for it. */
  readonly refusals: ServiceError[] = []

  async refused(): Promise<ServiceError | null> {
    return this.refusals.shift() ?? null
  }

  async publish(letters: readonly KeptDeadLetter[]): Promise<void> {
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
    this.published.push(...letters)
  }

  async close(): Promise<void> {}
}
