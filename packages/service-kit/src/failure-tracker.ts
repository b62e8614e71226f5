/** Tracks which parts fail now. The end of the failure is reported when all parts work again, not when one of them does. */

export interface FailureObserver {
  /** A part failed and will be retried. Called after each failed attempt. */
  readonly failed: (error: Error) => void
  /** All parts work again. */
  readonly over: () => void
}

export class FailureTracker {
  readonly #observer: FailureObserver
  readonly #parts = new Set<string>()

  constructor(observer: FailureObserver) {
    this.#observer = observer
  }

  /** Records a failure of a part. @param part any unique name */
  failed(part: string, error: Error): void {
    this.#parts.add(part)
    this.#observer.failed(error)
  }

  /** The part works, or is not needed any more. */
  worked(part: string): void {
    if (this.#parts.delete(part) && this.#parts.size === 0) this.#observer.over()
  }
}
