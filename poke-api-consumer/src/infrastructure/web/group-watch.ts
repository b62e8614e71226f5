/** Looks at the whole group's partitions in the store once a second: other instances count too, and only the store knows. */
import type { DeadLetterReader, TallyStore } from '../../application/ports.ts'
import type { GroupProgress } from '../group-progress.ts'
import type { LiveState } from './live-state.ts'

/** In ms: what the page shows of the group is at most this old. */
const INTERVAL = 1000
/** As long as the store was never read, in ms: it is opened at this moment. */
const FIRST_INTERVAL = 100
/** Looks after which dead letters are counted by reason again though none is new: some may have been replayed or purged meanwhile. */
const LOOKS_BETWEEN_REASONS = 10

/** Counting them by reason may take its time where there are millions: at most this part of all time. */
const SHARE_OF_REASONS = 1 / 20

/** What the page reads of the store. */
export type GroupStore = Pick<TallyStore, 'partitions'> & DeadLetterReader

/**
 * Runs until the signal is aborted. A look that fails is shown, and taken again a second later.
 * @param wait resolves after that many ms, or as soon as the signal is aborted
 * @param now a clock that never goes backwards, in ms
 */
export async function watchGroup(
  store: GroupStore,
  progress: Pick<GroupProgress, 'readingStore' | 'storeRead' | 'isKnown'>,
  state: LiveState,
  signal: AbortSignal,
  wait: (ms: number, signal: AbortSignal) => Promise<void>,
  now: () => number,
): Promise<void> {
  let known = 0
  let age = 0
  let notBefore = Number.NEGATIVE_INFINITY
  let reasons: ReadonlyMap<string, number> = new Map()
  while (!signal.aborted) {
    progress.readingStore()
    try {
      const partitions = await store.partitions()
      progress.storeRead(partitions)
      const deadLetters = partitions.reduce((total, partition) => total + partition.deadLetters, 0)
      // Counting them by reason reads them all: not every second.
      const isDue = deadLetters !== known || (deadLetters > 0 && ++age >= LOOKS_BETWEEN_REASONS)
      if (isDue && now() >= notBefore) {
        const began = now()
        reasons = await store.deadLetterReasons()
        notBefore = now() + (now() - began) / SHARE_OF_REASONS
        known = deadLetters
        age = 0
      }
      if (!signal.aborted) state.looked(reasons)
    } catch (error) {
      if (!signal.aborted) state.lookFailed(error as Error)
    }
    await wait(progress.isKnown ? INTERVAL : FIRST_INTERVAL, signal)
  }
}
