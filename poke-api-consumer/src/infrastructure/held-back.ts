/** What transactions of producers keep from being counted. */
import type { CountedResponse } from '../application/ports.ts'

/** How many records of a partition an open transaction holds back: beyond what may be read, and not counted yet. */
export function heldBack({ highWatermark, lastStableOffset, position }: CountedResponse): number {
  return Math.max(0, highWatermark - Math.max(lastStableOffset, position))
}
