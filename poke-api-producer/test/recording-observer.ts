/** An observer that hears everything and keeps what tests ask about. */
import type { CaptureObserver } from '../src/application/ports.ts'
import type { SweepProgress } from '../src/entities/capture-order.ts'
import type { Capture } from '../src/entities/pokemon.ts'

export class RecordingObserver implements CaptureObserver {
  readonly capturedIds: number[] = []
  readonly missingIds: number[] = []
  readonly leftOutIds: number[] = []
  readonly captureFailures: Error[] = []
  readonly publishFailures: Error[] = []
  readonly storeFailures: Error[] = []
  /** Whether capturing paused or went on, in order. */
  readonly pauses: boolean[] = []
  readonly finishedSweeps: SweepProgress[] = []
  publishedEvents = 0
  depth = -1
  deepest = 0
  done = 0
  total = 0

  captured(capture: Capture): void {
    this.capturedIds.push(capture.pokemon.id)
  }
  missing(id: number): void {
    this.missingIds.push(id)
  }
  captureFailed(error: Error): void {
    this.captureFailures.push(error)
  }
  published(events: number): void {
    this.publishedEvents += events
  }
  publishFailed(error: Error): void {
    this.publishFailures.push(error)
  }
  storeFailed(error: Error): void {
    this.storeFailures.push(error)
  }
  outboxDepth(events: number): void {
    this.depth = events
    this.deepest = Math.max(this.deepest, events)
  }
  paused(paused: boolean): void {
    this.pauses.push(paused)
  }
  sweepProgress(done: number, total: number): void {
    this.done = done
    this.total = total
  }
  leftOut(id: number): void {
    this.leftOutIds.push(id)
  }
  sweepFinished(progress: SweepProgress): void {
    this.finishedSweeps.push(progress)
  }
}
