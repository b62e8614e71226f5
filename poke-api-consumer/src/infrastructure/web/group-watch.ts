/** Polls the store for the partitions of the whole group once a second: other instances count too, and only the store has their counts. */
import type { DeadLetterReader, TallyStore } from '../../application/ports.ts'
import type { GroupProgress } from '../group-progress.ts'
import type { LiveState } from './live-state.ts'

/** The time between two polls, in ms: the greatest age of the figures on the page. */
const INTERVAL = 1000
/** The time between two polls until the first one succeeds, in ms: the store is being opened. */
const FIRST_INTERVAL = 100
/** After this many polls dead letters are counted by reason again though none is new: some may have been replayed or purged. */
const POLLS_BETWEEN_REASONS = 10

/** The part of all time that counting by reason may take: it is slow where there are millions of dead letters. */
const SHARE_OF_REASONS = 1 / 20

/** The part of the store that the page reads. */
export type GroupStore = Pick<TallyStore, 'partitions'> & DeadLetterReader

/**
 * Polls until the signal is aborted. The page shows that a poll has failed, and another one follows a second later.
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
      // Counting by reason reads all dead letters, so it is not done every second.
      const isDue = deadLetters !== known || (deadLetters > 0 && ++age >= POLLS_BETWEEN_REASONS)
      if (isDue && now() >= notBefore) {
        const began = now()
        reasons = await store.deadLetterReasons()
        notBefore = now() + (now() - began) / SHARE_OF_REASONS
        known = deadLetters
        age = 0
      }
      if (!signal.aborted) state.storeRead(reasons)
    } catch (error) {
      if (!signal.aborted) state.storeReadFailed(error as Error)
    }
    await wait(progress.isKnown ? INTERVAL : FIRST_INTERVAL, signal)
  }
}
