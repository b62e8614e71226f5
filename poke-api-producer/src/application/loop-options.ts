/** What each loop of the controller gets: capturing, storing and publishing. */
import type { BackOff, Clock } from '@poke-api-pipeline/service-kit'
import type { CrashHook } from './crash-points.ts'
import type { Notifier } from './notifier.ts'
import type { CaptureObserver } from './ports.ts'

export interface LoopOptions {
  readonly observer: CaptureObserver
  /** Wakes the other loops, and this one. */
  readonly notifier: Notifier
  /** Of this loop alone. */
  readonly backoff: BackOff
  readonly crashPoint: CrashHook
  readonly clock: Clock
}
