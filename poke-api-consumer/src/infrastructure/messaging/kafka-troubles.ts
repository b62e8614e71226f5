/** What is wrong with Kafka now, part by part, so that one broker that answers does not speak for another one that does not. */

export interface KafkaTroublesObserver {
  /** Something of Kafka does not answer, or not as it should; it is tried again. Said at each attempt. */
  brokerAway(error: Error): void
  /** Everything answers again. */
  brokerBack(): void
}

export class KafkaTroubles {
  readonly #observer: KafkaTroublesObserver
  readonly #parts = new Set<string>()

  constructor(observer: KafkaTroublesObserver) {
    this.#observer = observer
  }

  /** @param part of Kafka, by any name */
  failed(part: string, error: Error): void {
    this.#parts.add(part)
    this.#observer.brokerAway(error)
  }

  /** It answered, or it is not needed any more. */
  worked(part: string): void {
    if (this.#parts.delete(part) && this.#parts.size === 0) this.#observer.brokerBack()
  }
}
