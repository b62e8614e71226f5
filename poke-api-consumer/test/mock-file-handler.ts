/** A file in memory, which has the published document like the real one, with failures that a test sets. */
import type { TypeCountsSink } from '../src/application/ports.ts'
import type { TypeCounts } from '../src/entities/tally.ts'
import { typeCountsDocument } from '../src/infrastructure/file-handling/type-counts-file.ts'

export class MockFileHandler implements TypeCountsSink {
  /** All published documents, oldest first. */
  readonly written: TypeCounts[] = []
  /** The failures of the next writes. A write that fails leaves the published document. */
  readonly failures: Error[] = []
  /** The failures of the next comparisons with the published document. */
  readonly matchFailures: Error[] = []
  #published: { readonly counts: TypeCounts; readonly document: string } | null = null

  /** The published document; null: none yet. */
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

  /** Publishes as another instance does. */
  overwrite(counts: TypeCounts): void {
    this.#published = { counts: new Map(counts), document: typeCountsDocument(counts) }
  }
}
