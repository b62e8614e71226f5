/** What is wrong now, part by part, so that one part that works does not speak for another one that does not. */

export interface FailureObserver {
  /** A part failed; it is tried again. Said at each attempt. */
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

  /** @param part by any name */
  failed(part: string, error: Error): void {
    this.#parts.add(part)
    this.#observer.failed(error)
  }

  /** It worked, or it is not needed any more. */
  worked(part: string): void {
    if (this.#parts.delete(part) && this.#parts.size === 0) this.#observer.over()
  }
}
