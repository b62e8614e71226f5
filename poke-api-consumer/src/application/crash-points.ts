/** The steps from a record to its published count. Each has a name, so that a test can end the process there. */
export const CRASH_POINTS = [
  // A partition is opened: other instances that had it are fenced, and nothing is read yet.
  'opened',
  // 1. A response has arrived, and none of its records is counted.
  'fetched',
  // 2. Its records are counted in memory.
  'walked',
  // 3. The commit is sent to the store; its outcome is not known.
  'committing',
  // Position, counts, last sequences and dead letters are stored; no observer knows it yet.
  'committed',
  // 4. The file has the new counts.
  'exported',
  // Dead letters are in their topic, but not marked in the store.
  'dead-letters-published',
  // They are marked as published in the store.
  'dead-letters-marked',
  // The committed offset of the group is the position, for tools that show lag.
  'mirrored',
] as const

export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Called at each step, but never for each record. Only tests pass one. */
export type CrashHook = (point: CrashPoint) => void
