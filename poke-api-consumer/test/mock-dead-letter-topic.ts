/** A dead-letter topic in memory, which fails where a test says so. */
import type { DeadLetterTopic, KeptDeadLetter } from '../src/application/ports.ts'

export class MockDeadLetterTopic implements DeadLetterTopic {
  readonly published: KeptDeadLetter[] = []
  /** Taken one by one by publishing. */
  readonly failures: Error[] = []

  async publish(letters: readonly KeptDeadLetter[]): Promise<void> {
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
    this.published.push(...letters)
  }

  async close(): Promise<void> {}
}
