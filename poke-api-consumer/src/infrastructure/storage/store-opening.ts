/** Opens a store that may be unreachable when the service starts: it retries until the store opens. Reads before that throw an error. */
import { ServiceError } from '@poke-api-pipeline/service-kit'
import type { DeadLetterReader, KeptDeadLetter, PartitionSummary, TallyStore } from '../../application/ports.ts'
import { StoreError } from '../../errors.ts'
import type { Store } from './store.ts'

export interface StoreOpeningOptions {
  readonly open: () => Promise<Store>
  /** Called when an attempt failed. Another one follows. */
  readonly failed: (error: Error) => void
  /** Resolves after that many ms, or when the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/** The wait between two attempts, in ms: it doubles each time. */
const FIRST_RETRY = 250
const LONGEST_RETRY = 5000

export class StoreOpening implements Pick<TallyStore, 'partitions'>, DeadLetterReader {
  readonly #options: StoreOpeningOptions
  #store: Store | null = null

  constructor(options: StoreOpeningOptions) {
    this.#options = options
  }

  /** @returns the store; null where the signal was aborted first @throws StoreError where another attempt would not help */
  async open(signal: AbortSignal): Promise<Store | null> {
    const { open, failed, wait } = this.#options
    for (let retry = FIRST_RETRY; !signal.aborted; retry = Math.min(retry * 2, LONGEST_RETRY)) {
      try {
        this.#store = await open()
        return this.#store
      } catch (error) {
        if (!(error instanceof ServiceError && error.retriable)) throw error
        failed(error)
      }
      await wait(retry, signal)
    }
    return null
  }

  async partitions(): Promise<PartitionSummary[]> {
    return await this.#opened().partitions()
  }

  async deadLetters(before: number | null, limit: number, maxBytes?: number): Promise<KeptDeadLetter[]> {
    return await this.#opened().deadLetters(before, limit, maxBytes)
  }

  async deadLetterReasons(): Promise<ReadonlyMap<string, number>> {
    return await this.#opened().deadLetterReasons()
  }

  async close(): Promise<void> {
    await this.#store?.close()
  }

  #opened(): Store {
    if (this.#store === null) throw new StoreError('unreachable', 'the store is not open yet; another attempt follows')
    return this.#store
  }
}
