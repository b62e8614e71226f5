/** Follows `/api/events` as the page does: requests the stream again when it breaks off, and keeps every snapshot. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Snapshot } from '@poke-api-pipeline/poke-api-consumer/snapshot'
import { patience } from './fault-run.ts'

/** Pause before the stream is requested again, in ms. */
const RETRY = 20

export class Snapshots {
  /** All snapshots received, oldest first. */
  readonly received: Snapshot[] = []
  /** How often a stream began. */
  streams = 0
  readonly #url: string
  readonly #closing = new AbortController()
  readonly #followed: Promise<void>

  /** @param url of the service */
  constructor(url: string) {
    this.#url = `${url}/api/events`
    this.#followed = this.#follow()
  }

  get latest(): Snapshot | undefined {
    return this.received.at(-1)
  }

  /** Resolves with the first snapshot that satisfies the condition, beginning with the newest one. */
  async until(what: string, isSo: (snapshot: Snapshot) => boolean, ms = patience(30_000)): Promise<Snapshot> {
    const deadline = performance.now() + ms
    for (;;) {
      const { latest } = this
      if (latest !== undefined && isSo(latest)) return latest
      if (performance.now() > deadline) throw new Error(`${what}: not within ${ms} ms; the last snapshot: ${JSON.stringify(latest)}`)
      await sleep(10)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#followed
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        const { body } = await fetch(this.#url, { signal })
        this.streams++
        let text = ''
        for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) {
          const events = (text + part).split('\n\n')
          text = events.pop() ?? ''
          for (const event of events) this.#hear(event)
        }
      } catch {
        // The service does not answer, or this was closed: the loop decides.
      }
      await sleep(RETRY, undefined, { signal }).catch(() => {})
    }
  }

  #hear(event: string): void {
    if (/^event:/m.test(event)) return
    const data = /^data: (.*)$/m.exec(event)?.[1]
    if (data !== undefined) this.received.push(JSON.parse(data) as Snapshot)
  }
}
