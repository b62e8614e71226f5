/** The process that started this one with a channel to it (`dev/start.ts` does) is told what it cannot know. */

export type MessageToParent =
  /** The HTTP server listens. */
  | { readonly type: 'listening'; readonly port: number }
  /** All of a sweep is in the topic: how many Pokémon, and how many of them have each type; and how many could not be had, with a line for each of the first. */
  | {
      readonly type: 'sweep-finished'
      readonly captured: number
      readonly types: Readonly<Record<string, number>>
      readonly leftOut: { readonly count: number; readonly lines: readonly string[] }
    }

/** Resolves when the message is on its way; at once where there is no such process, or it is gone. */
export function tellParent(message: MessageToParent): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    // An error here means that it is going away: that is heard as `disconnect`.
    else process.send(message, undefined, undefined, () => resolve())
  })
}
