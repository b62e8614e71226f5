/** The places between the steps from the topic to the counts where a process can die: named, so that a test can make it die there. */
export const CRASH_POINTS = [
  // A partition is opened: everybody else who had it is fenced, and nothing was read yet.
  'opened',
  // 1. A response is here; nothing of it was looked at.
  'fetched',
  // 2. Its records are added up, in memory alone.
  'walked',
  // 3. The commit has begun; whether it comes to anything is open.
  'committing',
  // Position, counts, last sequences and dead letters are stored; nobody was told.
  'committed',
  // 4. The file shows it.
  'exported',
  // Dead letters are in their topic; the store does not know it.
  'letters-published',
  // The store knows it.
  'letters-marked',
  // The group has the position, for tools that show lag.
  'mirrored',
] as const

export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Hears where counting is, never once for each record; production passes none. */
export type CrashHook = (point: CrashPoint) => void
