/** Hears everything and says nothing: to be completed by what one wants to hear. */
import type { CountObserver } from '@poke-api-pipeline/poke-api-consumer/ports'

const nothing = () => {}

export const silentObserver: CountObserver = {
  totals: nothing,
  opened: nothing,
  counted: nothing,
  committed: nothing,
  fenced: nothing,
  stopped: nothing,
  skipped: nothing,
  closed: nothing,
  partitionsSeen: nothing,
  storeFailed: nothing,
  storeWorked: nothing,
  deadLettersPublished: nothing,
  deadLetterPublishingFailed: nothing,
  deadLetterPublishingWorked: nothing,
  fileWritten: nothing,
  fileFailed: nothing,
}
