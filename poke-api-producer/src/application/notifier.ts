/** Wakes the loops that sleep until something has changed. */
export class Notifier {
  #sleeping: (() => void)[] = []

  /** Resolves at the next `notify`. Check the condition first and call this in the same turn of the event loop, so that no change is missed. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#sleeping.push(resolve))
  }

  notify(): void {
    const sleeping = this.#sleeping
    this.#sleeping = []
    for (const resolve of sleeping) resolve()
  }
}
