/** A file in memory: holds the published document as the real one does, and fails where a test says so. */
import type { TypeCountsSink } from '../src/application/ports.ts'
import type { TypeCounts } from '../src/entities/tally.ts'
import { typeCountsDocument } from '../src/infrastructure/file-handling/type-counts-file.ts'

export class MockFileHandler implements TypeCountsSink {
  /** Everything that was published, oldest first. */
  readonly written: TypeCounts[] = []
  /** Taken one by one by writes: that write fails, and what was published before stays. */
  readonly failures: Error[] = []
  /** Taken one by one by looks at what is published. */
  readonly matchFailures: Error[] = []
  #published: { readonly counts: TypeCounts; readonly document: string } | null = null

  /** What is published now; null: nothing yet. */
  get content(): TypeCounts | null {
    return this.#published?.counts ?? null
  }

  async write(counts: TypeCounts): Promise<void> {
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
    this.overwrite(counts)
    this.written.push(new Map(counts))
  }

  async matches(counts: TypeCounts): Promise<boolean> {
    const failure = this.matchFailures.shift()
    if (failure !== undefined) throw failure
    return this.#published?.document === typeCountsDocument(counts)
  }

  /** What another instance does: publishes without asking us. */
  overwrite(counts: TypeCounts): void {
    this.#published = { counts: new Map(counts), document: typeCountsDocument(counts) }
  }
}
