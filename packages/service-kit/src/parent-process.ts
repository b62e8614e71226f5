/** The process that started this one with a channel to it (dev/start.ts does): it is told what it cannot know, and its end is ours. */

/** Said when the HTTP server listens. */
export interface Listening {
  readonly type: 'listening'
  readonly port: number
}

/** Tells the parent process, where there is one that listens. */
export function tellParent(message: Listening): void {
  // The parent may end at any moment; that is heard as `disconnect`, not here.
  process.send?.(message, undefined, undefined, () => undefined)
}
