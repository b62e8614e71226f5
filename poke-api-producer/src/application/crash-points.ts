/** The places between the steps of a capture's way where a process can die: named, so that a test can make it die there. */
export const CRASH_POINTS = [
  // 1. The capture order has named a Pokémon; nothing is known of it yet.
  'named',
  // 2. Its body is here, in memory alone.
  'obtained',
  // 3. Event, sequence and sweep progress are stored; nothing was sent.
  'stored',
  // Events that were stored without a partition have one now (rule P3); nothing was sent.
  'partitioned',
  // 4. The send has begun; whether it arrives is open.
  'sending',
  // Kafka has acknowledged the events; the outbox still has them.
  'acknowledged',
  // 5. The outbox has forgotten them.
  'forgotten',
  // All of a sweep is captured and acknowledged; that it is finished is not stored yet.
  'swept',
] as const

export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Hears where a capture is; production passes none. */
export type CrashHook = (point: CrashPoint) => void
