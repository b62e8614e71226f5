/** Logs an outage instead of each failure: when it begins, when its reason changes, once a minute while it lasts, and when it ends. */
import { printable } from './foreign-text.ts'
import { type Logger, logDetails } from './logger.ts'
import { ServiceError } from './service-error.ts'

/** How often a lasting outage is logged again, in ms. */
const REMIND_AFTER = 60_000
/** A failure this soon after the end of an outage, in ms, continues it: of two brokers, one can fail and one work in turns. */
const SAME_OUTAGE = 10_000
/** In characters: readiness and the page show the reason. */
const LONGEST_REASON = 2000

export interface OutageLogOptions {
  readonly logger: Logger
  /** The message at the end of the outage. */
  readonly over: string
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
  /** Aborted when the service stops. Work is abandoned then, which is not the end of the outage, so no end is logged. */
  readonly stopping?: AbortSignal | undefined
}

export class OutageLog {
  readonly #options: OutageLogOptions
  #reason: string | null = null
  /** The failures that were logged since `#loggedSince`: their codes if they have one, because messages can contain changing numbers. */
  readonly #logged = new Set<string>()
  #loggedSince = 0
  /** Something was logged since the outage began, so its end is logged, too. */
  #isLogged = false
  #began = 0
  #ended = Number.NEGATIVE_INFINITY
  #times = 0

  constructor(options: OutageLogOptions) {
    this.#options = options
  }

  /** The message of the last failure; null if there is no outage. */
  get reason(): string | null {
    return this.#reason
  }

  /** Records a failure, the first one or another one. */
  failed(error: Error): void {
    const at = this.#options.now()
    if (this.#reason === null) {
      this.#began = at
      this.#times = 0
      this.#isLogged = false
      if (at - this.#ended >= SAME_OUTAGE) this.#logged.clear()
    }
    if (at - this.#loggedSince >= REMIND_AFTER) this.#logged.clear()
    if (this.#logged.size === 0) this.#loggedSince = at
    this.#times++
    this.#reason = printable(error.message, LONGEST_REASON)
    const key = error instanceof ServiceError ? error.code : error.message
    const lasts = !this.#isLogged && at - this.#began >= SAME_OUTAGE
    if (this.#logged.has(key) && !lasts) return
    this.#logged.add(key)
    this.#isLogged = true
    const soFar = this.#times > 1 ? { times: this.#times, seconds: Math.round((at - this.#began) / 1000) } : {}
    this.#options.logger.warn({ ...logDetails(error), ...soFar }, this.#reason)
  }

  /** Records a success, which ends the outage. */
  worked(): void {
    if (this.#reason === null) return
    this.#reason = null
    const { logger, now, over, stopping } = this.#options
    this.#ended = now()
    if (this.#isLogged && !stopping?.aborted)
      logger.info({ times: this.#times, seconds: Math.round((this.#ended - this.#began) / 1000) }, over)
  }
}
