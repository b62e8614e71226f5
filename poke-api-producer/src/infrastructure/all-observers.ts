/** Lets several observers hear what the controller tells one. */
import type { CaptureObserver } from '../application/ports.ts'

/** @param observers hear everything, in this order */
export function allObservers(observers: readonly CaptureObserver[]): CaptureObserver {
  const tell = (event: (observer: CaptureObserver) => void) => observers.forEach(event)
  return {
    captured: (capture) => tell((observer) => observer.captured(capture)),
    missing: (id) => tell((observer) => observer.missing(id)),
    captureFailed: (error) => tell((observer) => observer.captureFailed(error)),
    published: (events, seconds) => tell((observer) => observer.published(events, seconds)),
    publishFailed: (error) => tell((observer) => observer.publishFailed(error)),
    storeFailed: (error) => tell((observer) => observer.storeFailed(error)),
    outboxDepth: (waiting, captured) => tell((observer) => observer.outboxDepth(waiting, captured)),
    paused: (paused) => tell((observer) => observer.paused(paused)),
    sweepProgress: (done, total, leftOut) => tell((observer) => observer.sweepProgress(done, total, leftOut)),
    leftOut: (id, error) => tell((observer) => observer.leftOut(id, error)),
    sweepFinished: (progress) => tell((observer) => observer.sweepFinished(progress)),
  }
}
