/** The moments between the steps of a capture's way at which a process may be killed: named, so that a test can kill it there. */
export const CRASH_POINTS = [
  // 1. The capture order has named a Pokémon; nothing is stored of it yet.
  'named',
  // 2. Its body has arrived, and is in memory alone.
  'obtained',
  // 3. Event, sequence and sweep progress are stored; nothing was sent.
  'stored',
  // Events that were stored without a partition have one now (rule P3); nothing was sent.
  'partitioned',
  // 4. The send has begun; whether it arrives is not known.
  'sending',
  // Kafka has acknowledged the events; they are still in the outbox.
  'acknowledged',
  // 5. The outbox has removed them.
  'forgotten',
  // All of a sweep is captured and acknowledged; that it is finished is not stored yet.
  'swept',
] as const

export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Called with each point that a capture reaches; production passes none. */
export type CrashHook = (point: CrashPoint) => void
