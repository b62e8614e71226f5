/** Lets several observers hear what the controller tells one. */
import type { CountObserver } from '../application/ports.ts'

/** @param observers hear everything, in this order */
export function allObservers(observers: readonly CountObserver[]): CountObserver {
  const tell = (event: (observer: CountObserver) => void) => observers.forEach(event)
  return {
    partitionsSeen: (partitions) => tell((observer) => observer.partitionsSeen(partitions)),
    totals: (totals) => tell((observer) => observer.totals(totals)),
    opened: (partition, position) => tell((observer) => observer.opened(partition, position)),
    counted: (partition, response) => tell((observer) => observer.counted(partition, response)),
    committed: (partition, seconds) => tell((observer) => observer.committed(partition, seconds)),
    fenced: (partition) => tell((observer) => observer.fenced(partition)),
    stopped: (partition, loss) => tell((observer) => observer.stopped(partition, loss)),
    skipped: (partition, loss) => tell((observer) => observer.skipped(partition, loss)),
    closed: (partition) => tell((observer) => observer.closed(partition)),
    storeFailed: (error) => tell((observer) => observer.storeFailed(error)),
    storeWorked: () => tell((observer) => observer.storeWorked()),
    deadLettersPublished: (letters) => tell((observer) => observer.deadLettersPublished(letters)),
    deadLetterPublishingFailed: (error) => tell((observer) => observer.deadLetterPublishingFailed(error)),
    deadLetterPublishingWorked: () => tell((observer) => observer.deadLetterPublishingWorked()),
    fileWritten: () => tell((observer) => observer.fileWritten()),
    fileFailed: (error) => tell((observer) => observer.fileFailed(error)),
  }
}
