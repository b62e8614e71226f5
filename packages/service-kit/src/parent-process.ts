/** Messages from a service to the process that started it with a channel to it, as `dev/start.ts` does. */

/** Sent when the HTTP server listens. */
export interface Listening {
  readonly type: 'listening'
  readonly port: number
}

/** Resolves when the message was sent; at once if there is no parent process with a channel, or if it has ended. */
export function tellParent<Message extends { readonly type: string }>(message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    // An error here means that the parent process is ending: `disconnect` reports that.
    else process.send(message, undefined, undefined, () => resolve())
  })
}
