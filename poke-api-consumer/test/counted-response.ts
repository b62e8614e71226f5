/** A response for observers: empty, except for the fields that a test sets. */
import type { CountedResponse } from '../src/application/ports.ts'

export function countedResponse(part: Partial<CountedResponse> = {}): CountedResponse {
  return {
    counted: 0,
    duplicates: 0,
    deadLetters: new Map(),
    recent: [],
    newestTimestamp: -1,
    newestOrigin: null,
    bytes: 0,
    position: 0,
    highWatermark: 0,
    lastStableOffset: 0,
    ...part,
  }
}
