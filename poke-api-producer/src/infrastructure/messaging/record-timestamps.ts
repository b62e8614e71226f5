/**
 * Chooses the timestamp of a record. It is the time of the capture if the topic accepts that, because consumers, retention and lag tools use it.
 * `ce_time` has the time of the capture in any case.
 *
 * A topic may refuse timestamps that are too old or too new (`message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`), and then it
 * refuses whole batches. The broker's refusal names the range that it accepts. From then on a time outside that range is replaced by the time of
 * sending; if this machine's clock is so wrong that even this time is outside, by the nearest time that the topic accepts.
 */

/** Distance from the ends of the range, in ms, because the range moves while a send is under way; a quarter of a narrow range. */
const CLEARANCE = 1000

/** The range that the topic accepts, relative to the time of sending by this machine's clock, in ms. */
interface Range {
  readonly oldest: number
  readonly newest: number
}

export class RecordTimestamps {
  readonly #now: () => number
  #range: Range | null = null

  /** @param now ms since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** @param captured when it was captured, RFC 3339 @returns ms since 1970 */
  of(captured: string): number {
    const time = Date.parse(captured)
    const now = this.#now()
    // A capture is never later than its send. The timestamp of a clock that was fast would be refused, which would block all later events.
    if (this.#range === null) return Math.min(time, now)
    const { oldest, newest } = this.#range
    const clearance = Math.min(CLEARANCE, (newest - oldest) / 4)
    const within = (ms: number) => Math.min(Math.max(ms, oldest + clearance), newest - clearance)
    const age = time - now
    return age <= 0 && within(age) === age ? time : Math.round(now + within(0))
  }

  /** Called when a broker has refused a timestamp. @param message of the broker; if it does not name the range, the time of sending is used from now on */
  refused(message: string): void {
    const now = this.#now()
    const [, from, to] = /\[(-?\d{1,19}), ?(-?\d{1,19})\]/.exec(message) ?? []
    const [oldest, newest] = [Number(from) - now, Number(to) - now]
    this.#range = oldest <= newest ? { oldest, newest } : { oldest: 0, newest: 0 }
  }
}
