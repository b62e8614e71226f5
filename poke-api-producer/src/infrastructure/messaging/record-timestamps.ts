/**
 * Chooses the timestamp that a record carries. It is the time of the capture wherever the topic takes that: it is the time of what happened,
 * and consumers, retention and lag tools go by it. `ce_time` says it in any case.
 *
 * A topic may refuse timestamps that are too old or too new (`message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`), and then it
 * refuses whole batches. Brokers tell with the refusal which range they take. From then on a time outside of it is replaced by the time of
 * sending; where this machine's clock is so wrong that even that is outside, by the nearest time that the topic takes.
 */

/** Kept clear of the range's ends, in ms, for the range moves on while a send is on its way; of a narrow range a quarter. */
const CLEARANCE = 1000

/** What the topic takes, counted from the time of sending by this machine's clock, in ms. */
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
    // A capture is never later than its send: a clock that was ahead then would hold up everything behind it.
    if (this.#range === null) return Math.min(time, now)
    const { oldest, newest } = this.#range
    const clearance = Math.min(CLEARANCE, (newest - oldest) / 4)
    const within = (ms: number) => Math.min(Math.max(ms, oldest + clearance), newest - clearance)
    const age = time - now
    return age <= 0 && within(age) === age ? time : Math.round(now + within(0))
  }

  /** A broker has refused a timestamp. @param words of the broker; where they do not tell the range, only the time of sending is used from now on */
  refused(words: string): void {
    const now = this.#now()
    const [, from, to] = /\[(-?\d{1,19}), ?(-?\d{1,19})\]/.exec(words) ?? []
    const [oldest, newest] = [Number(from) - now, Number(to) - now]
    this.#range = oldest <= newest ? { oldest, newest } : { oldest: 0, newest: 0 }
  }
}
